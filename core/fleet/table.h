/* Fields of the results of many hosts: shown as a table, as groups of hosts that have the same value, or as one number
 * of all. Only hosts that gave a result are in it. */
#ifndef FLEET_TABLE_H
#define FLEET_TABLE_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stdbool.h>

struct table;

/* A column for each path; paths are borrowed until table_free. Returns 0 or -1. */
int table_new(struct table **out, const char *const *paths, size_t columns, size_t hosts, struct ssx_error *err);
void table_free(struct table *t);

/* Takes a host's result: a scanned value, with its defaults filled in. Returns 0, or -1 without memory. */
int table_put(struct table *t, size_t host, const void *value, size_t n);

/* The order of rows: by a column, or by host. */
struct table_order { bool by_column, descending; size_t column; };

/* A line a host: its name and these columns, aligned, numbers to the right; a header in front, between `before` and
 * `after`. Returns 0 or -1. */
struct table_look { const char *before, *after, *row; }; /* what goes around a header: colours, or ""; what a row is: "host" */
int table_add_rows(struct buf *out, const struct table *t, char *const *names, const size_t *columns, size_t count,
                   struct table_order order, struct table_look look);

/* A group of hosts that have the same value in a column: `value` (n bytes; 0: it is missing), and who they are. */
struct table_group { const void *value; size_t n; const size_t *hosts; size_t count; };

/* The largest group first, among those of a size by value. Returns 0: the caller frees *groups and *hosts by free; or
 * -1 without memory. */
int table_groups(const struct table *t, size_t column, struct table_group **groups, size_t *count, size_t **hosts);

/* The numbers of a column, in ascending order, with the hosts that have them. Returns 0: the caller frees *numbers; or
 * -1 without memory. */
struct table_number { long double number; size_t host; };
int table_numbers(const struct table *t, size_t column, struct table_number **numbers, size_t *count, bool *integers);

#endif
