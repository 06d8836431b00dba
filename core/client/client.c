#include "client/client.h"

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "wire/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRANT_STEP (CLIENT_WINDOW / 4) /* CREDIT is sent in steps: a frame for each piece read would double the traffic */
#define OUTGOING_LOW (256u << 10)      /* objects and input are cut into frames only while less than this waits to be sent */
#define TABLE 256                      /* an idle session stays small; an agent takes 1,024 calls at once */
#define TYPES_MAX 65536            /* DESCRIBEs in answer to one: they cost no window, and who asks keeps what each says */
#define PONGS_MAX 256                  /* answers that may wait to be sent: an agent that sends PINGs and reads nothing must not fill our memory */

struct call {
    struct call *next, *before;        /* the later and the earlier opened */
    struct call *same;                 /* in the table */
    uint32_t id;
    uint64_t starts_at; /* where in the stream of bytes sent its first frame begins; UINT64_MAX as long as it waits in
                           `queued` */
    size_t window;                     /* what the agent may still send */
    size_t owed;                       /* received, not yet dealt with by the owner */
    size_t early;                      /* of whole values: granted before the owner has dealt with them */
    size_t ahead;                      /* the same of the value whose pieces are still coming */
    size_t granted;                    /* dealt with, not yet granted again */
    size_t credit;                     /* what we may still send */
    size_t types;                      /* that were described */
    bool describes;                    /* opened by DESCRIBE, not by CALL */
    const struct client_offer *offer;  /* opened by OFFER; borrowed */
    struct buf needs;                  /* of its objects, those asked for: size_t; as many of them as `needs_at` went, or are going */
    size_t needs_at;
    bool input_ended, has_result, has_state, has_need;
    struct buf value;                  /* ITEM, RESULT or STATE in pieces */
    enum message_kind value_kind;      /* more pieces of this kind are to come; 0: none */
    struct digest digest;
    const unsigned char *object;
    const struct client_variant *variants; /* of the object, for other machines; until the agent's is known */
    size_t variant_count;
    size_t object_size, object_sent;
    bool object_wanted, object_gone;   /* gone: all of it was cut into CHUNKs */
    uint64_t asked_bytes, cut_bytes;   /* of an offer's objects: that the agent needs, that were cut into CHUNKs */
};

struct client {
    const struct agent_image *agent;
    enum { GREETING, HELLO, READY, GONE } stage;
    char nonce[NONCE_HEX + 1];
    char machine[32];                  /* the agent's; empty: not known yet */
    bool sent_agent;
    struct span image;                 /* of the agent, what is still to be uploaded */
    bool uploading;
    struct buf in, out, queued, noise; /* queued: frames made before the agent's HELLO came */
    size_t frame;                      /* bytes at the start of `in` that the last message borrows */
    uint64_t lease_ms;                 /* 0: none */
    uint64_t sent;                     /* bytes handed to the transport so far */
    unsigned pongs;                    /* put since the last time that none waited to be sent */
    uint64_t pongs_end;                /* where in the stream of bytes sent the last one ends */
    uint32_t last_id;
    size_t agent_window;
    struct call *calls, *last;         /* open, in the order of their ids */
    struct call *table[TABLE];         /* the same, by id modulo TABLE */
    size_t open, wanted;               /* their number; of those, calls whose object is to be sent */
    struct buf objects;                /* digests of those that went to the agent: it needn't be sent one unasked twice */
    struct call *joined;               /* the last message borrows its value */
    struct call *ended;                /* its END was delivered; what the message borrows lives here */
    char why[SSX_ERROR_TEXT];          /* why the link is gone */
};

struct client *client_new(const struct agent_image *agent)
{
    struct client *c = calloc(1, sizeof *c);
    unsigned char nonce[NONCE_HEX / 2];
    if (!c)
        return NULL;
    random_bytes(nonce, sizeof nonce);
    text_hex(c->nonce, nonce, sizeof nonce);
    c->agent = agent;
    if (greeting_add(&c->out, c->nonce)) {
        client_free(c);
        return NULL;
    }
    return c;
}

void client_want_lease(struct client *c, uint64_t lease_ms) { c->lease_ms = lease_ms; }

static void call_free(struct call *call)
{
    if (call) {
        buf_free(&call->value);
        buf_free(&call->needs);
    }
    free(call);
}

void client_free(struct client *c)
{
    if (!c)
        return;
    for (struct call *call = c->calls, *next; call; call = next) {
        next = call->next;
        call_free(call);
    }
    call_free(c->ended);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->queued);
    buf_free(&c->noise);
    buf_free(&c->objects);
    free(c);
}

static struct call *call_find(const struct client *c, uint32_t id)
{
    struct call *call = c->table[id % TABLE];
    while (call && call->id != id)
        call = call->same;
    return call;
}

static void call_enter(struct client *c, struct call *call)
{
    struct call **place = &c->table[call->id % TABLE];
    call->same = *place;
    *place = call;
    call->before = c->last;
    *(c->last ? &c->last->next : &c->calls) = call;
    c->last = call;
    c->open++;
}

static void want_object(struct client *c, struct call *call, bool wanted)
{
    c->wanted += wanted - call->object_wanted;
    call->object_wanted = wanted;
}

static void call_leave(struct client *c, struct call *call)
{
    struct call **link = &c->table[call->id % TABLE];
    while (*link != call)
        link = &(*link)->same;
    *link = call->same;
    *(call->before ? &call->before->next : &c->calls) = call->next;
    *(call->next ? &call->next->before : &c->last) = call->before;
    want_object(c, call, false);
    c->open--;
}

static bool object_went(const struct client *c, const struct digest *digest)
{
    const unsigned char *at = buf_data(&c->objects);
    for (size_t i = 0; i < buf_length(&c->objects); i += DIGEST_SIZE)
        if (memcmp(at + i, digest->bytes, DIGEST_SIZE) == 0)
            return true;
    return false;
}

/* Frames wait in `queued` until the agent's HELLO has come, which says what machine it is on. It comes with the marker:
 * nothing is lost by that. */
static void put(struct client *c, const struct message *m)
{
    message_encode(c->stage < READY ? &c->queued : &c->out, m, FROM_SENDER);
}

static struct call *call_open(struct client *c)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->id = ++c->last_id;
    call->window = CLIENT_WINDOW;
    call->credit = c->agent_window;
    call->starts_at = c->stage < READY ? UINT64_MAX : c->sent + buf_length(&c->out);
    call_enter(c, call);
    return call;
}

static void call_close(struct client *c, struct call *call)
{
    call_leave(c, call);
    call_free(c->ended);
    c->ended = call;
}

static int link_is_gone(const struct client *c, struct ssx_error *err)
{
    return c->stage == GONE ? error_set(err, SSX_ERROR_UNREACHABLE, "the session has ended: %s", c->why) : 0;
}

/* A frame that didn't fit into memory is missing from the stream: nothing sensible can follow. */
static int is_out_of_memory(const struct client *c, struct ssx_error *err)
{
    return c->out.failed || c->queued.failed || c->noise.failed
               ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for what is to be sent")
               : 0;
}

/* What no agent would take: it would end the session, and the sibling calls with it. */
static int check_request(const struct client_request *r, struct ssx_error *err)
{
    if (!text_is_type_name(r->type))
        return error_set(err, SSX_ERROR_UNKNOWN_TYPE, "\"%.100s\" can't be the name of a type", r->type);
    if (r->state_size > VALUE_SIZE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the state takes %zu bytes, the limit is %u", r->state_size, VALUE_SIZE_MAX);
    if (r->digest && r->object_size > OBJECT_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the plugin of %s takes %zu bytes, the limit is %u", r->type, r->object_size, OBJECT_MAX);
    if (r->grace_ms > GRACE_MS_MAX || r->timeout_ms > TIMEOUT_MS_MAX)
        return error_set(err, SSX_ERROR_USAGE, "the %s is longer than %llu ms", r->grace_ms > GRACE_MS_MAX ? "grace" : "timeout",
                         r->grace_ms > GRACE_MS_MAX ? (unsigned long long)GRACE_MS_MAX : (unsigned long long)TIMEOUT_MS_MAX);
    return 0;
}

/* A state of more than one piece follows its CALL at once; DATA_MAX keeps STATE frames as small as other data. */
static void put_state(struct client *c, uint32_t id, const unsigned char *at, size_t n)
{
    while (n) {
        size_t piece = n < DATA_MAX ? n : DATA_MAX;
        put(c, &(struct message){.kind = MESSAGE_STATE, .id = id, .data = {.bytes = {at, piece}, .more = piece < n}});
        at += piece;
        n -= piece;
    }
}

static int offer(struct client *c, uint32_t *id, const struct client_offer *o, struct ssx_error *err)
{
    struct call *call = link_is_gone(c, err) ? NULL : call_open(c);
    if (!call)
        return error_set(err, SSX_ERROR_SYSTEM, "can't offer a bundle: out of memory");
    call->offer = o;
    put(c, &(struct message){.kind = MESSAGE_OFFER, .id = call->id, .objects.order = o->order});
    *id = call->id;
    return is_out_of_memory(c, err);
}

/* Puts the plugin for the agent's machine in the place of the other one, where there is one. */
static void choose_variant(const struct client *c, struct call *call)
{
    for (size_t i = 0; *c->machine && i < call->variant_count; i++) {
        const struct client_variant *v = &call->variants[i];
        if (strcmp(v->machine, c->machine))
            continue;
        call->digest = v->digest;
        call->object = v->object;
        call->object_size = v->object_size;
        call->variant_count = 0;
    }
}

static void take_object(const struct client *c, struct call *call, const struct client_request *r)
{
    call->digest = *r->digest;
    call->object = r->object;
    call->object_size = r->object_size;
    call->variants = r->variants;
    call->variant_count = r->variant_count;
    choose_variant(c, call);
}

int client_call(struct client *c, uint32_t *id, const struct client_request *r, struct ssx_error *err)
{
    if (r->offer)
        return offer(c, id, r->offer, err);
    if (r->describe)
        return client_describe(c, id, r->type, err);
    if (link_is_gone(c, err) || check_request(r, err))
        return -1;
    struct call *call = call_open(c);
    if (!call)
        return error_set(err, SSX_ERROR_SYSTEM, "can't call %s: out of memory", r->type);
    struct message m = {.kind = MESSAGE_CALL, .id = call->id};
    size_t first = r->state_size < DATA_MAX ? r->state_size : DATA_MAX;
    m.call = (struct message_call){.type = span_text(r->type),
                                   .state_size = r->state_size,
                                   .state = {r->state, first},
                                   .timeout_ms = r->timeout_ms,
                                   .grace_ms = r->grace_ms ? r->grace_ms : GRACE_MS_DEFAULT,
                                   .input = r->input};
    if (r->digest) {
        take_object(c, call, r);
        m.call.has_object = true;
        m.call.exact = r->exact;
        m.call.digest = call->digest;
        m.call.object_size = call->object_size;
    }
    put(c, &m);
    put_state(c, call->id, (const unsigned char *)r->state + first, r->state_size - first);
    /* An agent that was just uploaded can't have the plugin: it goes unasked. */
    want_object(c, call, call->object && c->sent_agent && !object_went(c, &call->digest));
    if (call->object_wanted)
        buf_add(&c->objects, call->digest.bytes, DIGEST_SIZE);
    *id = call->id;
    return is_out_of_memory(c, err);
}

int client_describe(struct client *c, uint32_t *id, const char *type, struct ssx_error *err)
{
    if (type && !text_is_type_name(type))
        return error_set(err, SSX_ERROR_UNKNOWN_TYPE, "\"%.100s\" can't be the name of a type", type);
    struct call *call = link_is_gone(c, err) ? NULL : call_open(c);
    if (!call)
        return error_set(err, SSX_ERROR_SYSTEM, "can't ask for descriptors: out of memory");
    call->describes = true;
    put(c, &(struct message){.kind = MESSAGE_DESCRIBE, .id = call->id, .describe.type = span_text(type)});
    *id = call->id;
    return is_out_of_memory(c, err);
}

void client_cancel(struct client *c, uint32_t id)
{
    if (call_find(c, id) && c->stage != GONE)
        put(c, &(struct message){.kind = MESSAGE_CANCEL, .id = id});
}

/* --- input --- */

size_t client_input_room(const struct client *c, uint32_t id)
{
    const struct call *call = call_find(c, id);
    size_t waiting = buf_length(&c->out), room = waiting < OUTGOING_LOW ? OUTGOING_LOW - waiting : 0;
    if (!call || call->describes || call->offer || call->input_ended || c->stage != READY)
        return 0;
    return room < call->credit ? room : call->credit;
}

size_t client_input(struct client *c, uint32_t id, const void *bytes, size_t n)
{
    size_t room = client_input_room(c, id), taken = n < room ? n : room;
    if (!taken)
        return 0;
    call_find(c, id)->credit -= taken;
    for (size_t done = 0, piece; done < taken; done += piece) {
        piece = taken - done < DATA_MAX ? taken - done : DATA_MAX;
        put(c, &(struct message){.kind = MESSAGE_INPUT, .id = id, .data.bytes = {(const char *)bytes + done, piece}});
    }
    return taken;
}

void client_input_end(struct client *c, uint32_t id)
{
    struct call *call = call_find(c, id);
    if (!call || call->input_ended || c->stage == GONE)
        return;
    call->input_ended = true;
    put(c, &(struct message){.kind = MESSAGE_INPUT, .id = id, .data.bytes = {"", 0}});
}

/* --- the greeting --- */

static void say_hello(struct client *c)
{
    struct message m = {.kind = MESSAGE_HELLO};
    m.hello = (struct message_hello){.min = PROTOCOL_VERSION, .max = PROTOCOL_VERSION, .build = span_text("sshexec " SSX_VERSION),
                                     .os = span_text("linux"), .window = CLIENT_WINDOW, .state = VALUE_SIZE_MAX, .lease_ms = c->lease_ms};
    c->stage = HELLO;
    message_encode(&c->out, &m, FROM_SENDER);
}

/* The frames that waited go, with the plugins for the machine that the agent is on. */
static int send_queued(struct client *c, struct ssx_error *err)
{
    const unsigned char *at = buf_data(&c->queued);
    size_t left = buf_length(&c->queued);
    struct message m;
    for (long n; left && (n = frame_length(at, left, FRAME_MAX, err)) > 0; at += n, left -= (size_t)n) {
        if (message_decode(&m, at, (size_t)n, FROM_SENDER, err))
            return -1;
        struct call *call = call_find(c, m.id);
        if (call && call->starts_at == UINT64_MAX)
            call->starts_at = c->sent + buf_length(&c->out);
        if (!call || m.kind != MESSAGE_CALL || !m.call.has_object) {
            buf_add(&c->out, at, (size_t)n);
            continue;
        }
        choose_variant(c, call);
        m.call.digest = call->digest;
        m.call.object_size = call->object_size;
        message_encode(&c->out, &m, FROM_SENDER);
    }
    buf_free(&c->queued);
    return 0;
}

static int no_agent_for(const struct agent_image *agents, const char *machine, struct ssx_error *err)
{
    char has[160] = "";
    for (const struct agent_image *a = agents; a; a = a->next)
        if (strlen(has) + strlen(a->machine) + 3 < sizeof has)
            snprintf(has + strlen(has), sizeof has - strlen(has), "%s%s", *has ? ", " : "", a->machine);
    return error_set(err, SSX_ERROR_UNREACHABLE, "no agent for %s here, only for %s (\"make agent-%s\" builds one; "
                     "Debian's package sshexec-agents of that architecture has one)", machine, has, machine);
}

static int start_upload(struct client *c, const struct greeting *g, struct ssx_error *err)
{
    if (!c->agent || c->sent_agent)
        return error_set(err, SSX_ERROR_PROTOCOL, "the host asked for an agent where none was offered");
    if (strcmp(g->kernel, "Linux"))
        return error_set(err, SSX_ERROR_UNREACHABLE, "the host runs %s; agents exist for Linux only", g->kernel);
    const struct agent_image *agent = agent_for(c->agent, g->machine);
    if (!agent)
        return no_agent_for(c->agent, g->machine, err);
    if (*agent->flaw)
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't send the agent for %s: %s", agent->machine, agent->flaw);
    c->sent_agent = c->uploading = true;
    c->image = g->gzip ? (struct span){agent->packed, agent->packed_size} : (struct span){agent->bytes, agent->size};
    strcpy(c->machine, agent->machine);
    for (struct call *call = c->calls; call; call = call->next) {
        choose_variant(c, call);
        if (call->object && !object_went(c, &call->digest)) {
            want_object(c, call, true);
            buf_add(&c->objects, call->digest.bytes, DIGEST_SIZE);
        }
    }
    return 0;
}

/* Returns 1 once the marker was there, 0 for more, -1 with err. */
static int greet(struct client *c, struct ssx_error *err)
{
    struct greeting g;
    for (;;) {
        switch (greeting_find(&g, c->nonce, buf_data(&c->in), buf_length(&c->in), err)) {
        case GREETING_MORE: return 0;
        case GREETING_BROKEN: return -1;
        case GREETING_NEED:
            if (start_upload(c, &g, err))
                return -1;
            break;
        case GREETING_MARKER:
            if (c->uploading)
                return error_set(err, SSX_ERROR_PROTOCOL, "an agent answered before the host had taken all of it");
            say_hello(c);
            break;
        }
        buf_add(&c->noise, buf_data(&c->in), g.noise);
        buf_consume(&c->in, g.noise + g.length);
        if (c->stage == HELLO)
            return 1;
    }
}

/* --- what the agent sends --- */

static void grant(struct client *c, struct call *call, size_t n)
{
    n = n < call->owed ? n : call->owed;
    call->owed -= n;
    call->granted += n;
    if (call->granted < GRANT_STEP || c->stage == GONE)
        return;
    call->window += call->granted;
    put(c, &(struct message){.kind = MESSAGE_CREDIT, .id = call->id, .credit = call->granted});
    call->granted = 0;
}

/* A value may be larger than the window: its pieces make room for the next at once. But only for one such value at a
 * time, or an owner that is slow to take them would be sent any number. */
static void grant_ahead(struct client *c, struct call *call)
{
    size_t pieces = buf_length(&call->value);
    if (call->early || !call->value_kind || pieces <= call->ahead)
        return;
    grant(c, call, pieces - call->ahead);
    call->ahead = pieces;
}

void client_consumed(struct client *c, uint32_t id, size_t n)
{
    struct call *call = call_find(c, id);
    if (!call)
        return;
    size_t known = n < call->early ? n : call->early;
    call->early -= known;
    grant(c, call, n - known);
    grant_ahead(c, call);
}

/* Joins the pieces of a value. Returns 1 when it is whole (m->data.bytes is it), 0 for more, -1 with err. */
static int join(struct client *c, struct call *call, struct message *m, struct ssx_error *err)
{
    struct span piece = m->data.bytes;
    bool first = !call->value_kind;
    if (!first && call->value_kind != m->kind)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s between the pieces of %s", message_name(m->kind), message_name(call->value_kind));
    if (buf_length(&call->value) + piece.n > VALUE_SIZE_MAX)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s of over %u bytes", message_name(m->kind), VALUE_SIZE_MAX);
    if ((m->kind == MESSAGE_RESULT && call->has_result) || (m->kind == MESSAGE_STATE && call->has_state))
        return error_set(err, SSX_ERROR_PROTOCOL, "a second %s", message_name(m->kind));
    call->value_kind = m->data.more ? m->kind : 0;
    call->has_result |= m->kind == MESSAGE_RESULT && !m->data.more;
    call->has_state |= m->kind == MESSAGE_STATE && !m->data.more;
    if (m->data.more || !first) {
        if (buf_add(&call->value, piece.at, piece.n))
            return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a %s", message_name(m->kind));
        c->joined = m->data.more ? NULL : call;
        m->data.bytes = (struct span){buf_data(&call->value), buf_length(&call->value)};
    }
    if (m->data.more) {
        grant_ahead(c, call);
        return 0;
    }
    call->early += call->ahead;
    call->ahead = 0;
    return value_scan(m->data.bytes.at, m->data.bytes.n, err) ? error_prefix(err, "%s", message_name(m->kind)) : 1;
}

static int hello_came(struct client *c, const struct message *m, struct ssx_error *err)
{
    const struct message_hello *h = &m->hello;
    if (c->stage != HELLO)
        return error_set(err, SSX_ERROR_PROTOCOL, "a second HELLO");
    if (h->max < PROTOCOL_VERSION || h->min > PROTOCOL_VERSION)
        return error_set(err, SSX_ERROR_PROTOCOL, "the agent (%.*s) speaks protocol %llu to %llu, this sender %d",
                         (int)h->build.n, (const char *)h->build.at, (unsigned long long)h->min,
                         (unsigned long long)h->max, PROTOCOL_VERSION);
    if (h->window < DATA_MAX)
        return error_set(err, SSX_ERROR_PROTOCOL, "HELLO with a window of %llu bytes, below %u", (unsigned long long)h->window, DATA_MAX);
    c->stage = READY;
    c->agent_window = (size_t)h->window;
    snprintf(c->machine, sizeof c->machine, "%.*s", (int)(h->arch.n < sizeof c->machine ? h->arch.n : 0), (const char *)h->arch.at);
    for (struct call *call = c->calls; call; call = call->next)
        call->credit = c->agent_window;
    return send_queued(c, err) ? -1 : 1;
}

/* Of an offer's objects one goes after the other. */
static void next_object(struct client *c, struct call *call)
{
    const size_t *needs = (const size_t *)(const void *)buf_data(&call->needs);
    if (call->object_wanted || call->needs_at == buf_length(&call->needs) / sizeof *needs)
        return;
    const struct client_object *o = &call->offer->objects[needs[call->needs_at++]];
    call->digest = o->digest;
    call->object = o->bytes;
    call->object_size = o->size;
    call->object_sent = 0;
    want_object(c, call, true);
}

static int take_need(struct client *c, struct call *call, const struct digest *digest, struct ssx_error *err)
{
    const size_t *needs = (const size_t *)(const void *)buf_data(&call->needs);
    size_t at = 0;
    while (at < call->offer->count && !digest_equal(&call->offer->objects[at].digest, digest))
        at++;
    if (at == call->offer->count)
        return error_set(err, SSX_ERROR_PROTOCOL, "NEED of an object that was not offered");
    for (size_t i = 0; i < buf_length(&call->needs) / sizeof *needs; i++)
        if (needs[i] == at)
            return error_set(err, SSX_ERROR_PROTOCOL, "NEED of the same object twice");
    if (buf_add(&call->needs, &at, sizeof at))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for what the agent needs");
    call->asked_bytes += call->offer->objects[at].size;
    next_object(c, call);
    return 0;
}

static int need_came(struct client *c, struct call *call, struct message *m, struct ssx_error *err)
{
    for (struct message_object object; message_next_object(m, &object);) {
        if (call->offer && take_need(c, call, &object.digest, err))
            return -1;
        if (call->offer)
            continue;
        if (!call->object || !digest_equal(&call->digest, &object.digest))
            return error_set(err, SSX_ERROR_PROTOCOL, "NEED of an object that was not offered");
        if (call->has_need)
            return error_set(err, SSX_ERROR_PROTOCOL, "NEED of the same object twice");
        call->has_need = true;
        want_object(c, call, call->object_wanted || !call->object_gone); /* it may have gone unasked */
    }
    return 0;
}

void client_ping(struct client *c)
{
    if (c->stage == READY)
        put(c, &(struct message){.kind = MESSAGE_PING});
}

static int ping_came(struct client *c, const struct message *m, struct ssx_error *err)
{
    if (c->sent >= c->pongs_end)
        c->pongs = 0;
    if (c->pongs == PONGS_MAX)
        return error_set(err, SSX_ERROR_PROTOCOL, "PING number %d while the agent takes no answer", PONGS_MAX + 1);
    put(c, &(struct message){.kind = MESSAGE_PONG, .token = m->token});
    c->pongs++;
    c->pongs_end = c->sent + buf_length(&c->out);
    return 0;
}

static int credit_came(struct call *call, const struct message *m)
{
    size_t most = SIZE_MAX - call->credit;
    call->credit += m->credit < most ? (size_t)m->credit : most;
    return 0;
}

/* Returns 1 for a message to deliver, 0 for one that was dealt with, -1 with err. */
static int handle(struct client *c, struct message *m, struct ssx_error *err)
{
    if (c->stage == HELLO && m->kind != MESSAGE_HELLO && m->kind != MESSAGE_BYE)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s before HELLO", message_name(m->kind));
    switch (m->kind) {
    case MESSAGE_HELLO: return hello_came(c, m, err);
    case MESSAGE_PING: return ping_came(c, m, err);
    case MESSAGE_PONG: return 0;
    case MESSAGE_BYE:
        return error_set(err, SSX_ERROR_PROTOCOL, "the agent ended the session%s%.*s", m->text.n ? ": " : "",
                         (int)m->text.n, (const char *)m->text.at);
    default: break;
    }
    struct call *call = call_find(c, m->id);
    if (!call)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s for call %u, which is not open", message_name(m->kind), (unsigned)m->id);
    if (m->kind != MESSAGE_END && m->kind != MESSAGE_CREDIT && call->describes != (m->kind == MESSAGE_DESCRIBE))
        return error_set(err, SSX_ERROR_PROTOCOL, "%s in answer to %s", message_name(m->kind), call->describes ? "DESCRIBE" : "CALL");
    size_t cost = message_cost(m);
    if (cost > call->window)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s of %zu bytes, where the window has %zu left",
                         message_name(m->kind), cost, call->window);
    call->window -= cost;
    call->owed += cost;
    switch (m->kind) {
    case MESSAGE_CREDIT: return credit_came(call, m);
    case MESSAGE_NEED: return need_came(c, call, m, err);
    case MESSAGE_DESCRIBE:
        return call->types++ < TYPES_MAX
                   ? 1
                   : error_set(err, SSX_ERROR_PROTOCOL, "the agent describes more than %d types", TYPES_MAX);
    case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE: return join(c, call, m, err);
    case MESSAGE_END: call_close(c, call); return 1;
    default: return 1;
    }
}

/* What the last message borrowed is not needed any more. */
static void release(struct client *c)
{
    buf_consume(&c->in, c->frame);
    c->frame = 0;
    if (c->joined)
        buf_free(&c->joined->value);
    c->joined = NULL;
    call_free(c->ended);
    c->ended = NULL;
}

int client_receive(struct client *c, const void *bytes, size_t n, struct ssx_error *err)
{
    release(c);
    return buf_add(&c->in, bytes, n) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for what the agent sent") : 0;
}

static int next_loss(struct client *c, struct message *out)
{
    struct call *call = c->calls;
    if (!call)
        return 0;
    memset(out, 0, sizeof *out);
    out->kind = MESSAGE_END;
    out->id = call->id;
    out->end.outcome = call->starts_at < c->sent ? SSX_OUTCOME_LOST : SSX_OUTCOME_UNREACHABLE;
    out->end.message = span_text(c->why);
    call_close(c, call);
    return 1;
}

int client_next(struct client *c, struct message *out, struct ssx_error *err)
{
    release(c);
    if (c->stage == GONE)
        return next_loss(c, out);
    if (c->stage == GREETING) {
        int rc = greet(c, err);
        if (rc <= 0)
            return rc;
    }
    for (;;) {
        release(c);
        long length = frame_length(buf_data(&c->in), buf_length(&c->in), c->stage == HELLO ? FRAME_MAX_BEFORE_HELLO : FRAME_MAX, err);
        if (length <= 0)
            return (int)length;
        c->frame = (size_t)length;
        if (message_decode(out, buf_data(&c->in), (size_t)length, FROM_AGENT, err))
            return -1;
        int rc = handle(c, out, err);
        if (rc)
            return rc;
        if (is_out_of_memory(c, err))
            return -1;
    }
}

void client_lost(struct client *c, const char *why)
{
    if (c->stage == GONE)
        return;
    c->stage = GONE;
    strncpy(c->why, why, sizeof c->why - 1);
}

/* --- what goes to the agent --- */

/* Cuts the next CHUNK of an object that an agent wants. */
static void put_chunk(struct client *c, struct call *call)
{
    size_t left = call->object_size - call->object_sent, n = left < CHUNK_MAX ? left : CHUNK_MAX;
    struct message m = {.kind = MESSAGE_CHUNK, .id = call->id};
    m.chunk.digest = call->digest;
    m.chunk.bytes = (struct span){call->object + call->object_sent, n};
    m.chunk.more = n < left;
    put(c, &m);
    call->object_sent += n;
    call->cut_bytes += n;
    want_object(c, call, m.chunk.more);
    call->object_gone = !m.chunk.more;
    if (call->offer && call->object_gone)
        next_object(c, call);
}

static void put_agent(struct client *c)
{
    size_t n = c->image.n < OUTGOING_LOW ? c->image.n : OUTGOING_LOW;
    buf_add(&c->out, c->image.at, n);
    c->image = (struct span){(const char *)c->image.at + n, c->image.n - n};
    if (c->image.n)
        return;
    c->uploading = false;
    greeting_add(&c->out, c->nonce);
}

const void *client_outgoing(struct client *c, size_t *n)
{
    *n = 0;
    if (c->stage == GONE)
        return NULL;
    while (c->uploading && buf_length(&c->out) < OUTGOING_LOW)
        put_agent(c);
    for (struct call *call = c->calls; call && c->wanted && c->stage == READY; call = call->next)
        while (call->object_wanted && buf_length(&c->out) < OUTGOING_LOW && !c->out.failed)
            put_chunk(c, call);
    *n = buf_length(&c->out);
    return *n ? buf_data(&c->out) : NULL;
}

void client_sent(struct client *c, size_t n)
{
    c->sent += n;
    buf_consume(&c->out, n);
}

bool client_is_ready(const struct client *c) { return c->stage == READY; }
bool client_sent_agent(const struct client *c) { return c->sent_agent; }

bool client_sends_object(const struct client *c, uint32_t id)
{
    const struct call *call = call_find(c, id);
    return call && call->object_wanted;
}

void client_upload(const struct client *c, uint32_t id, uint64_t *sent, uint64_t *asked)
{
    const struct call *call = call_find(c, id);
    size_t waiting = buf_length(&c->out);
    *asked = call ? call->asked_bytes : 0;
    *sent = call && call->cut_bytes > waiting ? call->cut_bytes - waiting : 0;
}

size_t client_open_calls(const struct client *c) { return c->open; }

const char *client_noise(const struct client *c, size_t *n)
{
    *n = buf_length(&c->noise);
    return *n ? (const char *)buf_data(&c->noise) : NULL;
}

int client_ended(const struct client *c, struct ssx_error *err)
{
    if (c->stage == GREETING)
        return greeting_never_came(buf_data(&c->in), buf_length(&c->in), err);
    return error_set(err, SSX_ERROR_UNREACHABLE, "the connection to the agent ended");
}
