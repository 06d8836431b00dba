#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP (256u << 10) /* an empty buffer above this gives its memory back: idle sessions stay small */

unsigned char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (n <= b->capacity - b->end && b->at)
        return b->at + b->end;
    size_t length = buf_length(b);
    if (n > SIZE_MAX / 2 - length) {
        b->failed = true;
        return NULL;
    }
    if (b->at && length + n <= b->capacity && b->start >= length) { /* moving is cheaper than growing */
        memcpy(b->at, b->at + b->start, length);
    } else {
        size_t capacity = b->capacity ? b->capacity : 256;
        while (capacity < length + n)
            capacity *= 2;
        unsigned char *at = malloc(capacity);
        if (!at) {
            b->failed = true;
            return NULL;
        }
        if (length)
            memcpy(at, b->at + b->start, length);
        free(b->at);
        b->at = at;
        b->capacity = capacity;
    }
    b->start = 0;
    b->end = length;
    return b->at + b->end;
}

int buf_add_growing(struct buf *b, const void *bytes, size_t n)
{
    unsigned char *at = buf_reserve(b, n);
    if (!at)
        return -1;
    if (n)
        memcpy(at, bytes, n);
    b->end += n;
    return 0;
}

int buf_add_text(struct buf *b, const char *text) { return buf_add(b, text, strlen(text)); }

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *at = n < 0 ? NULL : (char *)buf_reserve(b, (size_t)n + 1);
    if (at)
        vsnprintf(at, (size_t)n + 1, format, again);
    va_end(again);
    if (!at)
        return -1;
    b->end += (size_t)n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    b->start += n;
    if (b->start < b->end)
        return;
    b->start = b->end = 0;
    if (b->capacity > KEEP) {
        free(b->at);
        b->at = NULL;
        b->capacity = 0;
    }
}

void buf_free(struct buf *b)
{
    free(b->at);
    memset(b, 0, sizeof *b);
}
