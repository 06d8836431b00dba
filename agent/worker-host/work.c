#include "work.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reads more from the control socket until a whole frame stands at the start of `in`. Returns its length; leaves when
 * the agent has gone. */
static size_t read_frame(struct buf *in)
{
    for (;;) {
        long length = frame_length(buf_data(in), buf_length(in), FRAME_MAX, NULL);
        if (length > 0)
            return (size_t)length;
        unsigned char *at = length < 0 ? NULL : buf_reserve(in, DATA_MAX + 256);
        ssize_t n = at ? read(HOST_SOCKET_FD, at, DATA_MAX + 256) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(1);
        in->end += (size_t)n;
    }
}

void order_read(struct call_context *call, struct buf *in, struct buf *state)
{
    struct message m;
    size_t whole = 0;
    do {
        size_t length = read_frame(in);
        if (message_decode(&m, buf_data(in), length, FROM_SENDER, NULL))
            _exit(1);
        if (m.kind == MESSAGE_CALL) {
            call->id = m.id;
            call->deadline_ms = (int64_t)m.call.timeout_ms;
            whole = (size_t)m.call.state_size;
            buf_add(state, m.call.state.at, m.call.state.n);
        } else if (m.kind == MESSAGE_STATE) {
            buf_add(state, m.data.bytes.at, m.data.bytes.n);
        }
        buf_consume(in, length);
    } while (buf_length(state) < whole && !state->failed);
    if (state->failed)
        _exit(1);
}

/* A STATE or a RESULT. Nothing is sent of an empty one. */
static void put_value(struct call_context *call, struct buf *out, enum message_kind kind, const struct buf *value)
{
    const unsigned char *at = buf_data(value);
    for (size_t left = buf_length(value), n; left; left -= n, at += n) {
        n = left < DATA_MAX ? left : DATA_MAX;
        message_encode(out, &(struct message){.kind = kind, .id = call->id, .data = {.bytes = {at, n}, .more = n < left}}, FROM_AGENT);
    }
}

static void fail(struct call_context *call, struct message_end *end, enum ssx_outcome outcome, unsigned code, const char *text)
{
    snprintf(call->message, sizeof call->message, "%s", text);
    *end = (struct message_end){.outcome = outcome, .code = code, .message = span_text(call->message)};
    if (outcome == SSX_OUTCOME_REFUSED)
        end->reason = span_text("state");
}

static void *codec_memory(void *user, size_t n) { return arena_alloc(user, n); }

/* What the worker made, for the wire; what can't travel ends the call as failed. Returns whether it can. */
static bool encode_value(struct call_context *call, const struct ssx_schema *schema, const char *what, const void *from,
                         bool omit_defaults, struct message_end *end, struct buf *out)
{
    struct ssx_error err = {0};
    if (codec_encode(schema, from, out, omit_defaults, &err) == 0 && buf_length(out) <= VALUE_SIZE_MAX)
        return true;
    error_set(&err, SSX_ERROR_REFUSED, "it takes %zu bytes, the limit is %u", buf_length(out), VALUE_SIZE_MAX);
    error_prefix(&err, "the worker's %s", what);
    fail(call, end, SSX_OUTCOME_FAILED, end->code ? (unsigned)end->code : 1, err.text);
    return false;
}

/* The state goes as a sender would send it: an older one may get it. */
static void put_answer(const struct worker *worker, struct call_context *call, const void *state, const void *filled,
                       struct buf *answer, struct message_end *end)
{
    struct buf given_back = {0}, result = {0};
    bool gives = worker->returns_state && end->outcome == SSX_OUTCOME_OK;
    if ((!gives || encode_value(call, worker->plugin->state(), "state", state, true, end, &given_back)) &&
        encode_value(call, worker->plugin->result(), "result", filled, false, end, &result)) {
        put_value(call, answer, MESSAGE_STATE, &given_back);
        put_value(call, answer, MESSAGE_RESULT, &result);
    }
    buf_free(&given_back);
    buf_free(&result);
}

void call_work(const struct worker *worker, struct call_context *call, const struct buf *bytes, struct buf *answer, struct message_end *end)
{
    const struct ssx_schema *in = worker->plugin->state(), *out = worker->plugin->result();
    struct ssx_error err = {0};
    void *state = arena_alloc(&call->arena, in->size), *filled = arena_alloc(&call->arena, out->size);
    if (!state || !filled) {
        fail(call, end, SSX_OUTCOME_REFUSED, 0, "out of memory for the state");
        return;
    }
    if (codec_decode(in, state, buf_data(bytes), buf_length(bytes), codec_memory, &call->arena, &err)) {
        error_prefix(&err, "%s %s", worker->type, worker->plugin->version);
        fail(call, end, SSX_OUTCOME_REFUSED, 0, err.text);
        return;
    }
    out->defaults(filled);
    int code = worker->run(&call->call, state, filled);
    *end = (struct message_end){.outcome = code ? SSX_OUTCOME_FAILED : SSX_OUTCOME_OK, .code = code < 0 ? 1 : (unsigned)code,
                                .message = span_text(call->message)};
    put_answer(worker, call, state, filled, answer, end);
}

static uint64_t microseconds(const struct timeval *a, const struct timeval *b)
{
    return (uint64_t)(a->tv_sec + b->tv_sec) * 1000000 + (uint64_t)(a->tv_usec + b->tv_usec);
}

void call_usage(struct message_end *end, struct usage *since)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    struct usage now = {microseconds(&own.ru_utime, &children.ru_utime), microseconds(&own.ru_stime, &children.ru_stime)};
    end->user_us = now.user_us - (since ? since->user_us : 0);
    end->sys_us = now.sys_us - (since ? since->sys_us : 0);
    end->rss_kb = (uint64_t)(own.ru_maxrss > children.ru_maxrss ? own.ru_maxrss : children.ru_maxrss);
    if (since)
        *since = now;
}
