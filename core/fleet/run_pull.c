#include "fleet/session.h"

#include "base/error.h"

#include <stdint.h>
#include <string.h>

struct wanted { const struct ssx_run *run; int stream; };

static bool stream_has(const void *what)
{
    const struct wanted *w = what;
    return w->run->ended || buf_length(&w->run->streams[w->stream - 1]) > 0;
}

static bool item_is_there(const void *what)
{
    const struct ssx_run *run = what;
    return run->ended || buf_length(&run->items);
}

/* Returns 0 when there is something or nothing more will come, else SSX_AGAIN or -1. */
static int wait_for(struct ssx_run *run, bool (*there)(const void *), const void *what, int timeout_ms, struct ssx_error *err)
{
    if (there(what))
        return 0;
    if (timeout_ms == 0 && run->session->in_callback) /* looking is not waiting */
        return SSX_AGAIN;
    return session_until(run->session, there, what, timeout_ms, err);
}

ssize_t ssx_run_read(struct ssx_run *run, int stream, void *out, size_t n, int timeout_ms, struct ssx_error *err)
{
    const struct wanted wanted = {run, stream};
    if ((stream != SSX_STDOUT && stream != SSX_STDERR) || !(run->o.pull & (stream == SSX_STDOUT ? SSX_PULL_STDOUT : SSX_PULL_STDERR)))
        return error_set(err, SSX_ERROR_USAGE, "the run was not started to pull stream %d", stream);
    int rc = wait_for(run, stream_has, &wanted, timeout_ms, err);
    if (rc)
        return rc;
    struct buf *from = &run->streams[stream - 1];
    size_t there = buf_length(from), taken = n < there ? n : there;
    if (taken)
        memcpy(out, buf_data(from), taken);
    buf_consume(from, taken);
    run_consumed(run, taken);
    return (ssize_t)taken;
}

int ssx_run_next_item(struct ssx_run *run, const void **msgpack, size_t *n, int timeout_ms, struct ssx_error *err)
{
    *msgpack = NULL;
    *n = 0;
    if (!(run->o.pull & SSX_PULL_ITEMS))
        return error_set(err, SSX_ERROR_USAGE, "the run was not started to pull items");
    int rc = wait_for(run, item_is_there, run, timeout_ms, err);
    if (rc)
        return rc;
    uint32_t length;
    buf_consume(&run->item, buf_length(&run->item));
    if (!buf_length(&run->items))
        return 0;
    memcpy(&length, buf_data(&run->items), sizeof length);
    if (buf_add(&run->item, buf_data(&run->items) + sizeof length, length)) {
        buf_free(&run->item);
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for an item");
    }
    buf_consume(&run->items, sizeof length + length);
    run_consumed(run, length);
    *msgpack = buf_data(&run->item);
    *n = length;
    return 1;
}
