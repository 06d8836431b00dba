#include "fleet/visit.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/member.h"
#include "fleet/visit_calls.h"

#include <stdlib.h>
#include <string.h>

static struct news *news_of(const struct visit *v) { return engine_news(v->member->engine); }

static struct news_from of_host(const struct visit *v) { return visit_call_from(v, NULL); }

/* --- telling --- */

static struct timing timing_of(const struct visit *v, const struct message_end *e)
{
    const struct transport_attempt *a = &v->attempt;
    struct timing t = v->did;
    if (v->calls && !engine_deals(v->member->engine))
        t = visit_call_timing(v, &v->calls[0], e->wall_us);
    t.total_us = clock_us() - engine_began_us(v->member->engine);
    t.wait_us = v->began_us - engine_began_us(v->member->engine);
    t.look_us = a->look_us;
    t.resolve_us = a->resolve_us;
    t.connect_us = a->connect_us;
    t.exchange_us = a->exchange_us;
    t.auth_us = a->auth_us;
    t.agent_us = v->answered_us ? a->start_us + v->answered_us - v->opened_us : 0;
    t.tries = v->member->tries;
    return t;
}

static void tell_end(struct visit *v, struct message *m)
{
    visit_settle(v, &m->end);
    struct timing timing = timing_of(v, &m->end);
    joint_close(&v->joint); /* first: who is behind it may be waited for when this is told */
    engine_ends(v->member);
    news_put(news_of(v), NEWS_END, of_host(v), m, &timing); /* where memory is out, the engine makes up for it */
}

void visit_fail(struct visit *v, const struct ssx_error *err)
{
    bool refused = err->code == SSX_ERROR_REFUSED || err->code == SSX_ERROR_UNKNOWN_TYPE;
    v->stopping |= err->code == SSX_ERROR_INTERRUPTED;
    struct message m = {
        .kind = MESSAGE_END,
        .end = {.outcome = refused ? SSX_OUTCOME_REFUSED : SSX_OUTCOME_UNREACHABLE, .message = span_text(err->text)}};
    tell_end(v, &m);
}

static void tell_note(void *ctx, int level, const char *text)
{
    const struct visit *v = ctx;
    struct message m = {.kind = MESSAGE_LOG, .log = {.level = (uint64_t)level, .text = span_text(text)}};
    news_put(news_of(v), NEWS_NOTE, of_host(v), &m, NULL);
}

static void tell_stderr(void *user, const void *bytes, size_t n)
{
    const struct visit *v = user;
    struct message m = {.kind = MESSAGE_OUTPUT, .data = {.bytes = {bytes, n}}};
    if (engine_options_of(v->member->engine)->listener.on_stderr)
        news_put(news_of(v), NEWS_STDERR, of_host(v), &m, NULL);
}

/* --- opening --- */

int visit_open(struct visit *v, struct ssx_error *err)
{
    const struct engine_options *o = engine_options_of(v->member->engine);
    struct transport_target target = o->target;
    v->began_us = clock_us();
    joint_init(&v->joint);
    target.host = v->member->host;
    target.attempt = &v->attempt;
    target.ask = NULL;
    target.log = o->listener.on_note ? tell_note : NULL;
    target.log_ctx = v;
    int rc = o->local_argv && !target.host ? link_open_local(&v->link, &target, o->local_argv, err)
                                           : link_open_host(&v->link, &target, o->agent, o->bootstrap, err);
    if (rc)
        return -1;
    v->opened_us = clock_us();
    v->checked_ms = clock_ms();
    v->link.on_stderr = tell_stderr;
    v->link.user = v;
    if (visit_calls_new(v, err) || (!engine_deals(v->member->engine) && visit_calls_own(v, err))) {
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
    joint_close(&v->joint);
    free(v->calls);
    free(v->refusal);
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

void visit_give_up(struct visit *v, const char *why)
{
    if (!v->why)
        v->why = strdup(why); /* without memory it ends without a word */
    link_fail(&v->link, why);
}

static void take_hello(struct visit *v, const struct message_hello *hello)
{
    v->answered_us = clock_us();
    engine_logged_in(v->member);
    link_answered(&v->link);
    visit_calls_answered(v, hello->calls);
}

static bool may_try_again(struct visit *v) { return was_turned_away(v) && engine_may_try_again(v->member, v->attempt.timeout_ms); }

/* Returns whether it was the END of the host's own call. */
static bool take_end(struct visit *v, struct message *m)
{
    struct visit_call *call = visit_call_of(v, m->id);
    if (call && call->item != NEWS_NONE) {
        visit_calls_item_ended(v, call, m);
        return false;
    }
    v->again = m->end.outcome == SSX_OUTCOME_UNREACHABLE && may_try_again(v);
    if (!v->again)
        tell_end(v, m);
    return true;
}

/* --- what goes past the program --- */

/* Whether the joint has to take what was said before more is heard. Once the call is to end nobody is waited for. */
static bool is_full(const struct visit *v) { return joint_holds(&v->joint) && !v->stopping && !v->link.ended; }

static bool goes_past(const struct visit *v, const struct message *m)
{
    return engine_options_of(v->member->engine)->joins_out && m->kind == MESSAGE_OUTPUT && m->data.stream == 1;
}

static void passed(struct visit *v, size_t n)
{
    engine_moves(v->member, 0, n);
    client_consumed(v->link.client, v->calls[0].id, n);
}

static void pass_on(struct visit *v, const struct span *bytes)
{
    ssize_t n = joint_put(&v->joint, bytes->at, bytes->n);
    if (n < 0)
        fail_later(v, &(struct ssx_error){SSX_ERROR_SYSTEM, "out of memory for what the host said"});
    else
        passed(v, (size_t)n);
}

/* The agent has to get rid of what was said before it can end the call: a reader that doesn't take it is not waited for
 * then. */
static void flush(struct visit *v)
{
    if (joint_holds(&v->joint) && !is_full(v))
        joint_hang_up(&v->joint);
    if (joint_holds(&v->joint))
        passed(v, joint_flush(&v->joint));
}

void visit_join(struct visit *v)
{
    int in, out;
    if (!member_take_join(v->member, &in, &out))
        return;
    joint_make(&v->joint, in, out);
    if (in < 0 && engine_options_of(v->member->engine)->joins_in)
        client_input_end(v->link.client, v->calls[0].id);
}

/* --- what comes --- */

/* Returns whether the visit is over. */
static bool take_message(struct visit *v, struct message *m)
{
    if (m->kind == MESSAGE_END)
        return take_end(v, m);
    if (m->kind == MESSAGE_HELLO)
        take_hello(v, &m->hello);
    if (goes_past(v, m)) {
        pass_on(v, &m->data.bytes);
        return false;
    }
    if (news_put(news_of(v), NEWS_MESSAGE, visit_call_from(v, visit_call_of(v, m->id)), m, NULL))
        fail_later(v, &(struct ssx_error){SSX_ERROR_SYSTEM, "out of memory for what the host said"});
    return false;
}

/* Returns whether the visit is over. */
static bool take_messages(struct visit *v)
{
    struct ssx_error err = {0};
    struct message m;
    int rc = 1;
    while ((v->link.ended || news_has_room(news_of(v))) && !is_full(v) &&
           (rc = client_next(v->link.client, &m, &err)) > 0)
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

/* How a host ends that items were dealt to. */
static void end_host(struct visit *v)
{
    struct message m = {.kind = MESSAGE_END, .end = {.message = span_text(v->why ? v->why : "")}};
    if (v->link.ended && !v->link.answered) {
        m.end.outcome = SSX_OUTCOME_UNREACHABLE;
        v->again = may_try_again(v);
    } else if (v->link.ended) {
        m.end.outcome = SSX_OUTCOME_LOST;
    } else if (v->stopping) {
        m.end.outcome = SSX_OUTCOME_CANCELLED;
    } else if (v->refusal) {
        m.end.outcome = SSX_OUTCOME_REFUSED;
        m.end.message = span_text(v->refusal);
    }
    if (!v->again)
        tell_end(v, &m);
}

static void count_upload(struct visit *v)
{
    uint64_t sent, asked;
    client_upload(v->link.client, v->calls[0].id, &sent, &asked);
    if (!asked)
        return;
    atomic_store_explicit(&v->member->sent, sent, memory_order_relaxed);
    atomic_store_explicit(&v->member->asked, asked, memory_order_relaxed);
}

/* Takes items. Returns whether the host is done with. */
static bool deal(struct visit *v)
{
    const char *why;
    if (!v->stopping)
        visit_calls_fill(v);
    if (!v->link.answered && !v->link.ended && engine_has_dealt(v->member->engine, &why)) {
        v->stopping = true;
        visit_give_up(v, why);
    }
    bool done = v->link.ended || (v->link.answered && (v->no_more || v->stopping));
    if (!engine_deals(v->member->engine) || v->open_calls || !done)
        return false;
    end_host(v);
    return true;
}

enum visit_state visit_step(struct visit *v)
{
    struct ssx_error err = {0};
    flush(v);
    if (take_messages(v) || deal(v))
        return VISIT_OVER;
    bool room = news_has_room(news_of(v)), full = is_full(v);
    bool gave = visit_calls_input(v);
    visit_calls_watch(v);
    int rc = v->why ? 0 : link_step(&v->link, room && !full, &err);
    if (rc < 0)
        fail_later(v, &err);
    if (engine_options_of(v->member->engine)->call.offer)
        count_upload(v);
    v->was_paused |= !room;
    if (!room)
        return VISIT_PAUSED;
    return rc || gave || (v->why && !full) ? VISIT_READY : VISIT_WAITS;
}

void visit_stop(struct visit *v)
{
    if (v->stopping)
        return;
    v->stopping = true;
    if (v->link.answered)
        visit_calls_cancel(v);
    else
        visit_give_up(v, "given up before its agent answered");
}

void visit_check_time(struct visit *v, int64_t now_ms)
{
    const char *why = visit_calls_overdue(
        v, now_ms, v->was_paused ? now_ms - v->checked_ms : 0); /* it was the program that kept it waiting */
    v->checked_ms = now_ms;
    v->was_paused = v->is_paused;
    if (why)
        visit_give_up(v, why);
}

size_t visit_poll(struct visit *v, struct pollfd *out)
{
    size_t n = v->is_paused ? 0 : link_poll(&v->link, !is_full(v), out);
    return v->is_paused ? 0 : n + joint_poll(&v->joint, visit_calls_want_input(v), out + n);
}
