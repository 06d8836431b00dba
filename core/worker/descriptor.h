/* What a plugin says of itself in its descriptor note (ABI.md, section 2), parsed into an owned tree. The command line
 * checks, helps and completes from it; the agent takes the traits. */
#ifndef WORKER_DESCRIPTOR_H
#define WORKER_DESCRIPTOR_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stdint.h>

#define DESCRIPTOR_ABI_MAJOR 1 /* those of <sshexec/worker.h> and of ABI.md; a test holds them together */
#define DESCRIPTOR_ABI_MINOR 1

#define DESCRIPTOR_NOTE_MAX (256u << 10) /* the limits of ABI.md */
#define DESCRIPTOR_LINES_MAX 4096
#define DESCRIPTOR_FIELDS_MAX 256
#define DESCRIPTOR_LEVELS_MAX 16

enum schema_kind {
    SCHEMA_BOOL, SCHEMA_INT, SCHEMA_UINT, SCHEMA_FLOAT, SCHEMA_STR, SCHEMA_BIN, SCHEMA_ANY,
    SCHEMA_ENUM, SCHEMA_STRUCT, SCHEMA_LIST, SCHEMA_OPT,
};

/* Where the lines of a struct or an enum stand in the descriptor's note. */
struct schema_lines { size_t at, n; };

struct schema_enum { char *name; char **values; size_t count; struct schema_lines lines; };

struct schema_struct;

struct schema_type {
    enum schema_kind kind;
    bool secret, rest;                  /* wrappers of ABI.md, folded into the type that they wrap */
    const char *name;                   /* "i32", "u64", "str" ...: the kind's word in ABI.md, static */
    int64_t low; uint64_t high;         /* INT: low..(int64_t)high; UINT: (uint64_t)low..high; STR, BIN: at most high bytes */
    double float_low, float_high;       /* FLOAT; infinite: no limit */
    const struct schema_enum *enumeration; /* ENUM */
    const struct schema_struct *structure; /* STRUCT */
    struct schema_type *element;        /* LIST, OPT; owned */
};

struct schema_field {
    char *name, *doc;
    struct schema_type type;
    bool required;
    struct buf default_value;           /* what stands in for it, as msgpack (schema_pack's form); empty: required, or not known */
    char *default_text;                 /* the default's text where no value of the type could be read from it; else NULL */
};

struct schema_struct {
    char *name;
    struct schema_field *fields;
    size_t count;
    unsigned levels;
    bool secret;
    struct schema_lines lines;
}; /* secret: something in it is */

enum worker_trait { /* the bits of ABI.md, and of <sshexec/worker.h>; a test holds the two together */
    TRAIT_IDEMPOTENT = 1, TRAIT_REUSABLE = 2, TRAIT_TAKES_INPUT = 4,
    TRAIT_SHOWS_OUTPUT = 8, TRAIT_SHOWS_RESULT = 16, TRAIT_SANDBOX_NONE = 32, TRAIT_RETURNS_STATE = 64,
};

/* What of a call is shown unasked: both, where the type doesn't say. */
static inline bool trait_shows_output(uint32_t traits) { return (traits & TRAIT_SHOWS_OUTPUT) || !(traits & TRAIT_SHOWS_RESULT); }
static inline bool trait_shows_result(uint32_t traits) { return (traits & TRAIT_SHOWS_RESULT) || !(traits & TRAIT_SHOWS_OUTPUT); }

struct descriptor {
    char *type, *version, *doc;
    unsigned abi_major, abi_minor;
    uint32_t traits;                    /* enum worker_trait */
    char *unknown_trait;                /* the first word among the traits that isn't one; else NULL */
    struct schema_enum *enums; size_t enum_count;
    struct schema_struct *structs; size_t struct_count;   /* in the order of the notes */
    const struct schema_struct *state, *result;
    const struct schema_struct *items;  /* what its items are; NULL: any value */
    char schema_digest[17];             /* of state, result and items; ABI.md */
    struct buf note;                    /* the raw note text: NUL-ended lines, as DESCRIBE carries it */
};

/* Parses note text (NUL-ended JSON lines, all notes of a file one behind the other). Hostile input. Returns 0, or -1
 * with err (SSX_ERROR_REFUSED) naming the line at fault. On success the caller owns *out and calls descriptor_dispose.
 * A default that is not a literal of its type is kept as default_text, for the plugin itself knows it: descriptor_check
 * complains. */
int descriptor_parse(struct descriptor *out, const void *note, size_t n, struct ssx_error *err);

void descriptor_dispose(struct descriptor *d);

/* The ABI version that a note names, readable even where a newer ABI made the rest of it strange. Returns 0, or -1
 * where there is none. */
int descriptor_abi(const void *note, size_t n, unsigned *major, unsigned *minor);

/* What the preprocessor can't see and a plugin's author should mend: defaults that aren't literals of their type,
 * defaults of lists and structs, more than one `rest` field or one in the result, unknown traits, a field without a
 * doc. Returns 0, or -1 with err (SSX_ERROR_REFUSED) for the first fault. */
int descriptor_check(const struct descriptor *d, struct ssx_error *err);

/* Whether anything that a value of the type may hold is secret. In no time: walking all of a hostile schema's structs
 * could take for ever. */
bool schema_type_is_secret(const struct schema_type *t);

/* The field of that name, or NULL. */
const struct schema_field *schema_field_find(const struct schema_struct *s, const char *name, size_t n);

/* The field that takes the words after `--`, or NULL. */
const struct schema_field *schema_field_rest(const struct schema_struct *s);

/* A field's type as a person writes it: "i32 1..100", "list of str", "enum ext4|xfs|other". Returns out. */
char *schema_type_describe(const struct schema_type *t, char *out, size_t size);

#endif
