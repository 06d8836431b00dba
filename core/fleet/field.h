/* One field of a typed result, by its path ("cpu.model", "disks.0.size"): found, compared, written into a table's cell.
 * Values were scanned. */
#ifndef FLEET_FIELD_H
#define FLEET_FIELD_H
#include "worker/descriptor.h"

/* Whether a value of s can have such a field, one that is not secret. Returns 0, or -1 with err (USAGE, REFUSED) that
 * names what there is. */
int field_check(const struct descriptor *d, const struct schema_struct *s, const char *path, struct ssx_error *err);

/* Finds it. Returns 0 with *at and *size set, borrowed from the value; or -1 where it is missing, or nil. */
int field_find(const void *value, size_t n, const char *path, const void **at, size_t *size);

/* Whether it is a number, as one that is exact for integers of 64 bits. */
bool field_number(const void *at, size_t n, long double *out, bool *integer);

/* Adds it in one line that can't drive a terminal: text as it is, what has parts as JSON. n 0: missing, "-". Returns 0,
 * or -1 without memory. */
int field_text(struct buf *out, const void *at, size_t n);

/* Adds a number: all digits of an integer, else the shortest that read back as the same double. */
void field_number_text(struct buf *out, long double number, bool integer);

/* Numbers before text before others, what is missing last. Returns less than, equal to or more than 0. */
int field_compare(const void *a, size_t an, const void *b, size_t bn);

#endif
