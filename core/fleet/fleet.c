/* <sshexec/fleet.h> on the engine. */
#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "fleet/endings.h"
#include "fleet/fleet_parts.h"
#include "fleet/options.h"
#include "fleet/own.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EMPTY_STATE "\x80" /* no field is set */

/* --- telling --- */

void fleet_tell(struct ssx_fleet *f, size_t host, size_t item, struct ssx_fleet_event *event)
{
    event->host = host;
    event->item = item;
    if (host != ENGINE_NONE) {
        event->name = engine_host(f->engine, host);
        event->context = f->hosts[host].context;
    }
    if (f->o.on_event)
        f->o.on_event(f->o.context, event);
}

static void on_item_message(void *user, size_t host, size_t item, const struct message *m)
{
    static const enum ssx_fleet_event_kind kinds[MESSAGE_KINDS] = {
        [MESSAGE_OUTPUT] = SSX_FLEET_OUTPUT,     [MESSAGE_LOG] = SSX_FLEET_LOG,
        [MESSAGE_PROGRESS] = SSX_FLEET_PROGRESS, [MESSAGE_ITEM] = SSX_FLEET_ITEM,
        [MESSAGE_RESULT] = SSX_FLEET_RESULT,     [MESSAGE_STATE] = SSX_FLEET_STATE,
        [MESSAGE_HELLO] = SSX_FLEET_BEGUN,
    };
    const struct ssx_fleet *f = user;
    struct ssx_fleet_event event = {.kind = kinds[m->kind]};
    if (m->kind == MESSAGE_HELLO && !f->o.joined)
        return;
    if (m->kind == MESSAGE_LOG) {
        event.level = (int)m->log.level;
        event.text = m->log.text.at; /* a NUL is behind it: news.h */
    } else if (m->kind == MESSAGE_PROGRESS) {
        event.done = m->progress.done;
        event.total = m->progress.total;
        event.text = m->progress.text.at;
    } else if (m->kind != MESSAGE_HELLO) {
        event.stream = m->kind == MESSAGE_OUTPUT ? (int)m->data.stream : 0;
        event.bytes = m->data.bytes.at;
        event.n = m->data.bytes.n;
    }
    fleet_tell(user, host, item, &event);
}

static void on_item_end(void *user, size_t host, size_t item, struct message_end *e, const struct timing *t)
{
    struct ssx_ending ending;
    char *texts;
    const struct ssx_fleet_timing timing = {
        .wait_us = (uint64_t)t->wait_us,
        .look_us = (uint64_t)t->look_us,
        .resolve_us = (uint64_t)t->resolve_us,
        .connect_us = (uint64_t)t->connect_us,
        .exchange_us = (uint64_t)t->exchange_us,
        .auth_us = (uint64_t)t->auth_us,
        .agent_us = (uint64_t)t->agent_us,
        .upload_us = (uint64_t)t->upload_us,
        .load_us = (uint64_t)t->load_us,
        .run_us = (uint64_t)t->run_us,
        .drain_us = (uint64_t)t->drain_us,
        .total_us = (uint64_t)t->total_us,
        .tries = t->tries,
    };
    endings_make(&ending, &texts, e);
    struct ssx_fleet_event event = {.kind = item == ENGINE_NONE ? SSX_FLEET_END : SSX_FLEET_DEALT, .ending = &ending, .timing = &timing};
    fleet_tell(user, host, item, &event);
    free(texts);
}

static void on_item_return(void *user, size_t host, size_t item, const char *why)
{
    struct ssx_fleet_event event = {.kind = SSX_FLEET_RETURNED, .text = why};
    fleet_tell(user, host, item, &event);
}

static void on_message(void *user, size_t host, const struct message *m) { on_item_message(user, host, ENGINE_NONE, m); }

void fleet_tell_end(void *fleet, size_t host, struct message_end *e, const struct timing *t)
{
    on_item_end(fleet, host, ENGINE_NONE, e, t);
}

static void on_noise(void *user, size_t host, const void *bytes, size_t n)
{
    struct ssx_fleet_event event = {.kind = SSX_FLEET_NOISE, .bytes = bytes, .n = n};
    fleet_tell(user, host, ENGINE_NONE, &event);
}

static void on_note(void *user, size_t host, int level, const char *text)
{
    struct ssx_fleet_event event = {.kind = SSX_FLEET_NOTE, .level = level, .text = text};
    fleet_tell(user, host, ENGINE_NONE, &event);
}

/* --- making one --- */

static int find_type(struct ssx_fleet *f, const char *type, struct ssx_error *err)
{
    char system[PATH_MAX];
    struct ssx_error why = {0};
    f->has_type = type_find(&f->type, type, f->session.plugin_path, own_plugin_dir(system, sizeof system), &why) == 0;
    if (!f->has_type && !(why.code == SSX_ERROR_UNKNOWN_TYPE && text_is_type_name(type)))
        return error_set(err, why.code, "%s", why.text);
    f->type_name = strdup(f->has_type ? f->type.plugin.descriptor.type : type);
    return f->type_name ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

static int take_options(struct ssx_fleet *f, struct transport_target *target, const struct ssx_fleet_options *options,
                        struct ssx_error *err)
{
    if (options_take_fleet(&f->o, options, err) || options_take_session(&f->session, f->o.session, err))
        return -1;
    if (f->o.grace_ms > GRACE_MS_MAX || f->o.timeout_ms > TIMEOUT_MS_MAX || f->o.deadline_ms > TIMEOUT_MS_MAX)
        return error_set(err, SSX_ERROR_USAGE, "a time that is too long: a grace time is at most %u ms", GRACE_MS_MAX);
    if (f->o.per_host > SSX_FLEET_PER_HOST_MAX)
        return error_set(err, SSX_ERROR_USAGE, "%zu items at once on a host: %d is the most", f->o.per_host, SSX_FLEET_PER_HOST_MAX);
    if (f->o.joined & ~(unsigned)(SSX_FLEET_JOIN_INPUT | SSX_FLEET_JOIN_OUTPUT))
        return error_set(err, SSX_ERROR_USAGE,
                         "joined: %#x is no sum of SSX_FLEET_JOIN_INPUT and SSX_FLEET_JOIN_OUTPUT", f->o.joined);
    if ((f->o.joined & SSX_FLEET_JOIN_INPUT) && f->o.input_fd > 0)
        return error_set(err, SSX_ERROR_USAGE, "an input_fd for all hosts, and an input that is joined for each");
    return options_target(target, f->port, NULL, &f->session, err);
}

/* What is started where this machine stands for a host. */
static int find_local_agent(struct ssx_fleet *f, struct engine_options *e, struct ssx_error *err)
{
    char path[PATH_MAX];
    const char *plugins = f->session.plugin_path;
    f->local_agent = strdup(f->session.agent_file ? f->session.agent_file : own_agent(path, sizeof path));
    if (!f->local_agent)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    f->local_argv[0] = f->local_agent;
    f->local_argv[1] = plugins ? "--plugin-path" : NULL;
    f->local_argv[2] = plugins;
    e->local_argv = f->session.transport_command ? NULL : f->local_argv;
    return 0;
}

struct ssx_fleet *fleet_new(struct engine_options *e, const struct ssx_fleet_options *options, struct ssx_error *err)
{
    struct ssx_fleet *f = calloc(1, sizeof *f);
    *e = (struct engine_options){.input_fd = -1};
    if (!f) {
        error_set(err, SSX_ERROR_SYSTEM, "can't make a fleet: out of memory");
        return NULL;
    }
    if (take_options(f, &e->target, options, err) || find_local_agent(f, e, err)) {
        ssx_fleet_close(f);
        return NULL;
    }
    e->agent = &f->agent;
    e->bootstrap = options_bootstrap(&f->session);
    e->call.grace_ms = f->o.grace_ms;
    e->fanout = f->o.fanout;
    e->deadline_ms = (int64_t)f->o.deadline_ms;
    e->listener = (struct engine_listener){f, on_message, fleet_tell_end, on_noise, f->o.notes ? on_note : NULL,
                                           on_item_message, on_item_end, on_item_return};
    return f;
}

int fleet_opened(struct ssx_fleet **out, struct ssx_fleet *f, bool failed, const struct engine_options *e,
                 struct ssx_error *err)
{
    *out = NULL;
    if (!f)
        return -1;
    if (failed || agents_open(&f->agent, f->local_agent, !f->session.agent_file, err) ||
        engine_new(&f->engine, e, err)) {
        ssx_fleet_close(f);
        return -1;
    }
    *out = f;
    return 0;
}

static int ask_for_runs(struct ssx_fleet *f, struct engine_options *e, const char *type, const void *state, size_t n,
                        struct ssx_error *err)
{
    if (find_type(f, type, err))
        return -1;
    if (state ? buf_add(&f->state, state, n) : buf_add_text(&f->state, EMPTY_STATE))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    f->calls = true;
    e->call.type = f->type_name;
    e->call.state = buf_data(&f->state);
    e->call.state_size = buf_length(&f->state);
    e->call.timeout_ms = f->o.timeout_ms;
    type_offer(&f->type, &e->call);
    e->input_fd = f->o.input_fd > 0 ? f->o.input_fd : -1;
    e->joins_in = f->o.joined & SSX_FLEET_JOIN_INPUT;
    e->joins_out = f->o.joined & SSX_FLEET_JOIN_OUTPUT;
    e->per_host = f->o.per_host;
    e->idempotent = f->has_type && (f->type.plugin.descriptor.traits & TRAIT_IDEMPOTENT);
    return 0;
}

int ssx_fleet_open(struct ssx_fleet **out, const char *type, const void *state, size_t n,
                   const struct ssx_fleet_options *options, struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    return fleet_opened(out, f, f && ask_for_runs(f, &e, type, state, n, err), &e, err);
}

static int grow(struct ssx_fleet *f, struct ssx_error *err)
{
    size_t more = f->capacity ? 2 * f->capacity : 64;
    struct own *hosts = f->count < f->capacity ? f->hosts : realloc(f->hosts, more * sizeof *hosts);
    if (!hosts)
        return error_set(err, SSX_ERROR_SYSTEM, "can't add a host: out of memory");
    f->capacity = f->count < f->capacity ? f->capacity : more;
    f->hosts = hosts;
    return 0;
}

int ssx_fleet_add(struct ssx_fleet *f, const char *host, const void *state, size_t n, void *context, struct ssx_error *err)
{
    const char *name = host ? host : "this machine";
    if (f->started)
        return error_set(err, SSX_ERROR_USAGE, "can't add %s: the fleet has been started", name);
    if (state && !f->calls)
        return error_set(err, SSX_ERROR_USAGE, "can't add %s with a state: the fleet runs no worker", name);
    if (grow(f, err))
        return -1;
    struct own *own = &f->hosts[f->count];
    *own = (struct own){.context = context, .state = state ? malloc(n ? n : 1) : NULL};
    if (state && !own->state)
        return error_set(err, SSX_ERROR_SYSTEM, "can't add a host: out of memory");
    if (state)
        memcpy(own->state, state, n);
    if (engine_add(f->engine, host, own->state, n, err)) {
        free(own->state);
        return -1;
    }
    f->count++;
    return 0;
}

int ssx_fleet_deal(struct ssx_fleet *f, const void *fields, size_t n, struct ssx_error *err)
{
    if (!f->calls)
        return error_set(err, SSX_ERROR_USAGE, "can't add an item: the fleet runs no worker");
    if (f->started || f->o.joined)
        return error_set(err, SSX_ERROR_USAGE, "can't add an item: %s",
                         f->started ? "the fleet has been started" : "what is joined is a host's own call");
    return engine_deal(f->engine, fields, n, err);
}

int ssx_fleet_start(struct ssx_fleet *f, struct ssx_error *err)
{
    if (f->started || !f->count)
        return error_set(err, SSX_ERROR_USAGE, f->started ? "the fleet has been started before" : "a fleet of no hosts");
    f->started = true;
    int rc = engine_start(f->engine, &f->fanout, err);
    if (rc)
        f->fanout = 0;
    return rc;
}

/* --- joining --- */

/* Whether it can be waited for, by epoll. */
static int check_descriptor(int fd, bool wanted, const char *which, struct ssx_error *err)
{
    struct stat st;
    if (fd < 0)
        return 0;
    if (!wanted)
        return error_set(err, SSX_ERROR_USAGE, "the fleet's options do not join the %s of its hosts", which);
    if (fstat(fd, &st))
        return error_system(err, "can't join the %s of a host to descriptor %d", which, fd);
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
        return 0;
    return error_set(err, SSX_ERROR_USAGE, "can't join the %s of a host to descriptor %d: no pipe and no socket", which,
                     fd);
}

int ssx_fleet_join(struct ssx_fleet *f, size_t host, int in, int out, struct ssx_error *err)
{
    if (host >= f->count)
        return error_set(err, SSX_ERROR_USAGE, "there is no host %zu: the fleet has %zu", host, f->count);
    if (in >= 0 && in == out)
        return error_set(err, SSX_ERROR_USAGE, "can't join %s: input and output need a descriptor each (dup)",
                         engine_host(f->engine, host));
    if (check_descriptor(in, f->o.joined & SSX_FLEET_JOIN_INPUT, "input", err) ||
        check_descriptor(out, f->o.joined & SSX_FLEET_JOIN_OUTPUT, "output", err))
        return -1;
    if ((in >= 0 && fd_set_nonblocking(in, true)) || (out >= 0 && fd_set_nonblocking(out, true)))
        return error_system(err, "can't join %s", engine_host(f->engine, host));
    return engine_join(f->engine, host, in, out, err);
}

void ssx_fleet_moved(const struct ssx_fleet *f, uint64_t *in, uint64_t *out) { engine_moved(f->engine, in, out); }

/* --- moving it --- */

int ssx_fleet_step(struct ssx_fleet *f, int timeout_ms) { return f->fanout && engine_work(f->engine, timeout_ms) > 0; }

int ssx_fleet_fd(const struct ssx_fleet *f) { return f->fanout ? engine_fd(f->engine) : -1; }

void ssx_fleet_cancel(struct ssx_fleet *f)
{
    if (f->fanout)
        engine_cancel(f->engine);
}

void ssx_fleet_stop(struct ssx_fleet *f)
{
    if (f->fanout)
        engine_stop(f->engine);
}

static void put_count(size_t counts[SSX_FLEET_PLACES], struct engine_count c)
{
    counts[SSX_FLEET_WAITING] = c.waiting;
    counts[SSX_FLEET_OPENING] = c.opening;
    counts[SSX_FLEET_RUNNING] = c.running;
    counts[SSX_FLEET_ENDED] = c.ended;
}

void ssx_fleet_count(struct ssx_fleet *f, size_t counts[SSX_FLEET_PLACES])
{
    struct engine_count c = engine_count(f->engine);
    put_count(counts, f->fanout ? c : (struct engine_count){.waiting = f->count});
}

void ssx_fleet_count_items(struct ssx_fleet *f, size_t counts[SSX_FLEET_PLACES]) { put_count(counts, engine_count_items(f->engine)); }

enum ssx_fleet_place ssx_fleet_where(struct ssx_fleet *f, size_t host)
{
    static const enum ssx_fleet_place places[] = {
        [ENGINE_WAITING] = SSX_FLEET_WAITING,
        [ENGINE_OPENING] = SSX_FLEET_OPENING,
        [ENGINE_RUNNING] = SSX_FLEET_RUNNING,
        [ENGINE_ENDED] = SSX_FLEET_ENDED,
    };
    return places[engine_where(f->engine, host)];
}

size_t ssx_fleet_fanout(const struct ssx_fleet *f) { return f->fanout; }

void ssx_fleet_close(struct ssx_fleet *f)
{
    if (!f)
        return;
    engine_free(f->engine);
    agents_close(&f->agent);
    if (f->has_type)
        type_close(&f->type);
    for (size_t i = 0; i < f->count; i++)
        free(f->hosts[i].state);
    buf_free(&f->state);
    free(f->hosts);
    free(f->type_name);
    free(f->local_agent);
    free(f->words);
    free(f);
}
