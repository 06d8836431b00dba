/* A growable run of bytes that is filled at its end and consumed at its start: outgoing queues, frames in assembly,
 * states. */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buf {
    unsigned char *at;   /* owned */
    size_t start, end;   /* the bytes held are at[start..end) */
    size_t capacity;
    bool failed;         /* memory ran out: what was added since is missing; sticky until buf_free */
};

/* A zeroed struct is an empty buffer. */
static inline size_t buf_length(const struct buf *b) { return b->end - b->start; }
static inline unsigned char *buf_data(const struct buf *b) { return b->start ? b->at + b->start : b->at; } /* NULL + 0 is undefined in C */

/* Room for n more bytes; returns where they go, NULL if memory ran out. The caller then adds what it wrote to
 * b->end. */
unsigned char *buf_reserve(struct buf *b, size_t n);

/* Returns 0, or -1 if memory ran out (b->failed is then set as well, so that a run of additions can be checked once).
 * What fits is copied in place: most additions are a msgpack token of a few bytes, for which a call would cost more
 * than the copy. */
int buf_add_growing(struct buf *b, const void *bytes, size_t n);
static inline int buf_add(struct buf *b, const void *bytes, size_t n)
{
    if (b->failed || n > b->capacity - b->end || !n)
        return buf_add_growing(b, bytes, n);
    memcpy(b->at + b->end, bytes, n);
    b->end += n;
    return 0;
}
int buf_add_text(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops n (at most buf_length) bytes from the start. An empty buffer that has grown large gives its memory back. */
void buf_consume(struct buf *b, size_t n);

/* Frees the memory; the buffer is empty and usable again. */
void buf_free(struct buf *b);

#endif
