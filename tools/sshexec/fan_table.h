/* Fields of the results of many hosts: --pick, --group-by, and --sum and its like. */
#ifndef SSHEXEC_FAN_TABLE_H
#define SSHEXEC_FAN_TABLE_H
#include "settings.h"

#include "fleet/table.h"
#include "worker/descriptor.h"

#define FAN_FIELDS_MAX (3 * LIST_MAX + 1)

struct fan_table {
    const struct settings *settings;
    const struct descriptor *descriptor;
    const char *paths[FAN_FIELDS_MAX]; /* those of --pick, of --sort, of --group-by, of the totals */
    size_t count;
    struct table *table;
};

/* Whether the settings ask for any of these. */
bool fan_table_wanted(const struct settings *s);

/* Checks the fields against the type's result. Returns 0, or -1 with err; fan_table_free in both cases. */
int fan_table_init(struct fan_table *f, const struct settings *s, const struct descriptor *d, size_t hosts, struct ssx_error *err);
void fan_table_free(struct fan_table *f);

/* Takes a host's result: one scanned value. Returns 0, or -1 without memory. */
int fan_table_put(struct fan_table *f, size_t host, const void *value, size_t n);

/* Adds all that was asked for. before, after: around headers. Returns 0, or -1 without memory. */
int fan_table_add(struct buf *out, const struct fan_table *f, char *const *names, struct table_look look);

#endif
