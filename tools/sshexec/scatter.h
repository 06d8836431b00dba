/* --scatter FIELD --items FILE: lines that are dealt over the hosts, each of which becomes a value of that field. */
#ifndef SSHEXEC_SCATTER_H
#define SSHEXEC_SCATTER_H
#include "settings.h"
#include "words.h"

#include <sshexec/fleet.h>

struct scatter {
    char *field;                     /* owned */
    char operator;                   /* as in struct word: '=' text, ':' JSON */
    bool secret;                     /* the field is: its lines are shown nowhere */
    struct buf file;
    struct span *texts;              /* its lines, or those of a record */
    size_t count;
    struct items items;              /* what is dealt */
};

/* Whether the options for it go together. Returns 0, or -1 with err. */
int scatter_check(const struct settings *settings, struct ssx_error *err);

bool scatter_reads_stdin(const struct settings *settings);
size_t scatter_per_host(const struct settings *settings);

/* Reads the lines that the settings name. Returns 0, or -1 with err; scatter_free in both cases. */
int scatter_read(struct scatter *s, const struct settings *settings, const struct word_list *words, struct ssx_error *err);
void scatter_free(struct scatter *s);

/* Makes items of them, typed by the schema, and checks the words beside which they stand. Returns 0, or -1 with err,
 * which names file and line. */
int scatter_type(struct scatter *s, const struct settings *settings, const struct word_list *words, struct ssx_error *err);

/* Hands them to the fleet, and keeps them no longer. Returns 0, or -1 with err. */
int scatter_deal(struct scatter *s, struct ssx_fleet *fleet, struct ssx_error *err);

/* What stands for items where people read: the lines, safe for a terminal; "line 17" where they are secret (texts
 * NULL). Returns 0: the caller frees *labels by scatter_labels_free; or -1 without memory. */
int scatter_labels(char ***labels, const struct span *texts, size_t count);
void scatter_labels_free(char **labels, size_t count);

#endif
