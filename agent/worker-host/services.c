#include "services.h"

#include "host_protocol.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/message.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_EVERY_MS 50 /* faster than an eye can follow; what lies between is dropped */
#define TEXT_MAX 4096        /* of a log line, a progress text */

static volatile sig_atomic_t terminated;
static bool armed; /* SIGTERM sets it, and does nothing else */
static void note_termination(int signal_number) { (void)signal_number; terminated = 1; }

static struct call_context *context(struct ssx_call *call) { return (struct call_context *)call; }

/* The agent has gone when this fails, and so has the reason to go on. */
static void send_message(struct call_context *c, const struct message *m)
{
    struct buf out = {0};
    message_encode(&out, m, FROM_AGENT);
    if (out.failed || fd_write_all(HOST_SOCKET_FD, buf_data(&out), buf_length(&out)))
        _exit(1);
    c->sent += buf_length(&out);
    buf_free(&out);
}

_Noreturn void call_end_early(struct call_context *c, const struct message_end *end)
{
    fflush(NULL);
    if (c->seal)
        fd_write_all(HOST_SOCKET_FD, c->seal, LANE_SEAL);
    send_message(c, &(struct message){.kind = MESSAGE_END, .id = c->id, .end = *end});
    _exit(0);
}

/* Text for the wire: escaped nowhere, cut to a limit. */
static struct span limited(const char *text)
{
    struct span s = span_text(text);
    s.n = s.n < TEXT_MAX ? s.n : TEXT_MAX;
    return s;
}

static int service_fail(struct ssx_call *call, int code, const char *message)
{
    snprintf(context(call)->message, sizeof context(call)->message, "%s", message);
    return code;
}

/* A worker that runs out of memory can't go on, and need not check each piece for it. */
static void *service_alloc(struct ssx_call *call, size_t n)
{
    struct call_context *c = context(call);
    void *at = arena_alloc(&c->arena, n);
    if (at)
        return at;
    call_end_early(c, &(struct message_end){.outcome = SSX_OUTCOME_FAILED,
                                            .code = 1,
                                            .message = span_text("the worker ran out of memory")});
}

static void service_log(struct ssx_call *call, int level, const char *text)
{
    unsigned bounded = level < 0 ? 0 : level > 3 ? 3 : (unsigned)level;
    send_message(context(call), &(struct message){.kind = MESSAGE_LOG,
                                                  .id = context(call)->id,
                                                  .log = {.level = bounded, .text = limited(text)}});
}

static void service_progress(struct ssx_call *call, uint64_t done, uint64_t total, const char *text)
{
    struct call_context *c = context(call);
    int64_t now = clock_ms();
    if (now - c->progress_ms < PROGRESS_EVERY_MS && done != total)
        return;
    c->progress_ms = now;
    send_message(c, &(struct message){.kind = MESSAGE_PROGRESS,
                                      .id = c->id,
                                      .progress = {.done = done, .total = total, .text = limited(text ? text : "")}});
}

static int send_item(struct call_context *c, const unsigned char *at, size_t n)
{
    if (n > VALUE_SIZE_MAX)
        return -1;
    for (size_t piece; n; n -= piece, at += piece) {
        piece = n < DATA_MAX ? n : DATA_MAX;
        send_message(c, &(struct message){.kind = MESSAGE_ITEM, .id = c->id, .data = {.bytes = {at, piece}, .more = piece < n}});
    }
    return 0;
}

/* An item that the worker can't send: the log says why. */
static int refuse_item(struct ssx_call *call, const struct ssx_error *why)
{
    char text[SSX_ERROR_TEXT + 32];
    snprintf(text, sizeof text, "an item was not sent: %s", why->text);
    service_log(call, SSX_LOG_ERROR, text);
    return -1;
}

/* Files of one plugin have tables of their own for one struct: its name is what they share. */
static int service_item(struct ssx_call *call, const struct ssx_schema *schema, const void *item)
{
    const struct ssx_schema *declared = context(call)->item;
    struct ssx_error err = {0};
    struct buf out = {0};
    if (declared && (strcmp(declared->name, schema->name) || declared->size != schema->size)) {
        error_set(&err, SSX_ERROR_REFUSED, "it is a struct %s, but SSX_WORKER_ITEMS declares %s", schema->name, declared->name);
        return refuse_item(call, &err);
    }
    int rc = codec_encode(schema, item, &out, false, &err) ? refuse_item(call, &err)
                                                           : send_item(context(call), buf_data(&out), buf_length(&out));
    buf_free(&out);
    return rc;
}

static int service_item_any(struct ssx_call *call, const void *msgpack, size_t n)
{
    const struct ssx_schema *declared = context(call)->item;
    struct ssx_error err = {0};
    if (declared)
        error_set(&err, SSX_ERROR_REFUSED, "SSX_WORKER_ITEMS declares %s, so only ssx_item can send one", declared->name);
    return declared || value_scan(msgpack, n, &err) ? refuse_item(call, &err) : send_item(context(call), msgpack, n);
}

/* SIGTERM ends a worker that never asks; from the first question on it sets the flag. */
static bool service_cancelled(struct ssx_call *call)
{
    (void)call;
    if (!armed) {
        struct sigaction action = {.sa_handler = note_termination};
        sigaction(SIGTERM, &action, NULL);
        armed = true;
    }
    return terminated;
}

static int64_t service_time_left_ms(struct ssx_call *call)
{
    int64_t deadline = context(call)->deadline_ms, left = deadline - clock_ms();
    return !deadline ? -1 : left > 0 ? left : 0;
}

/* Waits for input, or for SIGTERM where that only sets the flag: it is blocked but in the wait, so that none is
 * missed. */
static bool input_is_there(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    bool there = !terminated && ppoll(&input, 1, NULL, &before) > 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return there;
}

static ptrdiff_t service_read(struct ssx_call *call, void *at, size_t n)
{
    (void)call;
    for (;;) {
        bool there = !armed || input_is_there();
        if (terminated) {
            errno = ECANCELED;
            return -1;
        }
        ssize_t got = there ? read(STDIN_FILENO, at, n) : -1;
        if (there && (got >= 0 || errno != EINTR))
            return got;
    }
}

static const char *service_temp_dir(struct ssx_call *call)
{
    context(call)->temp_asked = true;
    return context(call)->temp[0] ? context(call)->temp : NULL;
}

void call_context_reset(struct call_context *c)
{
    arena_clear(&c->arena);
    c->progress_ms = 0;
    c->temp_asked = false;
    c->message[0] = 0;
    c->sent = 0;
    if (armed)
        signal(SIGTERM, SIG_DFL);
    armed = false;
    terminated = 0;
}

void call_context_init(struct call_context *c, const char *temp, const struct ssx_schema *item)
{
    static const struct ssx_host host = {sizeof host, service_alloc, service_log, service_progress, service_item, service_item_any,
                                         service_cancelled, service_time_left_ms, service_temp_dir, service_fail, service_read};
    memset(c, 0, sizeof *c);
    c->call.host = &host;
    c->item = item;
    snprintf(c->temp, sizeof c->temp, "%s", temp);
}
