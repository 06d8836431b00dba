#include "wire/message.h"

#include "base/error.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *name; unsigned from; } kinds[MESSAGE_KINDS] = {
    [MESSAGE_HELLO] = {"HELLO", FROM_SENDER | FROM_AGENT}, [MESSAGE_CALL] = {"CALL", FROM_SENDER},
    [MESSAGE_INPUT] = {"INPUT", FROM_SENDER}, [MESSAGE_CREDIT] = {"CREDIT", FROM_SENDER | FROM_AGENT},
    [MESSAGE_CANCEL] = {"CANCEL", FROM_SENDER}, [MESSAGE_SIGNAL] = {"SIGNAL", FROM_SENDER},
    [MESSAGE_PING] = {"PING", FROM_SENDER | FROM_AGENT}, [MESSAGE_PONG] = {"PONG", FROM_SENDER | FROM_AGENT},
    [MESSAGE_OUTPUT] = {"OUTPUT", FROM_AGENT}, [MESSAGE_LOG] = {"LOG", FROM_AGENT}, [MESSAGE_PROGRESS] = {"PROGRESS", FROM_AGENT},
    [MESSAGE_ITEM] = {"ITEM", FROM_AGENT}, [MESSAGE_RESULT] = {"RESULT", FROM_AGENT},
    [MESSAGE_STATE] = {"STATE", FROM_SENDER | FROM_AGENT}, [MESSAGE_END] = {"END", FROM_AGENT},
    [MESSAGE_OFFER] = {"OFFER", FROM_SENDER}, [MESSAGE_NEED] = {"NEED", FROM_AGENT}, [MESSAGE_CHUNK] = {"CHUNK", FROM_SENDER},
    [MESSAGE_DESCRIBE] = {"DESCRIBE", FROM_SENDER | FROM_AGENT}, [MESSAGE_ATTACH] = {"ATTACH", FROM_SENDER},
    [MESSAGE_BYE] = {"BYE", FROM_SENDER | FROM_AGENT},
};

const char *message_name(enum message_kind kind) { return kind > 0 && kind < MESSAGE_KINDS ? kinds[kind].name : "unknown"; }

struct span span_text(const char *text) { return (struct span){text, text ? strlen(text) : 0}; }
bool span_is(struct span s, const char *text) { return s.n == strlen(text) && memcmp(s.at, text, s.n) == 0; }

char *span_copy(char *out, size_t size, struct span s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    if (n)
        memcpy(out, s.at, n);
    out[n] = 0;
    return out;
}

size_t message_cost(const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_INPUT: case MESSAGE_OUTPUT: case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE: return m->data.bytes.n;
    case MESSAGE_LOG: return m->log.text.n;
    case MESSAGE_PROGRESS: return m->progress.text.n;
    default: return 0;
    }
}

/* --- encoding --- */

static void put_uint(struct buf *out, uint64_t u)
{
    msgpack_packer p = packer(out);
    msgpack_pack_uint64(&p, u);
}
static void put_text(struct buf *out, struct span s)
{
    msgpack_packer p = packer(out);
    msgpack_pack_str_with_body(&p, s.at, s.n);
}
static void put_bin(struct buf *out, struct span s)
{
    msgpack_packer p = packer(out);
    msgpack_pack_bin_with_body(&p, s.at, s.n);
}
static void put_array(struct buf *out, size_t count)
{
    msgpack_packer p = packer(out);
    msgpack_pack_array(&p, count);
}
static void put_nil(struct buf *out)
{
    msgpack_packer p = packer(out);
    msgpack_pack_nil(&p);
}
static void put_bool(struct buf *out, bool b)
{
    msgpack_packer p = packer(out);
    (void)(b ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
}
static void put_digest(struct buf *out, const struct digest *d) { put_bin(out, (struct span){d->bytes, DIGEST_SIZE}); }

/* Map entries that are left out when they say nothing; `count` is a dry run's tally. */
struct entries { struct buf *out; size_t count; };
#define FOLDED inline __attribute__((always_inline)) /* so that a key's length is known when it is compiled: END has a dozen of them */

static FOLDED bool entry(struct entries *e, const char *key)
{
    e->count++;
    if (e->out)
        put_text(e->out, span_text(key));
    return e->out != NULL;
}
static FOLDED void entry_uint(struct entries *e, const char *key, uint64_t u)
{
    if (u && entry(e, key))
        put_uint(e->out, u);
}
static FOLDED void entry_text(struct entries *e, const char *key, struct span s)
{
    if (s.n && entry(e, key))
        put_text(e->out, s);
}
static void entry_true(struct entries *e, const char *key, bool b)
{
    if (b && entry(e, key))
        put_bool(e->out, true);
}
static void entry_digest(struct entries *e, const char *key, bool has, const struct digest *d)
{
    if (has && entry(e, key))
        put_digest(e->out, d);
}

static void hello_entries(struct entries *e, const struct message *m)
{
    const struct message_hello *h = &m->hello;
    entry_uint(e, "min", h->min);
    entry_uint(e, "max", h->max);
    entry_text(e, "build", h->build);
    entry_text(e, "os", h->os);
    entry_text(e, "arch", h->arch);
    entry_text(e, "libc", h->libc);
    entry_uint(e, "window", h->window);
    entry_uint(e, "calls", h->calls);
    entry_uint(e, "state", h->state);
    entry_text(e, "policy", h->policy);
    entry_uint(e, "lease_ms", h->lease_ms);
}

static void call_entries(struct entries *e, const struct message *m)
{
    entry_uint(e, "timeout_ms", m->call.timeout_ms);
    if (m->call.grace_ms != GRACE_MS_DEFAULT && entry(e, "grace_ms"))
        put_uint(e->out, m->call.grace_ms);
    entry_true(e, "input", m->call.input);
}

static void end_entries(struct entries *e, const struct message *m)
{
    const struct message_end *end = &m->end;
    entry_uint(e, "code", end->code);
    entry_uint(e, "signal", end->signal);
    entry_text(e, "reason", end->reason);
    entry_text(e, "message", end->message);
    entry_digest(e, "digest", end->has_digest, &end->digest);
    entry_uint(e, "wall_us", end->wall_us);
    entry_uint(e, "user_us", end->user_us);
    entry_uint(e, "sys_us", end->sys_us);
    entry_uint(e, "rss_kb", end->rss_kb);
    entry_uint(e, "out", end->out);
    entry_uint(e, "err", end->err);
    entry_true(e, "truncated", end->truncated);
    entry_text(e, "sandbox", end->sandbox);
}

static void describe_entries(struct entries *e, const struct message *m)
{
    const struct message_describe *d = &m->describe;
    entry_text(e, "type", d->type);
    entry_digest(e, "digest", d->note.n > 0, &d->digest);
    entry_text(e, "where", d->where);
    if (d->note.n && entry(e, "note"))
        put_bin(e->out, d->note);
    entry_text(e, "problem", d->problem);
}

static void order_entries(struct entries *e, const struct message *m)
{
    const struct message_order *o = &m->objects.order;
    entry_text(e, "do", o->what);
    if (o->manifest.n && entry(e, "manifest"))
        put_bin(e->out, o->manifest);
    if (o->signature.n && entry(e, "signature"))
        put_bin(e->out, o->signature);
    entry_digest(e, "bundle", o->has_bundle, &o->bundle);
    entry_uint(e, "generation", o->generation);
    entry_true(e, "downgrade", o->downgrade);
    entry_text(e, "words", o->words);
    entry_text(e, "by", o->by);
}

static void put_map(struct buf *out, const struct message *m, void (*fill)(struct entries *, const struct message *))
{
    struct entries tally = {NULL, 0}, real = {out, 0};
    fill(&tally, m);
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, tally.count);
    fill(&real, m);
}

static void put_call(struct buf *out, const struct message *m)
{
    put_text(out, m->call.type);
    if (m->call.has_object) {
        put_array(out, 3);
        put_digest(out, &m->call.digest);
        put_uint(out, m->call.object_size);
        put_bool(out, m->call.exact);
    } else {
        put_nil(out);
    }
    put_uint(out, m->call.state_size);
    put_bin(out, m->call.state);
    put_map(out, m, call_entries);
}

static void put_objects(struct buf *out, const struct message *m)
{
    put_array(out, m->objects.count);
    for (size_t i = 0; i < m->objects.count; i++) {
        if (m->kind == MESSAGE_OFFER)
            put_array(out, 2);
        put_digest(out, &m->objects.list[i].digest);
        if (m->kind == MESSAGE_OFFER)
            put_uint(out, m->objects.list[i].size);
    }
}

static size_t element_count(enum message_kind kind)
{
    static const unsigned char counts[MESSAGE_KINDS] = { /* with kind and id */
        [MESSAGE_HELLO] = 3, [MESSAGE_CALL] = 7, [MESSAGE_INPUT] = 3, [MESSAGE_CREDIT] = 3, [MESSAGE_CANCEL] = 2, [MESSAGE_SIGNAL] = 3,
        [MESSAGE_PING] = 3, [MESSAGE_PONG] = 3, [MESSAGE_OUTPUT] = 4, [MESSAGE_LOG] = 4, [MESSAGE_PROGRESS] = 5, [MESSAGE_ITEM] = 4,
        [MESSAGE_RESULT] = 4, [MESSAGE_STATE] = 4, [MESSAGE_END] = 4, [MESSAGE_OFFER] = 3, [MESSAGE_NEED] = 3, [MESSAGE_CHUNK] = 5,
        [MESSAGE_DESCRIBE] = 3, [MESSAGE_ATTACH] = 3, [MESSAGE_BYE] = 3,
    };
    return counts[kind];
}

static void put_body(struct buf *out, const struct message *m, enum message_party from)
{
    bool ordered = m->kind == MESSAGE_OFFER && m->objects.order.what.n;
    put_array(out, element_count(m->kind) + ordered);
    put_uint(out, m->kind);
    put_uint(out, m->id);
    switch (m->kind) {
    case MESSAGE_HELLO: put_map(out, m, hello_entries); break;
    case MESSAGE_CALL: put_call(out, m); break;
    case MESSAGE_INPUT: put_bin(out, m->data.bytes); break;
    case MESSAGE_CREDIT: put_uint(out, m->credit); break;
    case MESSAGE_PING: case MESSAGE_PONG: put_uint(out, m->token); break;
    case MESSAGE_SIGNAL: case MESSAGE_ATTACH: case MESSAGE_BYE: put_text(out, m->text); break;
    case MESSAGE_OUTPUT: put_uint(out, m->data.stream); put_bin(out, m->data.bytes); break;
    case MESSAGE_LOG: put_uint(out, m->log.level); put_text(out, m->log.text); break;
    case MESSAGE_PROGRESS:
        put_uint(out, m->progress.done);
        put_uint(out, m->progress.total);
        put_text(out, m->progress.text);
        break;
    case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE: put_bin(out, m->data.bytes); put_bool(out, m->data.more); break;
    case MESSAGE_END: put_uint(out, m->end.outcome); put_map(out, m, end_entries); break;
    case MESSAGE_OFFER: case MESSAGE_NEED:
        put_objects(out, m);
        if (ordered)
            put_map(out, m, order_entries);
        break;
    case MESSAGE_CHUNK: put_digest(out, &m->chunk.digest); put_bin(out, m->chunk.bytes); put_bool(out, m->chunk.more); break;
    case MESSAGE_DESCRIBE:
        if (from == FROM_AGENT)
            put_map(out, m, describe_entries);
        else if (m->describe.type.n)
            put_text(out, m->describe.type);
        else
            put_nil(out);
        break;
    case MESSAGE_CANCEL: case MESSAGE_KINDS: break;
    }
}

void message_encode(struct buf *out, const struct message *m, enum message_party from)
{
    size_t offset = buf_length(out);
    if (buf_add(out, "\0\0\0\0", FRAME_HEADER))
        return;
    put_body(out, m, from);
    if (out->failed)
        return;
    size_t n = buf_length(out) - offset - FRAME_HEADER;
    unsigned char *header = buf_data(out) + offset;
    for (int i = 0; i < FRAME_HEADER; i++)
        header[i] = (unsigned char)(n >> (24 - 8 * i));
}

/* --- decoding --- */

long frame_length(const void *bytes, size_t n, size_t cap, struct ssx_error *err)
{
    const unsigned char *p = bytes;
    if (n < FRAME_HEADER)
        return 0;
    size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (length == 0 || length > cap)
        return error_set(err, SSX_ERROR_PROTOCOL, "a frame announces %zu bytes, where 1 to %zu are allowed", length, cap);
    return n - FRAME_HEADER < length ? 0 : (long)(length + FRAME_HEADER);
}

static int take_span(struct value_reader *r, struct span *out)
{
    const char *at;
    if (value_take_str(r, &at, &out->n))
        return -1;
    out->at = at;
    return 0;
}
static int take_bin(struct value_reader *r, size_t max, struct span *out)
{
    const unsigned char *at;
    if (value_take_bin(r, &at, &out->n) || out->n > max)
        return -1;
    out->at = at;
    return 0;
}
static int take_digest(struct value_reader *r, struct digest *out)
{
    struct span s;
    if (take_bin(r, DIGEST_SIZE, &s) || s.n != DIGEST_SIZE)
        return -1;
    memcpy(out->bytes, s.at, DIGEST_SIZE);
    return 0;
}

/* The elements that a later version of the protocol may have put behind those we know. */
static int skip(struct value_reader *r, size_t elements)
{
    for (; elements; elements--)
        if (value_skip(r))
            return -1;
    return 0;
}

/* Reads a map by handing each known key to `take`, which returns 1 for a key it doesn't know. */
static int take_map(struct value_reader *r, struct message *m,
                    int (*take)(struct value_reader *, const struct value *key, struct message *))
{
    size_t pairs;
    if (value_take_map(r, &pairs))
        return -1;
    for (; pairs; pairs--) {
        struct value key;
        if (value_next(r, &key) || key.kind != VALUE_STR)
            return -1;
        int rc = take(r, &key, m);
        if (rc < 0 || (rc > 0 && value_skip(r)))
            return -1;
    }
    return 0;
}

static int take_hello(struct value_reader *r, const struct value *key, struct message *m)
{
    struct message_hello *h = &m->hello;
    return value_is_text(key, "min") ? value_take_uint(r, UINT32_MAX, &h->min)
         : value_is_text(key, "max") ? value_take_uint(r, UINT32_MAX, &h->max)
         : value_is_text(key, "build") ? take_span(r, &h->build)
         : value_is_text(key, "os") ? take_span(r, &h->os)
         : value_is_text(key, "arch") ? take_span(r, &h->arch)
         : value_is_text(key, "libc") ? take_span(r, &h->libc)
         : value_is_text(key, "window") ? value_take_uint(r, UINT32_MAX, &h->window)
         : value_is_text(key, "calls") ? value_take_uint(r, UINT32_MAX, &h->calls)
         : value_is_text(key, "state") ? value_take_uint(r, UINT32_MAX, &h->state)
         : value_is_text(key, "policy") ? take_span(r, &h->policy)
         : value_is_text(key, "lease_ms") ? value_take_uint(r, TIMEOUT_MS_MAX, &h->lease_ms)
         : 1;
}

static int take_call_option(struct value_reader *r, const struct value *key, struct message *m)
{
    return value_is_text(key, "timeout_ms") ? value_take_uint(r, TIMEOUT_MS_MAX, &m->call.timeout_ms)
         : value_is_text(key, "grace_ms") ? value_take_uint(r, GRACE_MS_MAX, &m->call.grace_ms)
         : value_is_text(key, "input") ? value_take_bool(r, &m->call.input)
         : 1;
}

static int take_end(struct value_reader *r, const struct value *key, struct message *m)
{
    struct message_end *e = &m->end;
    if (value_is_text(key, "digest"))
        e->has_digest = true;
    return value_is_text(key, "code") ? value_take_uint(r, INT32_MAX, &e->code)
         : value_is_text(key, "signal") ? value_take_uint(r, 127, &e->signal)
         : value_is_text(key, "reason") ? take_span(r, &e->reason)
         : value_is_text(key, "message") ? take_span(r, &e->message)
         : value_is_text(key, "digest") ? take_digest(r, &e->digest)
         : value_is_text(key, "wall_us") ? value_take_uint(r, INT64_MAX, &e->wall_us)
         : value_is_text(key, "user_us") ? value_take_uint(r, INT64_MAX, &e->user_us)
         : value_is_text(key, "sys_us") ? value_take_uint(r, INT64_MAX, &e->sys_us)
         : value_is_text(key, "rss_kb") ? value_take_uint(r, INT64_MAX, &e->rss_kb)
         : value_is_text(key, "out") ? value_take_uint(r, INT64_MAX, &e->out)
         : value_is_text(key, "err") ? value_take_uint(r, INT64_MAX, &e->err)
         : value_is_text(key, "truncated") ? value_take_bool(r, &e->truncated)
         : value_is_text(key, "sandbox") ? take_span(r, &e->sandbox)
         : 1;
}

static int take_describe(struct value_reader *r, const struct value *key, struct message *m)
{
    struct message_describe *d = &m->describe;
    return value_is_text(key, "type") ? take_span(r, &d->type)
         : value_is_text(key, "digest") ? take_digest(r, &d->digest)
         : value_is_text(key, "where") ? take_span(r, &d->where)
         : value_is_text(key, "note") ? take_bin(r, FRAME_MAX, &d->note)
         : value_is_text(key, "problem") ? take_span(r, &d->problem)
         : 1;
}

static int take_order(struct value_reader *r, const struct value *key, struct message *m)
{
    struct message_order *o = &m->objects.order;
    if (value_is_text(key, "bundle"))
        o->has_bundle = true;
    return value_is_text(key, "do") ? take_span(r, &o->what)
         : value_is_text(key, "manifest") ? take_bin(r, FRAME_MAX, &o->manifest)
         : value_is_text(key, "signature") ? take_bin(r, FRAME_MAX, &o->signature)
         : value_is_text(key, "bundle") ? take_digest(r, &o->bundle)
         : value_is_text(key, "generation") ? value_take_uint(r, UINT32_MAX, &o->generation)
         : value_is_text(key, "words") ? take_span(r, &o->words)
         : value_is_text(key, "by") ? take_span(r, &o->by)
         : value_is_text(key, "downgrade") ? value_take_bool(r, &o->downgrade)
         : 1;
}

static int take_call(struct value_reader *r, struct message *m)
{
    struct message_call *c = &m->call;
    struct value object;
    c->grace_ms = GRACE_MS_DEFAULT;
    if (take_span(r, &c->type) || value_next(r, &object))
        return -1;
    if (object.kind == VALUE_ARRAY && object.n >= 3) {
        c->has_object = true;
        if (take_digest(r, &c->digest) || value_take_uint(r, OBJECT_MAX, &c->object_size) ||
            value_take_bool(r, &c->exact) || skip(r, object.n - 3))
            return -1;
    } else if (object.kind != VALUE_NIL) {
        return -1;
    }
    return value_take_uint(r, VALUE_SIZE_MAX, &c->state_size) || take_bin(r, FRAME_MAX, &c->state) || c->state.n > c->state_size ||
                   take_map(r, m, take_call_option)
               ? -1
               : 0;
}

/* One element of an OFFER or NEED. */
static int take_object(struct value_reader *r, enum message_kind kind, struct message_object *out)
{
    size_t parts = 0;
    if (kind == MESSAGE_NEED)
        return take_digest(r, &out->digest);
    if (value_take_array(r, &parts) || parts < 2 || take_digest(r, &out->digest) || value_take_uint(r, OBJECT_MAX, &out->size))
        return -1;
    return skip(r, parts - 2);
}

static int take_objects(struct value_reader *r, struct message *m)
{
    struct message_object object;
    if (value_take_array(r, &m->objects.count) || m->objects.count > OBJECTS_MAX)
        return -1;
    m->objects.packed.at = r->at;
    for (size_t i = 0; i < m->objects.count; i++)
        if (take_object(r, m->kind, &object))
            return -1;
    m->objects.packed.n = (size_t)(r->at - (const unsigned char *)m->objects.packed.at);
    return 0;
}

bool message_next_object(struct message *m, struct message_object *out)
{
    struct span *packed = &m->objects.packed;
    struct value_reader r = value_reader(packed->at, packed->n);
    memset(out, 0, sizeof *out);
    if (!packed->n || take_object(&r, m->kind, out))
        return false;
    *packed = (struct span){r.at, (size_t)(r.end - r.at)};
    return true;
}

static int take_description(struct value_reader *r, struct message *m, enum message_party from)
{
    if (from == FROM_AGENT)
        return take_map(r, m, take_describe);
    struct value_reader ahead = *r;
    struct value v;
    if (value_next(&ahead, &v))
        return -1;
    return v.kind == VALUE_NIL ? value_next(r, &v) : take_span(r, &m->describe.type);
}

static int take_body(struct value_reader *r, struct message *m, enum message_party from)
{
    uint64_t outcome;
    switch (m->kind) {
    case MESSAGE_HELLO: return take_map(r, m, take_hello);
    case MESSAGE_CALL: return take_call(r, m);
    case MESSAGE_INPUT: return take_bin(r, DATA_MAX, &m->data.bytes);
    case MESSAGE_CREDIT: return value_take_uint(r, UINT32_MAX, &m->credit);
    case MESSAGE_PING: case MESSAGE_PONG: return value_take_uint(r, UINT64_MAX, &m->token);
    case MESSAGE_SIGNAL: case MESSAGE_ATTACH: case MESSAGE_BYE: return take_span(r, &m->text);
    case MESSAGE_OUTPUT: return value_take_uint(r, 2, &m->data.stream) || !m->data.stream ? -1 : take_bin(r, DATA_MAX, &m->data.bytes);
    case MESSAGE_LOG: return value_take_uint(r, 3, &m->log.level) || take_span(r, &m->log.text) || m->log.text.n > DATA_MAX ? -1 : 0;
    case MESSAGE_PROGRESS:
        return value_take_uint(r, UINT64_MAX, &m->progress.done) || value_take_uint(r, UINT64_MAX, &m->progress.total) ||
                       take_span(r, &m->progress.text) || m->progress.text.n > DATA_MAX
                   ? -1
                   : 0;
    case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE:
        return take_bin(r, DATA_MAX, &m->data.bytes) ? -1 : value_take_bool(r, &m->data.more);
    case MESSAGE_END:
        if (value_take_uint(r, SSX_OUTCOME_REFUSED, &outcome))
            return -1;
        m->end.outcome = (enum ssx_outcome)outcome;
        return take_map(r, m, take_end);
    case MESSAGE_OFFER: case MESSAGE_NEED: return take_objects(r, m);
    case MESSAGE_CHUNK:
        return take_digest(r, &m->chunk.digest) || take_bin(r, CHUNK_MAX, &m->chunk.bytes) ? -1 : value_take_bool(r, &m->chunk.more);
    case MESSAGE_DESCRIBE: return take_description(r, m, from);
    case MESSAGE_CANCEL: case MESSAGE_KINDS: break;
    }
    return 0;
}

static bool is_of_session(enum message_kind kind)
{
    return kind == MESSAGE_HELLO || kind == MESSAGE_PING || kind == MESSAGE_PONG || kind == MESSAGE_BYE;
}

int message_decode(struct message *out, const void *frame, size_t length, enum message_party from, struct ssx_error *err)
{
    const unsigned char *body = (const unsigned char *)frame + FRAME_HEADER;
    size_t n = length - FRAME_HEADER, count;
    struct value_reader r = value_reader(body, n);
    uint64_t kind, id;
    if (value_take_array(&r, &count) || count < 2 || value_take_uint(&r, UINT32_MAX, &kind) || value_take_uint(&r, UINT32_MAX, &id))
        return error_set(err, SSX_ERROR_PROTOCOL, "a frame that doesn't start with [kind, id");
    if (!kind || kind >= MESSAGE_KINDS || !(kinds[kind].from & (unsigned)from))
        return error_set(err, SSX_ERROR_PROTOCOL, "a frame of kind %llu, which the %s may not send", (unsigned long long)kind,
                         from == FROM_SENDER ? "sender" : "agent");
    memset(out, 0, sizeof *out);
    out->kind = (enum message_kind)kind;
    out->id = (uint32_t)id;
    if (is_of_session(out->kind) != (id == 0))
        return error_set(err, SSX_ERROR_PROTOCOL, "%s with id %llu", message_name(out->kind), (unsigned long long)id);
    if (value_scan(body, n, err))
        return error_prefix(err, "%s", message_name(out->kind));
    if (count < element_count(out->kind) || take_body(&r, out, from) || (out->kind == MESSAGE_OFFER && count > element_count(out->kind) &&
                                                                         take_map(&r, out, take_order)))
        return error_set(err, SSX_ERROR_PROTOCOL, "%s with a missing or malformed element", message_name(out->kind));
    return 0;
}
