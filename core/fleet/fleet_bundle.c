/* Fleets that are asked something about bundles: what <sshexec/bundle.h> opens. Each is one OFFER to each host. */
#include "base/error.h"
#include "fleet/bundle_file.h"
#include "fleet/fleet_parts.h"
#include "fleet/sender.h"
#include "wire/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONSENSE "its agent's answer makes no sense"

/* --- what hosts answer --- */

/* An answer as it is read; has: a text without an end. */
struct answer { struct ssx_bundle_answer told; const char *has; size_t has_size; };

static int take_key(struct answer *a, struct value_reader *r, const struct value *key)
{
    if (value_is_text(key, "generation"))
        return value_take_uint(r, UINT32_MAX, &a->told.generation);
    if (value_is_text(key, "needs"))
        return value_take_uint(r, UINT32_MAX, &a->told.needs);
    if (value_is_text(key, "bytes"))
        return value_take_uint(r, INT64_MAX, &a->told.bytes);
    if (value_is_text(key, "changes"))
        return value_take_bool(r, &a->told.changes);
    return value_is_text(key, "has") ? value_take_str(r, &a->has, &a->has_size) : value_skip(r);
}

/* What isn't known in the map is passed over. */
static int read_answer(struct answer *a, const struct span *bytes)
{
    struct value_reader r = value_reader(bytes->at, bytes->n);
    size_t pairs;
    if (value_take_map(&r, &pairs))
        return -1;
    for (struct value key; pairs; pairs--)
        if (value_next(&r, &key) || key.kind != VALUE_STR || take_key(a, &r, &key))
            return -1;
    return 0;
}

static void tell_answer(struct ssx_fleet *f, size_t host, const struct span *bytes)
{
    struct answer a = {.has = ""};
    char *has = read_answer(&a, bytes) ? NULL : strndup(a.has, a.has_size);
    struct ssx_fleet_event event = {.kind = SSX_FLEET_RESULT, .bytes = bytes->at, .n = bytes->n, .answer = &a.told};
    if (!has)
        return;
    a.told.has = has;
    f->hosts[host].answered = true;
    fleet_tell(f, host, ENGINE_NONE, &event);
    free(has);
}

static void tell_progress(struct ssx_fleet *f, size_t host, const struct message *m)
{
    struct ssx_fleet_event event = {.kind = SSX_FLEET_PROGRESS, .done = m->progress.done, .total = m->progress.total,
                                    .text = m->progress.text.at};
    f->hosts[host].announced = m->progress.total;
    fleet_tell(f, host, ENGINE_NONE, &event);
}

/* What else an agent may say has no meaning here. */
static void on_message(void *user, size_t host, const struct message *m)
{
    if (m->kind == MESSAGE_RESULT)
        tell_answer(user, host, &m->data.bytes);
    else if (m->kind == MESSAGE_PROGRESS)
        tell_progress(user, host, m);
}

static void on_end(void *user, size_t host, struct message_end *e, const struct timing *t)
{
    const struct ssx_fleet *f = user;
    if (e->outcome == SSX_OUTCOME_OK && !f->hosts[host].answered) {
        e->outcome = SSX_OUTCOME_LOST;
        e->message = span_text(NONSENSE);
    }
    fleet_tell_end(user, host, e, t);
}

void ssx_fleet_sent(const struct ssx_fleet *f, size_t host, uint64_t *sent, uint64_t *total)
{
    engine_upload(f->engine, host, sent, total);
    if (f->hosts[host].announced > *total)
        *total = f->hosts[host].announced;
}

/* --- asking --- */

static int open_asking(struct ssx_fleet **out, struct ssx_fleet *f, bool failed, struct engine_options *e,
                       struct ssx_error *err)
{
    if (f) {
        e->call.offer = &f->offer;
        e->listener.on_message = on_message;
        e->listener.on_end = on_end;
    }
    return fleet_opened(out, f, failed, e, err);
}

/* Who sends it, as long as the fleet lives. */
static int take_name(struct ssx_fleet *f, struct ssx_error *err)
{
    char name[SENDER_NAME];
    const char *by = f->o.by ? f->o.by : sender_name(name);
    if (!sender_name_is_valid(by))
        return error_set(err, SSX_ERROR_USAGE, "the sender's name has to be 1 to %d printable characters of ASCII, "
                         "without a blank", SENDER_NAME - 1);
    f->words = strdup(by);
    f->offer.order.by = span_text(f->words ? f->words : "");
    return f->words ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

static struct span span_of(const struct buf *b) { return (struct span){buf_data(b), buf_length(b)}; }

static int order_deploy(struct ssx_fleet *f, const struct ssx_bundle *b, enum ssx_deploy_step step, unsigned flags,
                        struct ssx_error *err)
{
    static const char *const words[] = {
        [SSX_DEPLOY_LOOK] = "look", [SSX_DEPLOY_PREPARE] = "prepare", [SSX_DEPLOY_SWITCH] = "switch",
        [SSX_DEPLOY_INSTALL] = "install",
    };
    struct message_order *o = &f->offer.order;
    if (step < SSX_DEPLOY_LOOK || step > SSX_DEPLOY_INSTALL || (flags & ~SSX_DEPLOY_DOWNGRADE))
        return error_set(err, SSX_ERROR_USAGE, "there is no step %d of a deploy, with the flags %#x", (int)step, flags);
    o->what = span_text(words[step]);
    o->downgrade = flags & SSX_DEPLOY_DOWNGRADE;
    o->has_bundle = step == SSX_DEPLOY_SWITCH;
    o->bundle = b->manifest;
    if (!o->has_bundle) {
        o->manifest = span_of(bundle_manifest_text(b->file));
        o->signature = span_of(bundle_signature(b->file));
        f->offer.objects = b->objects;
        f->offer.count = b->count;
    }
    return take_name(f, err);
}

int ssx_fleet_open_deploy(struct ssx_fleet **out, const struct ssx_bundle *bundle, enum ssx_deploy_step step,
                          unsigned flags, const struct ssx_fleet_options *options, struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    return open_asking(out, f, f && order_deploy(f, bundle, step, flags, err), &e, err);
}

int ssx_fleet_open_rollback(struct ssx_fleet **out, uint64_t generation, const struct ssx_fleet_options *options,
                            struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    if (f)
        f->offer.order = (struct message_order){.what = span_text("rollback"), .generation = generation};
    return open_asking(out, f, false, &e, err);
}

int ssx_fleet_open_generations(struct ssx_fleet **out, const struct ssx_fleet_options *options, struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    if (f)
        f->offer.order.what = span_text("list");
    return open_asking(out, f, false, &e, err);
}

/* A limit as the agent reads it: nothing where none is given. */
static const char *limit_text(char out[24], int64_t limit)
{
    *out = 0;
    if (limit >= 0)
        snprintf(out, 24, "%lld", (long long)limit);
    return out;
}

static int order_care(struct ssx_fleet *f, enum ssx_store_care care, int64_t older_s, int64_t keep_bytes,
                      struct ssx_error *err)
{
    static const char *const words[] = {
        [SSX_STORE_LIST] = "list", [SSX_STORE_VERIFY] = "verify", [SSX_STORE_REPAIR] = "verify-remove",
        [SSX_STORE_GC] = "gc", [SSX_STORE_GC_DRY] = "gc-dry",
    };
    char older[24], keep[24];
    bool prunes = care == SSX_STORE_GC || care == SSX_STORE_GC_DRY;
    if (care < SSX_STORE_LIST || care > SSX_STORE_GC_DRY)
        return error_set(err, SSX_ERROR_USAGE, "there is no such way to look after a store: %d", (int)care);
    if (prunes == (older_s < 0 && keep_bytes < 0))
        return error_set(err, SSX_ERROR_USAGE, prunes ? "what to remove from stores needs a limit, of age or of size"
                         : "limits of age and size are for removing what is not used");
    int n = !prunes ? asprintf(&f->words, "%s", words[care])
                    : asprintf(&f->words, "%s:%s:%s", words[care], limit_text(older, older_s),
                               limit_text(keep, keep_bytes));
    if (n < 0) {
        f->words = NULL;
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    f->offer.order = (struct message_order){.what = span_text("tend"), .words = span_text(f->words)};
    return 0;
}

int ssx_fleet_open_store(struct ssx_fleet **out, enum ssx_store_care care, int64_t older_s, int64_t keep_bytes,
                         const struct ssx_fleet_options *options, struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    return open_asking(out, f, f && order_care(f, care, older_s, keep_bytes, err), &e, err);
}
