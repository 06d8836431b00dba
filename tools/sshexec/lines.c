#include "lines.h"

#include "base/printable.h"

#include <string.h>

static void add_line(struct lines *l, struct buf *out, const char *name, const void *bytes, size_t n)
{
    if (name) {
        buf_add_text(out, name);
        buf_add(out, ": ", 2);
    }
    if (l->for_terminal && buf_length(&l->rest)) {
        buf_add(&l->rest, bytes, n);
        printable_add(out, buf_data(&l->rest), buf_length(&l->rest));
    } else if (l->for_terminal) {
        printable_add(out, bytes, n);
    } else {
        buf_add(out, buf_data(&l->rest), buf_length(&l->rest));
        buf_add(out, bytes, n);
    }
    buf_free(&l->rest);
    buf_add(out, "\n", 1);
}

int lines_add(struct lines *l, struct buf *out, const char *name, const void *bytes, size_t n)
{
    const char *at = bytes, *end = at + n;
    for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
        add_line(l, out, name, at, (size_t)(newline - at));
    buf_add(&l->rest, at, (size_t)(end - at));
    if (buf_length(&l->rest) >= LINE_LONGEST)
        add_line(l, out, name, NULL, 0);
    return out->failed || l->rest.failed ? -1 : 0;
}

int lines_end(struct lines *l, struct buf *out, const char *name)
{
    if (buf_length(&l->rest))
        add_line(l, out, name, NULL, 0);
    return out->failed ? -1 : 0;
}
