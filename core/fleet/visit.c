#include "fleet/visit.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/member.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANCEL_MS 2500   /* how long after the grace time the agent has to say how a cancelled call ended */
#define OVERDUE_MS 10000 /* the same after a call's own time limit, which the agent watches over */

static int64_t grace_ms(const struct client_request *call) { return (int64_t)(call->grace_ms ? call->grace_ms : GRACE_MS_DEFAULT); }

static struct news *news_of(const struct visit *v) { return engine_news(v->member->engine); }

/* --- telling --- */

static struct timing timing_of(const struct visit *v, const struct message_end *e)
{
    const struct transport_attempt *a = &v->attempt;
    int64_t now = clock_us(), began = engine_began_us(v->member->engine);
    int64_t in_hand = v->sent_us ? v->sent_us : v->answered_us;
    struct timing t = {.look_us = a->look_us, .resolve_us = a->resolve_us, .connect_us = a->connect_us, .exchange_us = a->exchange_us, .auth_us = a->auth_us,
                       .run_us = (int64_t)e->wall_us, .total_us = now - began, .tries = v->member->tries, .wait_us = v->began_us - began};
    if (v->answered_us)
        t.agent_us = a->start_us + v->answered_us - v->opened_us;
    if (v->sent_us)
        t.upload_us = v->sent_us - v->upload_us;
    if (in_hand && now - in_hand > t.run_us)
        t.load_us = now - in_hand - t.run_us;
    return t;
}

/* Words for a host that did not come to its end because the run was ended before. */
static void settle(const struct visit *v, struct message_end *e)
{
    const char *why;
    enum ssx_outcome stopped = engine_stopped(v->member->engine, &why);
    if (stopped == SSX_OUTCOME_OK || !v->stopping)
        return;
    if (e->outcome == SSX_OUTCOME_UNREACHABLE) {
        e->outcome = stopped == SSX_OUTCOME_CANCELLED ? SSX_OUTCOME_CANCELLED : SSX_OUTCOME_UNREACHABLE;
        e->message = span_text(why);
    } else if (e->outcome == SSX_OUTCOME_CANCELLED && stopped == SSX_OUTCOME_TIMEOUT) {
        e->outcome = SSX_OUTCOME_TIMEOUT;
        e->message = span_text(why);
    }
}

static void tell_end(struct visit *v, struct message *m)
{
    settle(v, &m->end);
    struct timing timing = timing_of(v, &m->end);
    engine_ends(v->member);
    news_put(news_of(v), NEWS_END, v->member->number, m, &timing); /* where memory is out, the engine makes up for it */
}

void visit_fail(struct visit *v, const struct ssx_error *err)
{
    bool refused = err->code == SSX_ERROR_REFUSED || err->code == SSX_ERROR_UNKNOWN_TYPE;
    v->stopping |= err->code == SSX_ERROR_INTERRUPTED;
    struct message m = {.kind = MESSAGE_END, .end = {.outcome = refused ? SSX_OUTCOME_REFUSED : SSX_OUTCOME_UNREACHABLE, .message = span_text(err->text)}};
    tell_end(v, &m);
}

static void tell_note(void *ctx, int level, const char *text)
{
    const struct visit *v = ctx;
    struct message m = {.kind = MESSAGE_LOG, .log = {.level = (uint64_t)level, .text = span_text(text)}};
    news_put(news_of(v), NEWS_NOTE, v->member->number, &m, NULL);
}

static void tell_stderr(void *user, const void *bytes, size_t n)
{
    const struct visit *v = user;
    struct message m = {.kind = MESSAGE_OUTPUT, .data = {.bytes = {bytes, n}}};
    if (engine_options_of(v->member->engine)->listener.on_stderr)
        news_put(news_of(v), NEWS_STDERR, v->member->number, &m, NULL);
}


/* --- opening --- */

static int start_call(struct visit *v, struct ssx_error *err)
{
    const struct engine_options *o = engine_options_of(v->member->engine);
    struct client_request request = o->call;
    if (v->member->state) {
        request.state = v->member->state;
        request.state_size = v->member->state_size;
    }
    request.input = o->input_fd >= 0;
    v->input_at = request.input ? 0 : -1;
    v->link.on_stderr = tell_stderr;
    v->link.user = v;
    return client_call(v->link.client, &v->call, &request, err);
}

int visit_open(struct visit *v, struct ssx_error *err)
{
    const struct engine_options *o = engine_options_of(v->member->engine);
    struct transport_target target = o->target;
    v->began_us = clock_us();
    target.host = v->member->host;
    target.attempt = &v->attempt;
    target.ask = NULL;
    target.log = o->listener.on_note ? tell_note : NULL;
    target.log_ctx = v;
    int rc = o->local_argv ? link_open_local(&v->link, &target, o->local_argv, err) : link_open_host(&v->link, &target, o->agent, o->bootstrap, err);
    if (rc)
        return -1;
    v->opened_us = clock_us();
    v->checked_ms = clock_ms();
    if (start_call(v, err)) {
        link_close(&v->link);
        return -1;
    }
    if (strcmp(transport_name(v->link.transport), "libssh") == 0)
        engine_logged_in(v->member); /* of a child it isn't known before the agent answers */
    return 0;
}

void visit_close(struct visit *v)
{
    link_close(&v->link);
    free(v->why);
    free(v);
}

/* --- moving --- */

/* What ssh says when it was hung up on before the host's greeting. */
static bool was_turned_away(const struct visit *v)
{
    static const char words[] = "kex_exchange_identification: ";
    const struct buf *said = &v->link.early;
    return !v->link.answered && buf_length(said) && memmem(buf_data(said), buf_length(said), words, sizeof words - 1);
}

/* What has come is dealt with first: its END may be among it. */
static void fail_later(struct visit *v, struct ssx_error *err)
{
    link_explain(&v->link, err);
    if (!v->why)
        v->why = strdup(err->text);
    if (!v->why)
        link_fail(&v->link, "out of memory");
}

/* The agent watches over the call's time, from the worker's start; we watch over the agent. */
static void limit(struct visit *v)
{
    const struct client_request *call = &engine_options_of(v->member->engine)->call;
    if (!call->timeout_ms || v->stopping)
        return;
    v->give_up_ms = clock_ms() + (int64_t)call->timeout_ms + grace_ms(call) + OVERDUE_MS;
    v->give_up_why = "the agent has not ended the call, long after its time was over";
}

static void take_hello(struct visit *v)
{
    v->answered_us = clock_us();
    engine_logged_in(v->member);
    link_answered(&v->link);
    limit(v);
}

/* Returns whether it was the END. */
static bool take_message(struct visit *v, struct message *m)
{
    if (m->kind == MESSAGE_HELLO)
        take_hello(v);
    if (m->kind == MESSAGE_END) {
        v->again = m->end.outcome == SSX_OUTCOME_UNREACHABLE && was_turned_away(v) && engine_may_try_again(v->member, v->attempt.timeout_ms);
        if (!v->again)
            tell_end(v, m);
        return true;
    }
    if (news_put(news_of(v), NEWS_MESSAGE, v->member->number, m, NULL))
        fail_later(v, &(struct ssx_error){SSX_ERROR_SYSTEM, "out of memory for what the host said"});
    return false;
}

/* Returns whether the END has come. */
static bool take_messages(struct visit *v)
{
    struct ssx_error err = {0};
    struct message m;
    int rc = 1;
    while ((v->link.ended || news_has_room(news_of(v))) && (rc = client_next(v->link.client, &m, &err)) > 0)
        if (take_message(v, &m))
            return true;
    if (rc < 0)
        fail_later(v, &err);
    if (rc <= 0 && v->why && !v->link.ended) {
        link_fail(&v->link, v->why);
        return take_messages(v);
    }
    return false;
}

/* The input is a file that all visits read, each at its own pace. Returns whether there may be more to give at once. */
static bool give_input(struct visit *v)
{
    unsigned char bytes[DATA_MAX];
    size_t room = v->input_at < 0 ? 0 : client_input_room(v->link.client, v->call);
    if (!room)
        return false;
    ssize_t n = pread(engine_options_of(v->member->engine)->input_fd, bytes, room < sizeof bytes ? room : sizeof bytes, v->input_at);
    if (n > 0) {
        v->input_at += (off_t)client_input(v->link.client, v->call, bytes, (size_t)n);
    } else {
        client_input_end(v->link.client, v->call);
        v->input_at = -1;
    }
    return true;
}

static void count_upload(struct visit *v)
{
    uint64_t sent, asked;
    client_upload(v->link.client, v->call, &sent, &asked);
    if (!asked)
        return;
    atomic_store_explicit(&v->member->sent, sent, memory_order_relaxed);
    atomic_store_explicit(&v->member->asked, asked, memory_order_relaxed);
}

/* When the plugin's upload began, and when all of it was sent. */
static void watch_upload(struct visit *v)
{
    size_t waiting;
    if (v->sent_us || !v->link.answered)
        return;
    client_outgoing(v->link.client, &waiting);
    bool sends = client_sends_object(v->link.client, v->call);
    if (sends && !v->upload_us)
        v->upload_us = clock_us();
    else if (v->upload_us && !sends && !waiting)
        v->sent_us = clock_us();
    if (v->upload_us)
        limit(v);
}

enum visit_state visit_step(struct visit *v)
{
    struct ssx_error err = {0};
    if (take_messages(v))
        return VISIT_OVER;
    bool room = news_has_room(news_of(v));
    bool gave = give_input(v);
    watch_upload(v);
    int rc = v->why ? 0 : link_step(&v->link, room, &err);
    if (rc < 0)
        fail_later(v, &err);
    if (engine_options_of(v->member->engine)->call.offer)
        count_upload(v);
    v->was_paused |= !room;
    if (!room)
        return VISIT_PAUSED;
    return rc || gave || v->why ? VISIT_READY : VISIT_WAITS;
}

void visit_consumed(struct visit *v, size_t n) { client_consumed(v->link.client, v->call, n); }

void visit_stop(struct visit *v)
{
    const struct client_request *call = &engine_options_of(v->member->engine)->call;
    if (v->stopping)
        return;
    v->stopping = true;
    if (!v->link.answered) {
        link_fail(&v->link, "given up before its agent answered");
        return;
    }
    client_cancel(v->link.client, v->call);
    v->give_up_ms = clock_ms() + grace_ms(call) + CANCEL_MS;
    v->give_up_why = "the agent did not answer the cancel";
}

void visit_check_time(struct visit *v, int64_t now_ms)
{
    if (v->give_up_ms && v->was_paused)
        v->give_up_ms += now_ms - v->checked_ms; /* it was the program that kept it waiting */
    v->checked_ms = now_ms;
    v->was_paused = v->is_paused;
    if (v->give_up_ms && now_ms >= v->give_up_ms)
        link_fail(&v->link, v->give_up_why);
}

size_t visit_poll(struct visit *v, struct pollfd *out) { return v->is_paused ? 0 : link_poll(&v->link, true, out); }
