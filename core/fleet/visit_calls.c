#include "fleet/visit_calls.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANCEL_MS 2500   /* how long after the grace time the agent has to say how a cancelled call ended */
#define OVERDUE_MS 10000 /* the same after a call's own time limit, which the agent watches over */
#define TAKEN_AT_ONCE 64
#define BYTES_MASK UINT32_MAX /* the lower half of member.consumed */

static const struct engine_options *options_of(const struct visit *v) { return engine_options_of(v->member->engine); }

static int64_t grace_ms(const struct client_request *call) { return (int64_t)(call->grace_ms ? call->grace_ms : GRACE_MS_DEFAULT); }

int visit_calls_new(struct visit *v, struct ssx_error *err)
{
    v->call_count = engine_calls(v->member->engine);
    v->calls = calloc(v->call_count, sizeof *v->calls);
    return v->calls ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for a session");
}

struct visit_call *visit_call_of(const struct visit *v, uint32_t id)
{
    for (size_t i = 0; id && i < v->call_count; i++)
        if (v->calls[i].id == id)
            return &v->calls[i];
    return NULL;
}

struct news_from visit_call_from(const struct visit *v, const struct visit_call *call)
{
    struct news_from from = {v->member->number, NEWS_NONE, 0, 0};
    if (call) {
        from.item = call->item;
        from.slot = (size_t)(call - v->calls);
        from.call = call->id;
    }
    return from;
}

/* --- time --- */

/* The agent watches over the call's time, from the worker's start; we watch over the agent. */
static void limit(const struct visit *v, struct visit_call *call)
{
    const struct client_request *request = &options_of(v)->call;
    if (!request->timeout_ms || v->stopping)
        return;
    call->give_up_ms = clock_ms() + (int64_t)request->timeout_ms + grace_ms(request) + OVERDUE_MS;
    call->give_up_why = "the agent has not ended the call, long after its time was over";
}

void visit_calls_answered(struct visit *v, uint64_t most)
{
    v->call_count = most && most < v->call_count ? (size_t)most : v->call_count;
    for (size_t i = 0; i < v->call_count; i++)
        if (v->calls[i].id) {
            v->calls[i].begun_us = v->answered_us;
            limit(v, &v->calls[i]);
        }
}

void visit_calls_cancel(struct visit *v)
{
    for (size_t i = 0; i < v->call_count; i++) {
        if (!v->calls[i].id)
            continue;
        client_cancel(v->link.client, v->calls[i].id);
        v->calls[i].give_up_ms = clock_ms() + grace_ms(&options_of(v)->call) + CANCEL_MS;
        v->calls[i].give_up_why = "the agent did not answer the cancel";
    }
}

const char *visit_calls_overdue(struct visit *v, int64_t now_ms, int64_t later_ms)
{
    const char *why = NULL;
    for (size_t i = 0; i < v->call_count; i++) {
        struct visit_call *call = &v->calls[i];
        if (!call->id || !call->give_up_ms)
            continue;
        call->give_up_ms += later_ms;
        if (now_ms >= call->give_up_ms)
            why = call->give_up_why;
    }
    return why;
}

struct timing visit_call_timing(const struct visit *v, const struct visit_call *call, uint64_t run_us)
{
    int64_t now = clock_us(), in_hand = call->sent_us ? call->sent_us : call->begun_us;
    struct timing t = {.run_us = (int64_t)run_us, .tries = v->member->tries, .total_us = now - engine_began_us(v->member->engine)};
    if (call->item != NEWS_NONE)
        t.wait_us = call->begun_us - engine_began_us(v->member->engine);
    if (call->sent_us)
        t.upload_us = call->sent_us - call->upload_us;
    if (in_hand && now - in_hand > t.run_us)
        t.load_us = now - in_hand - t.run_us;
    return t;
}

/* --- beginning --- */

static int begin(struct visit *v, struct visit_call *call, size_t item, struct client_request *request, struct ssx_error *err)
{
    const struct engine_options *o = options_of(v);
    request->input = o->input_fd >= 0 || o->joins_in;
    *call = (struct visit_call){.item = item, .input_at = o->input_fd >= 0 ? 0 : -1};
    if (client_call(v->link.client, &call->id, request, err))
        return -1;
    atomic_store(&v->member->consumed[call - v->calls], (uint64_t)call->id << 32);
    v->open_calls++;
    return 0;
}

int visit_calls_own(struct visit *v, struct ssx_error *err)
{
    struct client_request request = options_of(v)->call;
    if (v->member->state) {
        request.state = v->member->state;
        request.state_size = v->member->state_size;
    }
    return begin(v, &v->calls[0], NEWS_NONE, &request, err);
}

/* What can't be begun with here goes back: nothing was sent of it. */
static void begin_item(struct visit *v, struct visit_call *call, size_t item)
{
    struct client_request request = options_of(v)->call;
    struct ssx_error err = {0};
    struct buf state = {0};
    int rc = engine_item_state(&state, v->member, item, &err);
    if (rc == 0) {
        request.state = buf_data(&state);
        request.state_size = buf_length(&state);
        rc = begin(v, call, item, &request, &err);
    }
    buf_free(&state);
    if (rc == 0) {
        call->begun_us = clock_us();
        limit(v, call);
        return;
    }
    call->id = 0;
    engine_return(v->member->engine, item, SSX_OUTCOME_UNREACHABLE);
    visit_give_up(v, err.text);
}

void visit_calls_fill(struct visit *v)
{
    size_t items[TAKEN_AT_ONCE], wanted = v->call_count - v->open_calls, at = 0;
    if (!wanted || !v->link.answered || v->link.ended || v->why || v->refusal || v->no_more || !engine_deals(v->member->engine))
        return;
    size_t count = engine_take(v->member, items, wanted < TAKEN_AT_ONCE ? wanted : TAKEN_AT_ONCE, &v->no_more);
    for (size_t i = 0; i < count; i++) {
        while (v->calls[at].id)
            at++;
        begin_item(v, &v->calls[at++], items[i]);
    }
}

/* --- an item's end --- */

void visit_settle(const struct visit *v, struct message_end *e)
{
    const char *why;
    enum ssx_outcome stopped = engine_stopped(v->member->engine, &why);
    if (!v->stopping)
        return;
    if (stopped == SSX_OUTCOME_OK) {
        if (e->outcome == SSX_OUTCOME_UNREACHABLE && engine_has_dealt(v->member->engine, &why))
            *e = (struct message_end){.outcome = SSX_OUTCOME_OK, .message = span_text(why)};
    } else if (e->outcome == SSX_OUTCOME_UNREACHABLE) {
        e->outcome = stopped == SSX_OUTCOME_CANCELLED ? SSX_OUTCOME_CANCELLED : SSX_OUTCOME_UNREACHABLE;
        e->message = span_text(why);
    } else if (e->outcome == SSX_OUTCOME_CANCELLED && stopped == SSX_OUTCOME_TIMEOUT) {
        e->outcome = SSX_OUTCOME_TIMEOUT;
        e->message = span_text(why);
    }
}

static void tell_return(struct visit *v, const struct visit_call *call, const struct message_end *e)
{
    struct message m = {.kind = MESSAGE_LOG, .log = {.text = e->message}};
    news_put(engine_news(v->member->engine), NEWS_RETURN, visit_call_from(v, call), &m, NULL);
    engine_return(v->member->engine, call->item, e->outcome);
}

static void tell_end(struct visit *v, const struct visit_call *call, struct message *m, unsigned hosts)
{
    char text[SSX_ERROR_TEXT + 128];
    if (v->link.ended && m->end.outcome == SSX_OUTCOME_LOST && !v->stopping) {
        span_copy(text, SSX_ERROR_TEXT, m->end.message);
        size_t n = strlen(text);
        if (!options_of(v)->idempotent)
            snprintf(text + n, sizeof text - n, "; it may have run, and is not idempotent: no other host is given it");
        else if (hosts + 1 >= DEAL_HOSTS_MAX)
            snprintf(text + n, sizeof text - n, "; it is host number %u that failed under this item", hosts + 1);
        m->end.message = span_text(text);
    }
    visit_settle(v, &m->end);
    struct timing timing = visit_call_timing(v, call, m->end.wall_us);
    v->did.run_us += timing.run_us;
    v->did.load_us += timing.load_us;
    v->did.upload_us += timing.upload_us;
    engine_item_ends(v->member->engine, call->item);
    news_put(engine_news(v->member->engine), NEWS_END, visit_call_from(v, call), m,
             &timing); /* where memory is out, the engine makes up for it */
}

/* A host that refuses the first one would refuse all, in no time: it must not eat up what others would do. */
static bool is_refused_here(struct visit *v, const struct message_end *e)
{
    if (e->outcome != SSX_OUTCOME_REFUSED || v->has_run)
        return false;
    if (!v->refusal)
        v->refusal = strndup(e->message.n ? e->message.at : "", e->message.n);
    v->no_more = true;
    return true;
}

void visit_calls_item_ended(struct visit *v, struct visit_call *call, struct message *m)
{
    unsigned hosts = 0;
    bool not_its_own = v->link.ended ? m->end.outcome == SSX_OUTCOME_LOST || m->end.outcome == SSX_OUTCOME_UNREACHABLE
                                     : is_refused_here(v, &m->end);
    v->has_run |= !v->link.ended && m->end.outcome != SSX_OUTCOME_REFUSED;
    if (not_its_own && engine_may_return(v->member->engine, call->item, m->end.outcome, &hosts))
        tell_return(v, call, &m->end);
    else
        tell_end(v, call, m, hosts);
    call->id = 0;
    v->open_calls--;
}

/* --- moving --- */

/* The input is a file that all calls read, each at its own pace. */
static bool give_input(struct visit *v, struct visit_call *call)
{
    unsigned char bytes[DATA_MAX];
    size_t room = !call->id || call->input_at < 0 ? 0 : client_input_room(v->link.client, call->id);
    if (!room)
        return false;
    ssize_t n = pread(options_of(v)->input_fd, bytes, room < sizeof bytes ? room : sizeof bytes, call->input_at);
    if (n > 0) {
        call->input_at += (off_t)client_input(v->link.client, call->id, bytes, (size_t)n);
    } else {
        client_input_end(v->link.client, call->id);
        call->input_at = -1;
    }
    return true;
}

bool visit_calls_want_input(const struct visit *v)
{
    return v->calls[0].id && client_input_room(v->link.client, v->calls[0].id) > 0;
}

/* The host's own call has its input from somebody who may have none just now. */
static bool give_joined(struct visit *v)
{
    unsigned char bytes[DATA_MAX];
    uint32_t id = v->calls[0].id;
    size_t room = v->joint.in < 0 ? 0 : client_input_room(v->link.client, id);
    ssize_t n = room ? joint_read(&v->joint, bytes, room < sizeof bytes ? room : sizeof bytes) : 0;
    if (n < 0)
        client_input_end(v->link.client, id);
    else if (n)
        engine_moves(v->member, client_input(v->link.client, id, bytes, (size_t)n), 0);
    return n != 0;
}

bool visit_calls_input(struct visit *v)
{
    bool gave = give_joined(v);
    for (size_t i = 0; i < v->call_count; i++)
        gave |= give_input(v, &v->calls[i]);
    return gave;
}

static void watch(struct visit *v, struct visit_call *call)
{
    size_t waiting;
    if (!call->id || call->sent_us)
        return;
    client_outgoing(v->link.client, &waiting);
    bool sends = client_sends_object(v->link.client, call->id);
    if (sends && !call->upload_us)
        call->upload_us = clock_us();
    else if (call->upload_us && !sends && !waiting)
        call->sent_us = clock_us();
    if (call->upload_us)
        limit(v, call);
}

void visit_calls_watch(struct visit *v)
{
    for (size_t i = 0; v->link.answered && i < v->call_count; i++)
        watch(v, &v->calls[i]);
}

void visit_consumed(struct visit *v)
{
    for (size_t i = 0; i < v->call_count; i++) {
        size_t n = (size_t)(atomic_fetch_and(&v->member->consumed[i], ~(uint_fast64_t)BYTES_MASK) & BYTES_MASK);
        if (n && v->calls[i].id)
            client_consumed(v->link.client, v->calls[i].id, n);
    }
}
