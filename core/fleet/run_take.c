#include "fleet/session.h"

#include "fleet/endings.h"
#include "base/error.h"
#include "wire/outcome.h"

#include <stdlib.h>

/* --- callbacks --- */

/* Around each: what the program may not do meanwhile, and a run that is freed by its own callback. */
static void enter(struct ssx_session *s, struct ssx_run *run)
{
    s->in_callback = true;
    s->calling = run;
}

static void leave(struct ssx_session *s, struct ssx_run *run)
{
    s->in_callback = false;
    s->calling = NULL;
    if (run->freed)
        run_destroy(run);
}

/* The text with a NUL, until the next one. */
static const char *text_of(struct ssx_session *s, struct span text)
{
    buf_consume(&s->text, buf_length(&s->text));
    s->text.failed = false;
    return buf_add(&s->text, text.at, text.n) || buf_add(&s->text, "", 1) ? "" : (const char *)buf_data(&s->text);
}

/* --- what comes, kind by kind --- */

static int take_output(struct ssx_session *s, struct ssx_run *run, const struct message *m, struct ssx_error *err)
{
    struct span bytes = m->data.bytes;
    int stream = m->data.stream == 1 ? SSX_STDOUT : SSX_STDERR;
    if (!run->cancelled && run->o.pull & (stream == SSX_STDOUT ? SSX_PULL_STDOUT : SSX_PULL_STDERR)) {
        run->unread += bytes.n;
        return buf_add(&run->streams[stream - 1], bytes.at, bytes.n)
                   ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for what a worker printed")
                   : 0;
    }
    if (run->o.on_output) {
        enter(s, run);
        run->o.on_output(run->o.context, run, stream, bytes.at, bytes.n);
        leave(s, run);
    }
    client_consumed(s->link.client, m->id, bytes.n);
    return 0;
}

static int keep_item(struct ssx_run *run, struct span bytes, struct ssx_error *err)
{
    const uint32_t n = (uint32_t)bytes.n;
    unsigned char *at = buf_reserve(&run->items, sizeof n + bytes.n); /* all of it or nothing */
    if (!at)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for an item");
    memcpy(at, &n, sizeof n);
    memcpy(at + sizeof n, bytes.at, bytes.n);
    run->items.end += sizeof n + bytes.n;
    run->unread += bytes.n;
    return 0;
}

static int take_item(struct ssx_session *s, struct ssx_run *run, const struct message *m, struct ssx_error *err)
{
    if (!run->cancelled && run->o.pull & SSX_PULL_ITEMS)
        return keep_item(run, m->data.bytes, err);
    if (run->o.on_item) {
        enter(s, run);
        run->o.on_item(run->o.context, run, m->data.bytes.at, m->data.bytes.n);
        leave(s, run);
    }
    client_consumed(s->link.client, m->id, m->data.bytes.n);
    return 0;
}

/* The last one counts. */
static int keep(struct buf *out, struct span value, struct ssx_error *err)
{
    buf_free(out);
    return buf_add(out, value.at, value.n) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for what a worker gave back") : 0;
}

static int take_value(struct ssx_session *s, struct ssx_run *run, const struct message *m, struct ssx_error *err)
{
    bool state = m->kind == MESSAGE_STATE;
    int rc = keep(state ? &run->state : &run->result, m->data.bytes, err);
    if (rc == 0 && state && run->o.on_state) {
        enter(s, run);
        run->o.on_state(run->o.context, run, m->data.bytes.at, m->data.bytes.n);
        leave(s, run);
    }
    client_consumed(s->link.client, m->id, m->data.bytes.n);
    return rc;
}

static int take_word(struct ssx_session *s, struct ssx_run *run, const struct message *m)
{
    enter(s, run);
    if (m->kind == MESSAGE_LOG && run->o.on_log)
        run->o.on_log(run->o.context, run, (int)m->log.level, text_of(s, m->log.text));
    else if (m->kind == MESSAGE_PROGRESS && run->o.on_progress)
        run->o.on_progress(run->o.context, run, m->progress.done, m->progress.total, text_of(s, m->progress.text));
    leave(s, run);
    client_consumed(s->link.client, m->id, message_cost(m));
    return 0;
}

/* --- the end --- */

static void end(struct ssx_run *run, const struct message_end *e)
{
    endings_make(&run->ending, &run->ending_texts, e);
    run->ended = true;
}

void run_end(struct ssx_session *s, struct ssx_run *run, const struct message_end *e)
{
    session_forget(s, run);
    s->running--;
    end(run, e);
    enter(s, run);
    if (run->o.on_end)
        run->o.on_end(run->o.context, run);
    leave(s, run);
}

void run_abandon(struct ssx_run *run)
{
    struct message_end e = {.outcome = SSX_OUTCOME_LOST, .message = span_text("the session was closed")};
    if (!run->ended)
        end(run, &e);
    run->session = NULL;
    run->next = run->previous = NULL;
}

int run_take(struct ssx_session *s, const struct message *m, struct ssx_error *err)
{
    struct ssx_run *run = session_run(s, m->id);
    s->calls -= m->kind == MESSAGE_END;
    if (!run) { /* freed: nobody cares */
        client_consumed(s->link.client, m->id, message_cost(m));
        return 0;
    }
    switch (m->kind) {
    case MESSAGE_OUTPUT: return take_output(s, run, m, err);
    case MESSAGE_LOG: case MESSAGE_PROGRESS: return take_word(s, run, m);
    case MESSAGE_ITEM: return take_item(s, run, m, err);
    case MESSAGE_RESULT: case MESSAGE_STATE: return take_value(s, run, m, err);
    case MESSAGE_END: run_end(s, run, &m->end); return 0;
    default: return 0;
    }
}
