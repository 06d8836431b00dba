/* The words of `sshexec run TYPE ...`: fields of the state, the host, and what follows "--" (DESIGN D13). */
#ifndef SSHEXEC_WORDS_H
#define SSHEXEC_WORDS_H
#include "base/buf.h"
#include "fleet/items.h"
#include "transport/target.h"
#include "wire/message.h"
#include "worker/descriptor.h"

/* The word that is the host, of those behind TYPE; NULL: none. For a caller that has no descriptor yet. */
const char *words_host(char **words, int count);

/* A field as it was given: `operator` is '=', ':' or '%'. */
struct word { char *name; char operator; const char *value; size_t n; struct buf file; };

/* The words behind TYPE, their files read. */
struct word_list {
    const struct descriptor *descriptor;
    const char *state_file;
    struct buf base;                 /* what is in it */
    struct word *words;
    size_t count;
    char **rest;
    const char *host;                /* the word that is no field; NULL: none */
    bool read_stdin;
    bool by_host;                    /* a value differs by host */
    const struct word *last;         /* one more, behind the rest; NULL: none */
};

/* One of many hosts: what name%=text takes of it, and a state of its own, which fields replace (state_size 0: none). */
struct word_host { struct target_parts parts; char number[24]; const void *state; size_t state_size; };

/* Reads them. All is borrowed, descriptor too. Returns 0 or -1; words_forget in both cases. */
int words_read(struct word_list *w, const struct descriptor *d, char **words, int count, char **rest,
               const char *state_file, struct ssx_error *err);
void words_forget(struct word_list *w);

/* Adds the state for a host of many, or for the only one (NULL), checked against the descriptor. Returns 0 or -1. */
int words_state(struct buf *out, const struct word_list *w, const struct word_host *host, struct ssx_error *err);

/* Adds one item for each text: a map of the one field, as it is with the words given for it and this text as one more
 * behind them (operator as in struct word). Returns 0, or -1 with err;
 * *failed is then which text it was, or count: none of them. */
struct word_items { const char *field; char operator; const struct span *texts; size_t count; };
int words_items(struct items *out, const struct word_list *w, const struct word_items *items, size_t *failed, struct ssx_error *err);

/* For one host. Splits the words behind TYPE: *host is the one that isn't a field (NULL: none), and the state is made
 * of the others, of the file `state_file` (NULL: none; "-": stdin) and of the rest words (NULL: there was no "--"),
 * checked against the descriptor. Adds the state to out. *read_stdin tells that stdin was used up for the state.
 * Returns 0 or -1. */
int words_parse(struct buf *out, const char **host, bool *read_stdin, const struct descriptor *d, char **words, int count, char **rest,
                const char *state_file, struct ssx_error *err);

#endif
