#include "fleet/engine.h"

#include "base/error.h"
#include "base/io.h"
#include "base/thread.h"
#include "fleet/budget.h"
#include "fleet/engine_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define OPENERS_FEW 8        /* D12; more where those hang */
#define CLOSERS_FEW 2
#define CLOSERS_MOST 64      /* a child that won't leave takes 1.2 s */
#define JOINED 4             /* descriptors: a joint's two, and as many of the program's for who is behind them */
#define HURRY_MS 50          /* how often a crew that is behind is looked at */

#define WHY_CANCELLED "cancelled before it had begun there"
#define WHY_STOPPED "the run was stopped before it had begun there"
#define WHY_DEADLINE "the time for the whole run was over"

/* --- making one --- */

int engine_new(struct engine **out, const struct engine_options *options, struct ssx_error *err)
{
    pthread_condattr_t attr;
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start a run: out of memory");
    e->o = *options;
    e->last = &e->first;
    e->stop_fd = -1;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->change, &attr);
    pthread_condattr_destroy(&attr);
    *out = e;
    return 0;
}

int engine_add(struct engine *e, const char *host, const void *state, size_t n, struct ssx_error *err)
{
    if (e->count == e->capacity) {
        size_t more = e->capacity ? 2 * e->capacity : 64;
        struct member *members = realloc(e->members, more * sizeof *members);
        if (!members)
            return error_set(err, SSX_ERROR_SYSTEM, "can't add a host: out of memory");
        e->members = members;
        e->capacity = more;
    }
    struct member *m = &e->members[e->count];
    *m = (struct member){.engine = e, .number = e->count, .host = host ? strdup(host) : NULL,
                         .state = state, .state_size = n};
    if (host && !m->host)
        return error_set(err, SSX_ERROR_SYSTEM, "can't add a host: out of memory");
    e->count++;
    return 0;
}

const struct engine_options *engine_options_of(const struct engine *e) { return &e->o; }
struct news *engine_news(const struct engine *e) { return e->news; }
int64_t engine_began_us(const struct engine *e) { return e->began_us; }
const char *engine_host(const struct engine *e, size_t host) { return e->members[host].host; }
int engine_fd(const struct engine *e) { return news_fd(e->news); }

void engine_upload(const struct engine *e, size_t host, uint64_t *sent, uint64_t *asked)
{
    *sent = atomic_load_explicit(&e->members[host].sent, memory_order_relaxed);
    *asked = atomic_load_explicit(&e->members[host].asked, memory_order_relaxed);
}

/* --- joints --- */

int engine_join(struct engine *e, size_t host, int in, int out, struct ssx_error *err)
{
    struct member *m = &e->members[host];
    if (!m->greeted || m->told || m->joined)
        return error_set(err, SSX_ERROR_USAGE, "can't join %s: %s", m->host,
                         !m->greeted ? "it has not begun"
                         : m->told   ? "it has ended"
                                     : "it is joined already");
    m->joined = true;
    m->join_in = in;
    m->join_out = out;
    atomic_store(&m->joining, true);
    pump_grant(m->pump, m);
    return 0;
}

bool member_take_join(struct member *m, int *in, int *out)
{
    if (!atomic_exchange(&m->joining, false))
        return false;
    *in = m->join_in;
    *out = m->join_out;
    return true;
}

void member_drop_join(struct member *m)
{
    int in, out;
    if (!member_take_join(m, &in, &out))
        return;
    fd_close(&in);
    fd_close(&out);
}

void engine_moves(struct member *m, size_t in, size_t out)
{
    atomic_fetch_add_explicit(&m->engine->moved_in, in, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->engine->moved_out, out, memory_order_relaxed);
}

void engine_moved(const struct engine *e, uint64_t *in, uint64_t *out)
{
    *in = atomic_load_explicit(&e->moved_in, memory_order_relaxed);
    *out = atomic_load_explicit(&e->moved_out, memory_order_relaxed);
}

enum ssx_outcome engine_stopped(const struct engine *const_e, const char **why)
{
    struct engine *e = (struct engine *)const_e; /* for the lock */
    pthread_mutex_lock(&e->lock);
    enum ssx_outcome stopped = e->stopped;
    pthread_mutex_unlock(&e->lock);
    *why = stopped == SSX_OUTCOME_TIMEOUT ? WHY_DEADLINE : WHY_CANCELLED;
    return stopped;
}

const char *engine_why_unbegun(const struct engine *e)
{
    return e->stopped == SSX_OUTCOME_OK ? WHY_STOPPED : e->stopped == SSX_OUTCOME_TIMEOUT ? WHY_DEADLINE : WHY_CANCELLED;
}

/* --- members' stages; with the lock --- */

static void set_stage(struct member *m, enum member_stage stage)
{
    if (stage != MEMBER_OPENING && stage != MEMBER_RUNNING)
        dealing_expect(m, 0);
    m->engine->stages[m->stage]--;
    m->engine->stages[stage]++;
    m->stage = stage;
}

static void queue_last(struct member *m)
{
    struct engine *e = m->engine;
    m->next = NULL;
    *e->last = m;
    e->last = &m->next;
}

static void queue_first(struct member *m)
{
    struct engine *e = m->engine;
    m->next = e->first;
    e->first = m;
    if (!m->next)
        e->last = &m->next;
}

static struct member *member_of(struct pass *pass) { return (struct member *)(void *)((char *)pass - offsetof(struct member, pass)); }

/* It is no longer logging in, or waiting for that; those who stood in line behind it get their turn. */
static void free_place(struct member *m)
{
    struct engine *e = m->engine;
    if (m->counted)
        e->logging_in--;
    m->counted = false;
    for (struct pass *pass = &m->pass; (pass = pacing_leave(e->pacing, pass)); pass = NULL) {
        struct member *next = member_of(pass);
        set_stage(next, MEMBER_WAITING);
        queue_first(next);
    }
}

static void end(struct member *m)
{
    free_place(m);
    set_stage(m, MEMBER_ENDED);
}

static void rest(struct member *m)
{
    struct engine *e = m->engine;
    pthread_mutex_lock(&e->lock);
    free_place(m);
    set_stage(m, MEMBER_RESTING);
    m->next = e->resting;
    e->resting = m;
    pthread_cond_signal(&e->change);
    pthread_mutex_unlock(&e->lock);
}

/* --- what visits report --- */

void engine_logged_in(struct member *m)
{
    struct engine *e = m->engine;
    pthread_mutex_lock(&e->lock);
    free_place(m);
    pthread_cond_signal(&e->change);
    pthread_mutex_unlock(&e->lock);
}

void engine_ends(struct member *m)
{
    struct engine *e = m->engine;
    pthread_mutex_lock(&e->lock);
    end(m);
    pthread_cond_signal(&e->change);
    pthread_mutex_unlock(&e->lock);
}

bool engine_may_try_again(struct member *m, int timeout_ms)
{
    struct engine *e = m->engine;
    pthread_mutex_lock(&e->lock);
    int64_t now = clock_ms(), until = now + pacing_delay_ms(m->tries - 1);
    int limit_ms = timeout_ms ? timeout_ms : e->o.target.connect_timeout_ms ? e->o.target.connect_timeout_ms : TRANSPORT_CONNECT_MS;
    bool again = e->stopped == SSX_OUTCOME_OK && !e->no_more && until < m->first_ms + limit_ms;
    m->rest_until_ms = until;
    pthread_mutex_unlock(&e->lock);
    return again;
}

/* A transport_attempt's. Where the answer is no, the member is no longer this opener's business: somebody who leaves
 * may hand it its place at any time. */
static bool admit(void *ctx, const char *place, const char *bastion)
{
    struct member *m = ctx;
    struct engine *e = m->engine;
    pthread_mutex_lock(&e->lock);
    int rc = pacing_enter(e->pacing, &m->pass, place, bastion);
    if (rc == 0) {
        e->open--;
        e->logging_in--;
        m->counted = false;
        m->tries--;
        set_stage(m, MEMBER_PARKED);
        pthread_cond_signal(&e->change);
    }
    pthread_mutex_unlock(&e->lock);
    return rc != 0; /* without memory there is no line to stand in */
}

static void closed(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->open--;
    pthread_cond_signal(&e->change);
    pthread_mutex_unlock(&e->lock);
}

static void close_visit(struct crew_job *job)
{
    struct visit *v = (struct visit *)(void *)job;
    struct engine *e = v->member->engine;
    visit_close(v);
    closed(e);
}

/* In the pump's thread. */
static void visit_is_over(struct visit *v)
{
    struct member *m = v->member;
    if (v->again)
        rest(m);
    v->job.work = close_visit;
    crew_give(m->engine->closers, &v->job);
}

/* --- opening --- */

static void run_visit(struct visit *v)
{
    struct engine *e = v->member->engine;
    pthread_mutex_lock(&e->lock);
    set_stage(v->member, MEMBER_RUNNING);
    struct pump *pump = e->pumps[e->next_pump++ % e->pump_count];
    v->member->pump = pump;
    pthread_mutex_unlock(&e->lock);
    pump_adopt(pump, v);
}

static void opening_failed(struct visit *v, const struct ssx_error *err)
{
    struct engine *e = v->member->engine;
    v->again = v->attempt.worth_retrying && engine_may_try_again(v->member, v->attempt.timeout_ms);
    if (v->again)
        rest(v->member);
    else
        visit_fail(v, err);
    visit_close(v);
    closed(e);
}

static void open_visit(struct crew_job *job)
{
    struct visit *v = (struct visit *)(void *)job;
    struct ssx_error err = {0};
    if (visit_open(v, &err) == 0)
        run_visit(v);
    else if (v->attempt.deferred)
        visit_close(v);
    else
        opening_failed(v, &err);
}

/* --- the conductor: who is next; with the lock --- */

/* One that never had a visit: there is no memory for one, or the run was ended before its turn. */
static void end_unvisited(struct member *m, enum ssx_outcome outcome, const char *why)
{
    struct message message = {.kind = MESSAGE_END, .end = {.outcome = outcome, .message = span_text(why)}};
    struct timing timing = {.total_us = clock_us() - m->engine->began_us, .tries = m->tries};
    timing.wait_us = timing.total_us;
    end(m);
    news_put(m->engine->news, NEWS_END, (struct news_from){m->number, NEWS_NONE, 0, 0}, &message, &timing);
}

static void begin(struct member *m)
{
    struct engine *e = m->engine;
    struct visit *v = calloc(1, sizeof *v);
    if (!m->consumed)
        m->consumed = calloc(engine_calls(e), sizeof *m->consumed);
    if (!v || !m->consumed) {
        free(v);
        end_unvisited(m, SSX_OUTCOME_UNREACHABLE, "out of memory for a session");
        return;
    }
    v->member = m;
    v->job.work = open_visit;
    v->attempt.admit = admit;
    v->attempt.ctx = m;
    v->attempt.common = e->common;
    if (!m->tries++)
        m->first_ms = clock_ms();
    set_stage(m, MEMBER_OPENING);
    m->counted = true;
    dealing_expect(m, e->deal ? engine_calls(e) : 0);
    e->logging_in++;
    e->open++;
    crew_give(e->openers, &v->job);
}

static void begin_some(struct engine *e)
{
    while (e->first && dealing_wants_host(e) && e->open < e->o.fanout && e->logging_in < PACING_ALL) {
        struct member *m = e->first;
        e->first = m->next;
        if (!e->first)
            e->last = &e->first;
        begin(m);
    }
}

/* Returns when the next one will have rested. */
static int64_t wake_rested(struct engine *e, int64_t now)
{
    int64_t next = INT64_MAX;
    for (struct member **at = &e->resting; *at;) {
        struct member *m = *at;
        if (m->rest_until_ms > now) {
            next = m->rest_until_ms < next ? m->rest_until_ms : next;
            at = &m->next;
            continue;
        }
        *at = m->next;
        set_stage(m, MEMBER_WAITING);
        queue_first(m);
    }
    return next;
}

static void stop(struct engine *e, enum ssx_outcome why)
{
    if (e->stopped != SSX_OUTCOME_OK || e->finished)
        return;
    e->stopped = why;
    eventfd_write(e->stop_fd, 1);
    for (size_t i = 0; i < e->pump_count; i++)
        pump_stop_visits(e->pumps[i]);
    pthread_cond_signal(&e->change);
}

/* Those that the stop found before their turn, or that were not needed. */
static void sweep(struct engine *e)
{
    bool needed = e->stopped != SSX_OUTCOME_OK || e->no_more;
    enum ssx_outcome outcome = !needed                             ? SSX_OUTCOME_OK
                               : e->stopped == SSX_OUTCOME_TIMEOUT ? SSX_OUTCOME_UNREACHABLE
                                                                   : SSX_OUTCOME_CANCELLED;
    const char *why = needed ? engine_why_unbegun(e) : DEALING_OVER;
    for (size_t i = 0; i < e->count; i++) {
        struct member *m = &e->members[i];
        if (m->stage == MEMBER_WAITING || m->stage == MEMBER_PARKED || m->stage == MEMBER_RESTING)
            end_unvisited(m, outcome, why);
    }
    if (!needed)
        eventfd_write(e->stop_fd, 1);
    e->first = e->resting = NULL;
    e->last = &e->first;
}

static void sleep_until(struct engine *e, int64_t when_ms)
{
    struct timespec at = {when_ms / 1000, when_ms % 1000 * 1000000};
    if (when_ms == INT64_MAX)
        pthread_cond_wait(&e->change, &e->lock);
    else
        pthread_cond_timedwait(&e->change, &e->lock, &at);
}

static void *conduct(void *arg)
{
    struct engine *e = arg;
    pthread_mutex_lock(&e->lock);
    while (e->stages[MEMBER_ENDED] < e->count || e->open) {
        int64_t now = clock_ms(), until = e->deadline_ms && e->stopped == SSX_OUTCOME_OK ? e->deadline_ms : INT64_MAX;
        if (now >= until)
            stop(e, SSX_OUTCOME_TIMEOUT);
        int64_t rested = wake_rested(e, now);
        if (e->stopped != SSX_OUTCOME_OK || e->no_more || dealing_is_over(e))
            sweep(e); /* a member may have been put in line just before it was stopped */
        begin_some(e);
        bool behind = crew_waiting(e->openers) || crew_waiting(e->closers);
        crew_hurry(e->openers);
        crew_hurry(e->closers);
        until = rested < until ? rested : until;
        if (e->stages[MEMBER_ENDED] < e->count || e->open)
            sleep_until(e, behind && now + HURRY_MS < until ? now + HURRY_MS : until);
    }
    e->finished = true;
    pthread_mutex_unlock(&e->lock);
    news_poke(e->news);
    return NULL;
}

/* --- starting --- */

static int start_conductor(struct engine *e, struct ssx_error *err)
{
    int rc = thread_start(&e->conductor, conduct, e);
    e->conducting = rc == 0;
    errno = rc;
    return rc ? error_system(err, "can't start a thread") : 0;
}

static size_t pumps_wanted(const struct engine *e)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = e->o.pumps ? e->o.pumps : processors > 1 ? (size_t)processors : 1;
    if (!e->o.pumps && n > 1 + e->o.fanout / ENGINE_FANOUT)
        n = 1 + e->o.fanout / ENGINE_FANOUT; /* one moves 64 sessions with ease */
    return n < PUMPS_MAX ? n : PUMPS_MAX;
}

static int make_parts(struct engine *e, struct ssx_error *err)
{
    size_t openers = e->o.fanout < PACING_ALL ? e->o.fanout : PACING_ALL;
    e->pacing = pacing_new();
    e->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!e->pacing)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start a run: out of memory");
    if (e->stop_fd < 0)
        return error_system(err, "can't start a run");
    if (news_new(&e->news, err) || common_new(&e->common, err) ||
        crew_start(&e->openers, OPENERS_FEW, openers > OPENERS_FEW ? openers : OPENERS_FEW, err) ||
        crew_start(&e->closers, CLOSERS_FEW, CLOSERS_MOST, err))
        return -1;
    for (size_t wanted = pumps_wanted(e); e->pump_count < wanted; e->pump_count++)
        if (pump_start(&e->pumps[e->pump_count], visit_is_over, err))
            return -1;
    return 0;
}

int engine_start(struct engine *e, size_t *fanout, struct ssx_error *err)
{
    size_t wanted = e->o.fanout ? e->o.fanout : ENGINE_FANOUT;
    e->o.fanout = budget_sessions(wanted < e->count || !e->count ? wanted : e->count,
                                  e->o.joins_in || e->o.joins_out ? JOINED : 0);
    if (fanout)
        *fanout = e->o.fanout < wanted && e->o.fanout < e->count ? e->o.fanout : wanted;
    e->began_us = clock_us();
    e->deadline_ms = e->o.deadline_ms ? clock_ms() + e->o.deadline_ms : 0;
    if (make_parts(e, err) || dealing_start(e, err))
        return -1;
    e->o.target.interrupt_fd = e->stop_fd;
    e->stages[MEMBER_WAITING] = e->count;
    for (size_t i = 0; i < e->count; i++)
        queue_last(&e->members[i]);
    e->started = true;
    return start_conductor(e, err);
}

void engine_cancel(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    stop(e, SSX_OUTCOME_CANCELLED);
    pthread_mutex_unlock(&e->lock);
}

void engine_stop(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->no_more = true;
    dealing_look(e);
    pthread_mutex_unlock(&e->lock);
}

struct engine_count engine_count(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    const size_t *s = e->stages;
    struct engine_count count = {s[MEMBER_WAITING] + s[MEMBER_PARKED] + s[MEMBER_RESTING], s[MEMBER_OPENING],
                                 s[MEMBER_RUNNING], s[MEMBER_ENDED]};
    pthread_mutex_unlock(&e->lock);
    return count;
}

enum engine_place engine_where(struct engine *e, size_t host)
{
    static const enum engine_place places[] = {
        [MEMBER_OPENING] = ENGINE_OPENING, [MEMBER_RUNNING] = ENGINE_RUNNING, [MEMBER_ENDED] = ENGINE_ENDED};
    pthread_mutex_lock(&e->lock);
    enum engine_place place = places[e->members[host].stage];
    pthread_mutex_unlock(&e->lock);
    return place;
}

/* What is still coming is read by nobody, but has to be taken. */
static void drain(struct engine *e)
{
    engine_cancel(e);
    while (!telling_is_over(e)) {
        struct pollfd fd = {news_fd(e->news), POLLIN, 0};
        poll(&fd, 1, HURRY_MS);
        for (struct news_item *item = news_take(e->news), *next; item; item = next) {
            next = item->next;
            telling_done(e, item);
        }
    }
    pthread_join(e->conductor, NULL);
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    if (e->conducting)
        drain(e);
    crew_end(e->openers);
    for (size_t i = 0; i < e->pump_count; i++)
        pump_end(e->pumps[i]);
    crew_end(e->closers);
    for (struct news_item *item = e->pending, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    news_free(e->news);
    pacing_free(e->pacing);
    common_free(e->common);
    for (size_t i = 0; i < e->count; i++) {
        free(e->members[i].host);
        free(e->members[i].consumed);
        member_drop_join(&e->members[i]);
    }
    free(e->members);
    deal_free(e->deal);
    items_free(&e->items);
    free(e->items_told);
    fd_close(&e->stop_fd);
    pthread_cond_destroy(&e->change);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
