#include "transport/transport.h"

ssize_t transport_read(struct transport *t, enum transport_stream stream, void *out, size_t n, struct ssx_error *err)
{
    return t->backend->read(t, stream, out, n, err);
}

ssize_t transport_write(struct transport *t, const void *bytes, size_t n, struct ssx_error *err)
{
    return t->backend->write(t, bytes, n, err);
}

void transport_close_write(struct transport *t) { t->backend->close_write(t); }

size_t transport_poll(struct transport *t, bool want_write, struct pollfd *out) { return t->backend->poll(t, want_write, out); }

int transport_exit_status(struct transport *t) { return t->backend->exit_status(t); }

const char *transport_name(const struct transport *t) { return t->backend->name; }

void transport_free(struct transport *t)
{
    if (t)
        t->backend->free(t);
}
