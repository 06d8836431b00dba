#include "transport/transport.h"

#include "base/buf.h"
#include "base/error.h"

#define PIECE (16u << 10) /* read at once by transport_collect */

ssize_t transport_read(struct transport *t, enum transport_stream stream, void *out, size_t n, struct ssx_error *err)
{
    return t->backend->read(t, stream, out, n, err);
}

ssize_t transport_write(struct transport *t, const void *bytes, size_t n, struct ssx_error *err)
{
    return t->backend->write(t, bytes, n, err);
}

int transport_collect(struct transport *t, enum transport_stream stream, struct buf *out, size_t limit, bool *ended, struct ssx_error *err)
{
    while (!*ended) {
        unsigned char *at = buf_reserve(out, PIECE);
        if (!at || buf_length(out) > limit)
            return error_set(err, SSX_ERROR_SYSTEM, "its output is too long");
        ssize_t n = transport_read(t, stream, at, PIECE, err);
        if (n == TRANSPORT_AGAIN)
            return 0;
        if (n < 0)
            return -1;
        out->end += (size_t)n;
        *ended = n == 0;
    }
    return 0;
}

void transport_close_write(struct transport *t) { t->backend->close_write(t); }

size_t transport_poll(struct transport *t, bool want_write, struct pollfd *out) { return t->backend->poll(t, want_write, out); }

int transport_exit_status(struct transport *t) { return t->backend->exit_status(t); }

const char *transport_name(const struct transport *t) { return t->backend->name; }

int transport_alive(const struct transport *t, int *most)
{
    *most = t->alive_max;
    return t->alive_ms;
}

void transport_free(struct transport *t)
{
    if (t)
        t->backend->free(t);
}
