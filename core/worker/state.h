/* A state in the making: the words of a command line, in their order, typed by the plugin's schema and checked before
 * they travel. */
#ifndef WORKER_STATE_H
#define WORKER_STATE_H
#include "base/buf.h"
#include "worker/schema.h"

struct state_builder;
struct state_builder *state_builder_new(const struct descriptor *d); /* borrows d; NULL: no memory */
void state_builder_free(struct state_builder *b);

/* All of these return 0, or -1 with err. A name may be a path into nested structs ("disk.size"); an unknown one is
 * SSX_ERROR_REFUSED and names the nearest ones. What a builder took before an error stays. */

/* Starts from a whole state (a msgpack map, scanned); single fields given later replace its. */
int state_builder_base(struct state_builder *b, const void *value, size_t n, struct ssx_error *err);

/* name=text, typed by the schema. bool: true false yes no 1 0. Integers: decimal or 0x, no suffixes. Floats: decimal,
 * inf, -inf, nan. An enum: one of its values. str, any: the text; bin: its bytes. opt: as the type inside. Giving a
 * list field again appends an element; giving another field twice is an error, and so is text for a struct (the message
 * shows the JSON form). */
int state_builder_text(struct state_builder *b, const char *name, const char *text, size_t n, struct ssx_error *err);

/* name:=json: a whole value for the field; an array for a list field that was given before appends its elements. */
int state_builder_json(struct state_builder *b, const char *name, const char *json, size_t n, struct ssx_error *err);

/* One more element for the `rest` field (words after --). An error where the type has none. */
int state_builder_rest(struct state_builder *b, const char *text, struct ssx_error *err);

/* What the field would be with one more word, name=text or name:=json: a map of nothing but the field that the name's
 * path begins with, checked. Adds it to out; the builder stays as it was. */
int state_builder_try(struct state_builder *b, const char *name, bool json, const char *text, size_t n, struct buf *out,
                      struct ssx_error *err);

/* The state: a map of what was given, in canonical form (schema_pack_struct), checked as state_check does. Adds it to
 * out. */
int state_builder_finish(struct state_builder *b, struct buf *out, struct ssx_error *err);

#endif
