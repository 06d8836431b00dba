/* Values against a schema: whether a msgpack value fits, its one canonical form, and its full form for people. All take
 * values that value_scan has passed; a value's nesting bounds their recursion. */
#ifndef WORKER_SCHEMA_H
#define WORKER_SCHEMA_H
#include "base/buf.h"
#include "worker/descriptor.h"

/* Checks one value against a struct: known fields, required ones, types, ranges, at every level. Returns 0, or -1 with
 * err (SSX_ERROR_REFUSED) naming the field by its path ("also[2]", "disk.size"), what stands there (never a secret),
 * and what is wanted; an unknown field names the nearest ones and the plugin's version. */
int state_check(const struct descriptor *d, const struct schema_struct *s, const void *value, size_t n, struct ssx_error *err);

/* The same for one value of a type; `where` is the path for messages. `d` may be NULL: then a message names no
 * version. */
int schema_check(const struct descriptor *d, const struct schema_type *t, const char *where, const void *value,
                 size_t n, struct ssx_error *err);

/* Adds a value that fits in its canonical form: fields in the schema's order and without those equal to their default,
 * floats as float64, bin as bin, the shortest integers. Equal values give equal bytes. Returns 0, or -1 if memory ran
 * out. */
int schema_pack(struct buf *out, const struct schema_type *t, const void *value, size_t n);
int schema_pack_struct(struct buf *out, const struct schema_struct *s, const void *value, size_t n);

/* Adds the value that stands for "nothing given" of a type: false, 0, "", no elements, nil, an enum's first value, a
 * struct without fields. */
void schema_pack_empty(struct buf *out, const struct schema_type *t);

/* Adds a value with the defaults of absent fields filled in, and secret fields left out, or replaced by `secret` (text)
 * unless that is NULL. What doesn't fit the schema is copied as it is; `s` NULL: all of it. Returns 0, or -1 if memory
 * ran out. */
int schema_fill(struct buf *out, const struct schema_struct *s, const char *secret, const void *value, size_t n);

/* Says in err that there is no such field, with the nearest names or all of them, and the version of d. Returns -1. */
int schema_unknown_field(const struct descriptor *d, const struct schema_struct *s, const char *where, const char *name,
                         size_t n, struct ssx_error *err);

#endif
