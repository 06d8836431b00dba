/* A result or a state made readable: for a person on a terminal, or as one line of JSON. */
#ifndef WORKER_SHOW_H
#define WORKER_SHOW_H
#include "worker/schema.h"

/* Adds lines for a person, each ended: aligned "name  value" pairs, nested structs indented, a list of scalars on one
 * line where it is short, a list of structs as a table where each of their values fits on a line. Absent fields show
 * their default, secret ones
 * "(secret)", what is not set or empty "-"; text is escaped so that it can't drive a terminal. `s` NULL, or what
 * doesn't fit it: shown by its own shape. `value` was scanned. Returns 0, or -1 if memory ran out. */
int value_show(struct buf *out, const struct schema_struct *s, const void *value, size_t n);

/* The same as JSON (wire/json.h's form) in one line without a newline, absent fields with their defaults, secret ones
 * left out. */
int value_show_json(struct buf *out, const struct schema_struct *s, const void *value, size_t n);

#endif
