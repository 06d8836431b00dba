/* Reading msgpack without building anything: one token at a time over borrowed bytes, every length checked against what
 * is left.
 *
 * All that comes from outside is first scanned whole by value_scan; after that a reader can only fail for having the
 * wrong shape. */
#ifndef WIRE_VALUE_H
#define WIRE_VALUE_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VALUE_DEPTH_MAX 28          /* PROTOCOL.md, section 5; msgpack-c itself stops at 32 */
#define VALUE_ELEMENTS_MAX 1000000
#define VALUE_SIZE_MAX 16777215u    /* a state, a result, an item */

enum value_kind {
    VALUE_NIL, VALUE_BOOL,
    VALUE_UINT,   /* any integer that is not negative, however it was encoded */
    VALUE_INT,    /* a negative integer */
    VALUE_F32, VALUE_F64, VALUE_STR, VALUE_BIN,
    VALUE_ARRAY, VALUE_MAP, /* a header; its elements (twice as many for a map) are the next tokens */
    VALUE_EXT,
};

struct value {
    enum value_kind kind;
    union {
        bool boolean;
        uint64_t u;   /* VALUE_UINT */
        int64_t i;    /* VALUE_INT */
        double f;     /* VALUE_F32, VALUE_F64 */
        int8_t ext;   /* VALUE_EXT: its type */
    };
    const unsigned char *at; /* STR, BIN, EXT: the bytes, borrowed from the reader */
    size_t n;                /* how many bytes; ARRAY: elements; MAP: pairs */
};

struct value_reader { const unsigned char *at, *end; };

static inline struct value_reader value_reader(const void *bytes, size_t n)
{
    return (struct value_reader){bytes, n ? (const unsigned char *)bytes + n
                                          : bytes}; /* nothing may be NULL, to which nothing can be added */
}

/* The next token. Returns 0, or -1 where the bytes end too early, a byte is not msgpack (0xc1), or a count exceeds the
 * bytes left. */
int value_next(struct value_reader *r, struct value *out);

/* Steps over one whole value, whatever it holds. Returns 0 or -1. */
int value_skip(struct value_reader *r);

/* The next token if it is of the kind wanted; else -1. The _uint form refuses more than `max`, the _str form a NUL
 * inside. */
int value_take_uint(struct value_reader *r, uint64_t max, uint64_t *out);
int value_take_bool(struct value_reader *r, bool *out);
int value_take_array(struct value_reader *r, size_t *count);
int value_take_map(struct value_reader *r, size_t *pairs);
int value_take_str(struct value_reader *r, const char **at, size_t *n);
int value_take_bin(struct value_reader *r, const unsigned char **at, size_t *n);

/* Whether a STR token equals a C string. */
static inline bool value_is_text(const struct value *v, const char *text) /* inline: the length of a literal is known then */
{
    return v->kind == VALUE_STR && strlen(text) == v->n && memcmp(v->at, text, v->n) == 0;
}

/* The prescan: n bytes hold exactly one well-formed value, of at most VALUE_DEPTH_MAX levels and VALUE_ELEMENTS_MAX
 * elements, and nothing behind it. Returns 0, or -1 with err (SSX_ERROR_PROTOCOL) saying what is wrong at which
 * byte. */
int value_scan(const void *bytes, size_t n, struct ssx_error *err);

/* "nil", "an integer", "text" ...: what a value is, for messages. */
const char *value_kind_name(enum value_kind kind);

#endif
