#include "runner.h"

#include "orphans.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/value.h"
#include "worker/descriptor.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the table --- */

#define READY_MAX 4
#define RECENT_MS 20 /* how old the answer to "which plugin" may be */

struct job *runner_find(const struct runner *r, uint32_t id)
{
    struct job *j = r->by_id[id % CALLS_MAX];
    while (j && j->id != id)
        j = j->same;
    return j;
}

static void enter(struct runner *r, struct job *j)
{
    struct job **place = &r->by_id[j->id % CALLS_MAX];
    j->same = *place;
    *place = j;
    j->before = r->last;
    *(r->last ? &r->last->next : &r->first) = j;
    r->last = j;
    r->open++;
}

static void leave(struct runner *r, struct job *j)
{
    struct job **link = &r->by_id[j->id % CALLS_MAX];
    while (*link != j)
        link = &(*link)->same;
    *link = j->same;
    *(j->before ? &j->before->next : &r->first) = j->next;
    *(j->next ? &j->next->before : &r->last) = j->before;
    r->open--;
}

bool runner_is_busy(const struct runner *r)
{
    for (const struct job *j = r->first; j; j = j->next)
        if (j->stage == JOB_RUNNING || j->stage == JOB_GIVEN)
            return true;
    return false;
}

void runner_redirect(struct runner *r, struct buf *out)
{
    for (struct job *j = r->first; j; j = j->next)
        j->out = out;
}

/* --- hosts --- */

static bool is_waited_for(const struct host *h) { return h->waiting.n || h->calls; }

static struct lane *unlink_lane(struct runner *r, struct lane *l)
{
    struct lane **link = &r->lanes;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    return l;
}

static void drop_host(struct runner *r, struct host *h)
{
    struct host **link = &r->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    for (struct lane *l = r->lanes, *next; l; l = next) {
        next = l->next;
        if (l->host == h)
            lane_free(unlink_lane(r, l));
    }
    host_end(h);
}

/* The host that has been idle for longest goes. Returns whether there was one. */
static bool drop_idle_host(struct runner *r)
{
    struct host *oldest = NULL;
    for (struct host *h = r->hosts; h; h = h->next)
        if (h->state == HOST_UP && !is_waited_for(h) && (!oldest || h->used_ms < oldest->used_ms))
            oldest = h;
    if (oldest)
        drop_host(r, oldest);
    return oldest != NULL;
}

static bool has_room(const struct runner *r)
{
    size_t n = 0;
    for (const struct host *h = r->hosts; h; h = h->next)
        n++;
    return n < HOSTS_MAX;
}

static struct host *host_of(struct runner *r, struct image *image, struct ssx_error *err)
{
    for (struct host *h = r->hosts; h; h = h->next)
        if (h->image == image && h->state != HOST_DOWN)
            return h;
    if (!has_room(r) && !drop_idle_host(r)) {
        error_set(err, SSX_ERROR_REFUSED, "%d different plugins are running in this session, which is the most", HOSTS_MAX);
        return NULL;
    }
    struct host *h = host_start(image, false, err);
    if (!h)
        return NULL;
    h->next = r->hosts;
    return r->hosts = h;
}

/* --- jobs --- */

static size_t count_lanes(const struct runner *r, const struct host *h)
{
    size_t n = 0;
    for (const struct lane *l = r->lanes; l; l = l->next)
        n += !h || l->host == h;
    return n;
}

static bool may_start(const struct runner *r)
{
    size_t live = 0, known = r->running.n + count_lanes(r, NULL);
    for (const struct host *h = r->hosts; h; h = h->next)
        live += h->live - (h->live && h->ready); /* one that waits for its call doesn't count */
    return live < PROCESSES_MAX && known < PROCESSES_MAX;
}

/* A lane of another plugin that has nothing to do makes room. */
static bool make_room_for_process(struct runner *r)
{
    for (struct lane *l = r->lanes; l && !may_start(r); l = l->next)
        if (!l->jobs.n && !l->left && !l->killed)
            lane_retire(l);
    return may_start(r);
}

/* The one that is to get the next call: one that is about to be free (its call is a short one, so far), or else one
 * that is idle, or a new one. */
static struct lane *find_lane(struct runner *r, struct host *h)
{
    int64_t now = clock_ms();
    struct lane *found = NULL;
    for (struct lane *l = r->lanes; l; l = l->next)
        if (l->host == h && lane_takes(l, now) && (!found || (lane_is_late(found, now) && !l->jobs.n)))
            found = l;
    if (found || count_lanes(r, h) >= LANES_MAX || !make_room_for_process(r))
        return found;
    found = lane_start(h);
    if (found) {
        found->next = r->lanes;
        r->lanes = found;
    } else if (errno == EPIPE || errno == ECONNRESET) {
        h->state = HOST_DOWN;
    }
    return found;
}

static bool wants_lane(const struct job *j)
{
    return (j->image->traits & (TRAIT_REUSABLE | TRAIT_TAKES_INPUT)) == TRAIT_REUSABLE && !j->call.input;
}

/* Those that wait for the host get their processes, first come, first served, as far as there are some. */
static void dispatch(struct runner *r, struct host *h)
{
    while (h->state == HOST_UP && h->waiting.first) {
        struct job *j = h->waiting.first;
        struct lane *l = wants_lane(j) ? find_lane(r, h) : NULL;
        if (l)
            lane_give(l, j);
        else if (wants_lane(j) || !make_room_for_process(r)) /* for one that is ready, too */
            return;
        else
            job_start(j, h, &r->running);
    }
}

/* A job that waits gets its host, and its process as soon as that is up. */
static void find_host(struct runner *r, struct job *j)
{
    struct ssx_error err = {0};
    struct host *h = host_of(r, j->image, &err);
    if (!h) {
        job_refuse(j, "busy", err.text);
        return;
    }
    job_queue_add(&h->waiting, j);
    dispatch(r, h);
}

/* A job's plugin and state are complete. */
static void run_job(struct runner *r, struct job *j)
{
    j->stage = JOB_WAITING;
    if (j->call.timeout_ms) {
        j->deadline_ms = clock_ms() + (int64_t)j->call.timeout_ms;
        r->deadline_ms = j->deadline_ms < r->deadline_ms ? j->deadline_ms : r->deadline_ms;
    }
    find_host(r, j);
}

void runner_try(struct runner *r, struct job *j)
{
    struct ssx_error err = {0};
    if (j->stage != JOB_GATHERING || j->needs_object || buf_length(&j->state) < j->call.state_size)
        return;
    if (value_scan(buf_data(&j->state), buf_length(&j->state), &err)) {
        error_prefix(&err, "the state of %s", j->type);
        job_refuse(j, "state", err.text);
    } else {
        run_job(r, j);
    }
}

static void remember(struct runner *r, const struct job *j, struct image *image)
{
    image_release(r->recent.image);
    r->recent.image = image_hold(image);
    r->recent.call = j->call;
    r->recent.until_ms = clock_ms() + RECENT_MS;
}

/* Lets go of an image that no call uses: the one that was last looked for, or that of an idle host. Returns whether it
 * did. */
static bool forget_image(struct runner *r)
{
    bool remembered = r->recent.image != NULL;
    image_release(r->recent.image);
    r->recent.image = NULL;
    return remembered || drop_idle_host(r);
}

int runner_make_room(struct runner *r, uint64_t bytes, struct ssx_error *err)
{
    struct ssx_error full = {0};
    while (plugins_make_room(r->plugins, bytes, &full))
        if (!forget_image(r))
            return error_set(err, full.code, "%s", full.text);
    return 0;
}

/* Looking in the plugin directories takes longer than a small call does. */
static struct image *image_of(struct runner *r, struct job *j, struct refusal *why)
{
    const struct message_call *last = &r->recent.call;
    if (r->recent.image && clock_ms() < r->recent.until_ms && strcmp(r->recent.image->type, j->type) == 0 && last->exact == j->call.exact &&
        last->has_object == j->call.has_object && (!last->has_object || digest_equal(&last->digest, &j->call.digest)))
        return r->recent.image;
    struct image *image;
    while (!(image = plugins_find(r->plugins, &j->call, &j->needs_object, why)) && strcmp(why->reason, "busy") == 0 &&
           forget_image(r))
        *why = (struct refusal){.reason = ""};
    remember(r, j, image);
    return image;
}

struct job *runner_call(struct runner *r, const struct message *call, size_t window, struct buf *out)
{
    struct refusal why = {.reason = ""};
    struct job *j = job_new(call, window, out, &r->done, &r->states);
    if (!j)
        return NULL;
    j->call.timeout_ms = policy_timeout(r->plugins->policy, j->call.timeout_ms);
    enter(r, j);
    j->image = image_hold(image_of(r, j, &why));
    if (!j->image && !j->needs_object)
        job_refuse(j, why.reason, why.error.text);
    else
        runner_try(r, j);
    return j;
}

void runner_cancel(struct runner *r, int64_t latest_ms)
{
    int64_t now = clock_ms(), left = latest_ms > now ? latest_ms - now : 0;
    for (struct job *j = r->last; j; j = j->before) { /* the last first: none of them begins meanwhile */
        if (j->call.grace_ms > (uint64_t)left)
            j->call.grace_ms = (uint64_t)left;
        if (j->ending && j->kill_ms > latest_ms)
            j->kill_ms = latest_ms;
        if (j->lane && j->lane->kill_ms > latest_ms)
            j->lane->kill_ms = latest_ms;
        job_end(j, SSX_OUTCOME_CANCELLED, now);
    }
}

/* --- what hosts report --- */

/* Each job that waits for this host hears the same. */
static void refuse_waiting(struct host *h, const struct host_report *report)
{
    while (h->waiting.first)
        job_refuse(h->waiting.first, report->reason, report->text);
}

static bool is_ours(void *user, pid_t pid)
{
    const struct runner *r = user;
    for (const struct host *h = r->hosts; h; h = h->next)
        if (h->pid == pid && !h->dead)
            return true;
    return child_is_listed(r->children, pid);
}

/* While it was loading, the calls that waited for it ended before anything of run was reached. */
static void crash_waiting(struct host *h, const struct host_report *last)
{
    for (struct job *j; (j = h->waiting.first);) {
        j->started_us = clock_us();
        job_note_usage(j, last);
        job_finish(j);
    }
}

/* As if the processes of its calls had ended so. */
static void end_calls_of(struct runner *r, struct host *h, const struct host_report *last)
{
    for (struct job *j = r->running.first, *behind; j; j = behind) {
        behind = j->behind;
        if (j->host == h && j->stage == JOB_RUNNING)
            job_left(j, last);
    }
    for (struct lane *l = r->lanes; l; l = l->next)
        if (l->host == h) {
            lane_left(l, last);
            l->host = NULL;
        }
    for (struct job *j = r->first; j; j = j->next)
        if (j->host == h)
            j->host = NULL;
}

/* The host has gone, by itself or because a plugin made it; or it is of no use any more. */
static void lose_host(struct runner *r, struct host *h)
{
    struct host_report last = {.op = HOST_ENDED};
    bool loading = h->state == HOST_LOADING;
    struct host **link = &r->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    host_kill(h);
    orphans_kill(is_ours, r); /* before its directory is removed: what it forked may still write there */
    last.status = h->status;
    snprintf(last.text, sizeof last.text, loading ? "the plugin ended its host while it was loaded" : "the plugin ended its host");
    if (loading)
        crash_waiting(h, &last);
    end_calls_of(r, h, &last);
    while (h->waiting.first) /* came too late for this host */
        find_host(r, h->waiting.first);
    host_end(h);
}

static void process_ended(struct runner *r, struct host *h, const struct host_report *report)
{
    for (struct job *j = r->running.first; j; j = j->behind)
        if (j->host == h && j->process == report->process && j->stage == JOB_RUNNING) {
            job_left(j, report);
            return;
        }
    for (struct lane *l = r->lanes; l; l = l->next)
        if (l->host == h && l->process == report->process)
            lane_left(l, report);
}

static void take_report(struct runner *r, struct host *h, const struct host_report *report)
{
    if (report->op == HOST_READY && h->state == HOST_LOADING) {
        h->state = HOST_UP;
        snprintf(h->sandbox, sizeof h->sandbox, "%.*s", (int)sizeof h->sandbox - 1, report->text);
        dispatch(r, h);
    } else if (report->op == HOST_FAILED && h->state == HOST_LOADING) {
        refuse_waiting(h, report);
        h->state = HOST_DOWN;
    } else if (report->op == HOST_ENDED) {
        process_ended(r, h, report);
    } else if (report->op == HOST_SIGNALLED) {
        for (struct lane *l = r->lanes; l; l = l->next)
            if (l->host == h && l->process == report->process)
                lane_signalled(l);
    }
}

static void read_host(struct runner *r, struct host *h)
{
    struct host_report report;
    int rc;
    while ((rc = host_report(h, &report)) > 0)
        take_report(r, h, &report);
    if (rc < 0)
        lose_host(r, h);
}

/* --- processes --- */

static struct host *stuck_host(const struct runner *r, int64_t now)
{
    for (const struct job *j = r->running.first; j; j = j->behind)
        if (j->host && job_is_stuck(j, now))
            return j->host;
    for (const struct lane *l = r->lanes; l; l = l->next)
        if (l->host && lane_is_stuck(l, now))
            return l->host;
    return NULL;
}

/* A plugin that never gets through loading is stopped once nobody waits for it; so is a host that doesn't end what it
 * was told to kill. */
static void drop_bad_hosts(struct runner *r, int64_t now)
{
    r->hosts_ms = INT64_MAX;
    for (struct host *h = r->hosts; h; h = h->next) {
        int64_t then = host_tick(h, now);
        r->hosts_ms = then < r->hosts_ms ? then : r->hosts_ms;
    }
    for (struct host *h; (h = stuck_host(r, now));)
        lose_host(r, h);
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        if (h->state == HOST_LOADING && !is_waited_for(h))
            drop_host(r, h);
    }
}

/* Reaps; a host that died is noticed here, an orphan of one that did is killed. */
static void reap(struct runner *r)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
        if (WIFSTOPPED(status)) { /* a host has nothing to wait for: a plugin did that */
            kill(pid, SIGCONT);
            continue;
        }
        for (struct host *h = r->hosts; h; h = h->next)
            if (h->pid == pid) {
                h->dead = true;
                h->status = status;
            }
        child_reaped(r->children, pid, status);
    }
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        if (h->dead) {
            struct host_report report;
            while (host_report(h, &report) > 0)
                take_report(r, h, &report);
            lose_host(r, h);
        }
    }
    orphans_kill(is_ours, r);
}

static void take_signals(struct runner *r)
{
    struct signalfd_siginfo info;
    while (read(r->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD && r->stops++ == 0)
            r->stop_signal = (int)info.ssi_signo;
    reap(r);
}

static bool is_ignored(int signal_number)
{
    struct sigaction now;
    return sigaction(signal_number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int watch_signals(void)
{
    static const int stops[] = {SIGTERM, SIGINT, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (!is_ignored(stops[i]))
            sigaddset(&set, stops[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCHLD, SIG_DFL); /* ignored by whoever started us, it would leave nothing to wait for */
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void runner_open(struct runner *r, struct plugins *plugins)
{
    *r = (struct runner){.plugins = plugins, .signals = watch_signals(), .deadline_ms = INT64_MAX, .hosts_ms = INT64_MAX};
    mallopt(M_MMAP_THRESHOLD, 256 << 10); /* fixed: what a large state took goes back to the system */
    orphans_adopt();
}

void runner_close(struct runner *r)
{
    for (struct job *j; (j = r->first);) {
        leave(r, j);
        job_free(j);
    }
    while (r->lanes)
        lane_free(unlink_lane(r, r->lanes));
    while (r->hosts)
        drop_host(r, r->hosts);
    image_release(r->recent.image);
    for (int tries = 0; tries < 200; tries++) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!orphans_kill(is_ours, r))
            break;
        poll(NULL, 0, 5);
    }
    fd_close(&r->signals);
}

/* --- a turn --- */

size_t polling_add(struct polling *p, int fd, short events)
{
    p->fds[p->n] = (struct pollfd){.fd = fd, .events = events};
    return p->n++;
}

void runner_poll(const struct runner *r, struct polling *p)
{
    p->signals = polling_add(p, r->signals, POLLIN);
    p->hosts = p->n;
    for (const struct host *h = r->hosts; h && p->n < p->hosts + HOSTS_MAX * 2; h = h->next)
        polling_add(p, h->socket, POLLIN);
    p->jobs = p->n;
    size_t n = 0;
    for (const struct job *j = r->running.first; j; j = j->behind)
        p->ends[n++] = p->n += job_poll(j, p->fds + p->n);
    for (const struct lane *l = r->lanes; l; l = l->next)
        p->ends[n++] = p->n += lane_poll(l, p->fds + p->n);
}

static int64_t next_ms(const struct runner *r)
{
    int64_t next = r->deadline_ms < r->hosts_ms ? r->deadline_ms : r->hosts_ms;
    for (const struct job *j = r->running.first; j; j = j->behind)
        next = job_next_ms(j) < next ? job_next_ms(j) : next;
    for (const struct lane *l = r->lanes; l; l = l->next)
        next = lane_next_ms(l) < next ? lane_next_ms(l) : next;
    return next;
}

void polling_wait(struct polling *p, const struct runner *r, int64_t until_ms)
{
    int64_t now = clock_ms(), then = next_ms(r);
    until_ms = then < until_ms ? then : until_ms;
    int timeout = until_ms == INT64_MAX ? -1 : until_ms <= now ? 0 : until_ms - now > INT_MAX ? INT_MAX : (int)(until_ms - now);
    if (poll(p->fds, p->n, timeout) < 0 && errno != EINTR)
        abort();
}

static bool is_ready(const struct polling *p, const struct host *h)
{
    for (size_t i = p->hosts; i < p->jobs; i++)
        if (p->fds[i].fd == h->socket && p->fds[i].revents)
            return true;
    return false;
}

void runner_handle(struct runner *r, const struct polling *p)
{
    size_t n = 0, at = p->jobs;
    for (struct job *j = r->running.first, *behind; j; j = behind, at = p->ends[n++]) {
        behind = j->behind;
        job_handle(j, p->fds + at, p->ends[n] - at);
    }
    for (struct lane *l = r->lanes; l; l = l->next, at = p->ends[n++])
        lane_handle(l, p->fds + at, p->ends[n] - at);
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        if (is_ready(p, h))
            read_host(r, h);
    }
    if (p->fds[p->signals].revents)
        take_signals(r);
}

/* --- time --- */

/* Ends the jobs whose time is up, and finds out when the next one's is. */
static void check_deadlines(struct runner *r, int64_t now)
{
    int64_t next = INT64_MAX;
    if (now < r->deadline_ms)
        return;
    for (struct job *j = r->first; j; j = j->next) {
        if (!j->deadline_ms || j->stage >= JOB_LEFT)
            continue;
        if (now >= j->deadline_ms)
            job_end(j, SSX_OUTCOME_TIMEOUT, now);
        else if (j->deadline_ms < next)
            next = j->deadline_ms;
    }
    r->deadline_ms = next;
}

/* Where calls go that a lane gives back. */
static void requeue(struct runner *r, struct job_queue *back)
{
    while (back->first)
        find_host(r, back->first);
}

static void tick_lanes(struct runner *r, int64_t now)
{
    struct job_queue back = {0};
    for (struct lane *l = r->lanes, *next; l; l = next) {
        next = l->next;
        lane_tick(l, now);
        if (lane_is_over(l)) {
            lane_resolve(l, &back);
            lane_free(unlink_lane(r, l));
        } else if (l->jobs.n > 1 && (l->left || now >= l->unload_ms)) {
            lane_unload(l, &back, now);
        } else if (!l->jobs.n && now >= l->used_ms + LANE_IDLE_MS && count_lanes(r, l->host) > 1) {
            lane_retire(l);
        }
    }
    requeue(r, &back);
}

/* Frees what is done. */
static void sweep_jobs(struct runner *r)
{
    for (struct job *j; (j = r->done.first);) {
        if (j->host && j->host->calls && --j->host->calls == 0)
            j->host->used_ms = clock_ms();
        leave(r, j);
        job_free(j);
    }
}

void runner_tick(struct runner *r)
{
    int64_t now = clock_ms();
    check_deadlines(r, now);
    for (struct job *j = r->running.first, *behind; j; j = behind) {
        behind = j->behind;
        job_tick(j, now);
    }
    tick_lanes(r, now);
    sweep_jobs(r);
    drop_bad_hosts(r, now);
    for (struct host *h = r->hosts; h; h = h->next)
        dispatch(r, h);
    for (struct lane *l = r->lanes; l; l = l->next)
        if (buf_length(&l->control_out) || l->stream)
            lane_flush(l);
}

/* Of more plugins than that, those used last have a process ready. */
static void limit_ready(struct runner *r)
{
    struct host *oldest = NULL;
    size_t n = 0;
    for (struct host *h = r->hosts; h; h = h->next) {
        n += h->ready > 0;
        if (h->ready && (!oldest || h->used_ms < oldest->used_ms))
            oldest = h;
    }
    if (n > READY_MAX)
        host_drop_ready(oldest);
}

/* Not while a call of that plugin runs: forking would take from its time. */
void runner_look_ahead(struct runner *r)
{
    for (struct host *h = r->hosts; h; h = h->next) {
        if (!h->used || h->state != HOST_UP || h->calls || h->waiting.n)
            continue;
        h->used = false;
        host_make_ready(h);
        limit_ready(r);
    }
}

void runner_tidy(struct runner *r)
{
    for (struct lane *l = r->lanes; l; l = l->next)
        lane_tidy(l);
    malloc_trim(0);
}
