/* The process of one call: takes its order, decodes the state, runs the worker, encodes the result. */
#include "host_protocol.h"
#include "orphans.h"
#include "passing.h"
#include "services.h"
#include "worker.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "wire/message.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>


/* Moves the call's descriptors to their places and closes all others. */
static void place_descriptors(const int *fds)
{
    int control = fcntl(fds[HOST_FD_CONTROL], F_DUPFD_CLOEXEC, 10); /* out of the way of what follows */
    for (int to = 0; to < 3; to++)
        dup2(fds[HOST_FD_STDIN + to], to);
    dup3(control, HOST_SOCKET_FD, O_CLOEXEC);
    if (syscall(SYS_close_range, HOST_SOCKET_FD + 1, ~0u, 0))
        for (int fd = HOST_SOCKET_FD + 1; fd < 1024; fd++) /* a kernel before 5.9 */
            close(fd);
}

static void default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Reads more from the control socket until a whole frame stands at the start of `in`. Returns its length; leaves when the agent has gone. */
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

/* Takes the CALL and its STATE frames. The state is put together in `state`. */
static void read_order(struct call_context *call, struct buf *state)
{
    struct buf in = {0};
    struct message m;
    size_t whole = 0;
    do {
        size_t length = read_frame(&in);
        if (message_decode(&m, buf_data(&in), length, FROM_SENDER, NULL))
            _exit(1);
        if (m.kind == MESSAGE_CALL) {
            call->id = m.id;
            call->deadline_ms = m.call.timeout_ms ? clock_ms() + (int64_t)m.call.timeout_ms : 0;
            whole = (size_t)m.call.state_size;
            buf_add(state, m.call.state.at, m.call.state.n);
        } else if (m.kind == MESSAGE_STATE) {
            buf_add(state, m.data.bytes.at, m.data.bytes.n);
        }
        buf_consume(&in, length);
    } while (buf_length(state) < whole && !state->failed);
    buf_free(&in);
    if (state->failed)
        _exit(1);
}

/* A STATE or a RESULT. */
static void put_value(struct call_context *call, struct buf *out, enum message_kind kind, const struct buf *value)
{
    const unsigned char *at = buf_data(value);
    for (size_t left = buf_length(value), n; left; left -= n, at += n) {
        n = left < DATA_MAX ? left : DATA_MAX;
        message_encode(out, &(struct message){.kind = kind, .id = call->id, .data = {.bytes = {at, n}, .more = n < left}}, FROM_AGENT);
    }
}

/* STATE, RESULT and END go in one write: the agent wakes once. Empty values are not sent. */
static _Noreturn void finish(struct call_context *call, struct message_end end, const struct buf *state, const struct buf *result)
{
    struct buf out = {0};
    fflush(NULL);
    put_value(call, &out, MESSAGE_STATE, state);
    put_value(call, &out, MESSAGE_RESULT, result);
    message_encode(&out, &(struct message){.kind = MESSAGE_END, .id = call->id, .end = end}, FROM_AGENT);
    if (out.failed || fd_write_all(HOST_SOCKET_FD, buf_data(&out), buf_length(&out)))
        _exit(1);
    _exit(0);
}

static _Noreturn void refuse(struct call_context *call, const char *text)
{
    static const struct buf none;
    finish(call, (struct message_end){.outcome = SSX_OUTCOME_REFUSED, .reason = span_text("state"), .message = span_text(text)}, &none, &none);
}

static void *codec_memory(void *user, size_t n) { return arena_alloc(user, n); }

/* What the worker made, for the wire; what can't travel ends the call as failed. */
static void encode_value(struct call_context *call, const struct ssx_schema *schema, const char *what, const void *from, bool omit_defaults, int code,
                         struct buf *out)
{
    static const struct buf none;
    struct ssx_error err = {0};
    if (codec_encode(schema, from, out, omit_defaults, &err) == 0 && buf_length(out) <= VALUE_SIZE_MAX)
        return;
    error_set(&err, SSX_ERROR_REFUSED, "it takes %zu bytes, the limit is %u", buf_length(out), VALUE_SIZE_MAX);
    error_prefix(&err, "the worker's %s", what);
    finish(call, (struct message_end){.outcome = SSX_OUTCOME_FAILED, .code = code > 0 ? (unsigned)code : 1, .message = span_text(err.text)}, &none, &none);
}

static _Noreturn void run(const struct worker *worker, struct call_context *call)
{
    const struct ssx_schema *in = worker->plugin->state(), *out = worker->plugin->result();
    struct ssx_error err = {0};
    struct buf bytes = {0}, given_back = {0}, result = {0};
    read_order(call, &bytes);
    void *state = arena_alloc(&call->arena, in->size), *filled = arena_alloc(&call->arena, out->size);
    if (!state || !filled)
        refuse(call, "out of memory for the state");
    if (codec_decode(in, state, buf_data(&bytes), buf_length(&bytes), codec_memory, &call->arena, &err)) {
        error_prefix(&err, "%s %s", worker->type, worker->plugin->version);
        refuse(call, err.text);
    }
    out->defaults(filled);
    int code = worker->run(&call->call, state, filled);
    struct message_end end = {.outcome = code ? SSX_OUTCOME_FAILED : SSX_OUTCOME_OK, .code = code < 0 ? 1 : (unsigned)code,
                              .message = span_text(call->message)};
    if (worker->returns_state && !code)
        encode_value(call, in, "state", state, true, code, &given_back); /* as a sender would: an older one may get it */
    encode_value(call, out, "result", filled, false, code, &result);
    finish(call, end, &given_back, &result);
}

_Noreturn void call_process(const struct worker *worker, int socket)
{
    static struct call_context call; /* large, and there is one a process */
    struct call_order order;
    int fds[HOST_FDS];
    setsid();
    orphans_adopt();
    default_signals();
    if (passing_receive(socket, &order, sizeof order, fds, HOST_FDS) != sizeof order || fds[HOST_FDS - 1] < 0)
        _exit(0);
    place_descriptors(fds);
    call_context_init(&call, order.temp, worker->item);
    if (order.temp[0])
        setenv("TMPDIR", order.temp, 1);
    run(worker, &call);
}
