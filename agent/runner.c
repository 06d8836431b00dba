#include "runner.h"

#include "orphans.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/value.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct job *runner_find(const struct runner *r, uint32_t id)
{
    struct job *j = r->jobs;
    while (j && j->id != id)
        j = j->next;
    return j;
}

/* --- hosts --- */

static bool is_waited_for(const struct runner *r, const struct host *h)
{
    for (const struct job *j = r->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == h->image)
            return true;
    return h->calls > 0;
}

static void drop_host(struct runner *r, struct host *h)
{
    struct host **link = &r->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    host_end(h);
}

/* Room for one more: the host that has been idle for longest goes. Returns whether there is room. */
static bool make_room(struct runner *r)
{
    size_t n = 0;
    struct host *oldest = NULL;
    for (struct host *h = r->hosts; h; h = h->next) {
        n++;
        if (h->state == HOST_UP && !is_waited_for(r, h) && (!oldest || h->used_ms < oldest->used_ms))
            oldest = h;
    }
    if (n < HOSTS_MAX)
        return true;
    if (oldest)
        drop_host(r, oldest);
    return oldest != NULL;
}

static struct host *host_of(struct runner *r, struct image *image, struct ssx_error *err)
{
    for (struct host *h = r->hosts; h; h = h->next)
        if (h->image == image && h->state != HOST_DOWN)
            return h;
    if (!make_room(r)) {
        error_set(err, SSX_ERROR_REFUSED, "%d different plugins are running in this session, which is the most", HOSTS_MAX);
        return NULL;
    }
    struct host *h = host_start(image, err);
    if (!h)
        return NULL;
    h->next = r->hosts;
    return r->hosts = h;
}

/* --- jobs --- */

/* A job that waits gets its host, and its process as soon as that is up. */
static void find_host(struct runner *r, struct job *j)
{
    struct ssx_error err = {0};
    struct host *h = host_of(r, j->image, &err);
    if (!h)
        job_refuse(j, "busy", err.text);
    else if (h->state == HOST_UP)
        job_start(j, h);
}

/* A job's plugin and state are complete. */
static void run_job(struct runner *r, struct job *j)
{
    j->stage = JOB_WAITING;
    if (j->call.timeout_ms)
        j->deadline_ms = clock_ms() + (int64_t)j->call.timeout_ms;
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

struct job *runner_call(struct runner *r, const struct message *call, size_t window, struct buf *out)
{
    struct refusal why = {.reason = ""};
    struct job *j = job_new(call, window, out);
    if (!j)
        return NULL;
    j->call.timeout_ms = policy_timeout(r->plugins->policy, j->call.timeout_ms);
    j->next = r->jobs;
    r->jobs = j;
    j->image = image_hold(plugins_find(r->plugins, &call->call, &j->needs_object, &why));
    if (!j->image && !j->needs_object)
        job_refuse(j, why.reason, why.error.text);
    else
        runner_try(r, j);
    return j;
}

void runner_cancel(struct runner *r, int64_t latest_ms)
{
    int64_t now = clock_ms(), left = latest_ms > now ? latest_ms - now : 0;
    for (struct job *j = r->jobs; j; j = j->next) {
        if (j->call.grace_ms > (uint64_t)left)
            j->call.grace_ms = (uint64_t)left;
        if (j->ending && j->kill_ms > latest_ms)
            j->kill_ms = latest_ms;
        job_end(j, SSX_OUTCOME_CANCELLED, now);
    }
}

/* --- what hosts report --- */

/* Each job that waits for this host hears the same. */
static void refuse_waiting(struct runner *r, const struct host *h, const struct host_report *report)
{
    for (struct job *j = r->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == h->image)
            job_refuse(j, report->reason, report->text);
}

static bool is_host(void *user, pid_t pid)
{
    for (const struct host *h = ((const struct runner *)user)->hosts; h; h = h->next)
        if (h->pid == pid && !h->dead)
            return true;
    return false;
}

/* As if the processes of its calls had ended so; while it was loading, the calls that waited for it ended before anything of run was reached. */
static void end_calls_of(struct runner *r, struct host *h, const struct host_report *last)
{
    for (struct job *j = r->jobs; j; j = j->next) {
        if (h->state == HOST_LOADING && j->stage == JOB_WAITING && j->image == h->image) {
            j->started_us = clock_us();
            j->host = h;
            j->stage = JOB_RUNNING;
        }
        if (j->host == h && j->stage == JOB_RUNNING)
            job_left(j, last);
        if (j->host == h)
            j->host = NULL;
    }
}

/* The host has gone, by itself or because a plugin made it; or it is of no use any more. */
static void lose_host(struct runner *r, struct host *h)
{
    struct host_report last = {.op = HOST_ENDED};
    struct image *image = image_hold(h->image);
    bool loading = h->state == HOST_LOADING;
    struct host **link = &r->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    host_kill(h);
    orphans_kill(is_host, r); /* before its directory is removed: what it forked may still write there */
    last.status = h->status;
    snprintf(last.text, sizeof last.text, loading ? "the plugin ended its host while it was loaded" : "the plugin ended its host");
    end_calls_of(r, h, &last);
    host_end(h);
    for (struct job *j = r->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == image) /* came too late for this host */
            find_host(r, j);
    image_release(image);
}

static void take_report(struct runner *r, struct host *h, const struct host_report *report)
{
    if (report->op == HOST_READY && h->state == HOST_LOADING) {
        h->state = HOST_UP;
        snprintf(h->sandbox, sizeof h->sandbox, "%.*s", (int)sizeof h->sandbox - 1, report->text);
        for (struct job *j = r->jobs; j; j = j->next)
            if (j->stage == JOB_WAITING && j->image == h->image)
                job_start(j, h);
    } else if (report->op == HOST_FAILED && h->state == HOST_LOADING) {
        refuse_waiting(r, h, report);
        h->state = HOST_DOWN;
    } else if (report->op == HOST_ENDED) {
        struct job *j = runner_find(r, report->call);
        if (j && j->host == h && j->stage == JOB_RUNNING)
            job_left(j, report);
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

/* A plugin that never gets through loading is stopped once nobody waits for it; so is a host that doesn't end what it was told to kill. */
static void drop_bad_hosts(struct runner *r)
{
    int64_t now = clock_ms();
    for (struct job *j = r->jobs; j; j = j->next)
        if (j->host && job_is_stuck(j, now))
            lose_host(r, j->host);
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        if (h->state == HOST_LOADING && !is_waited_for(r, h))
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
    orphans_kill(is_host, r);
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
    *r = (struct runner){.plugins = plugins, .signals = watch_signals()};
    mallopt(M_MMAP_THRESHOLD, 256 << 10); /* fixed: what a large state took goes back to the system */
    orphans_adopt();
}

void runner_close(struct runner *r)
{
    while (r->hosts)
        drop_host(r, r->hosts);
    for (int tries = 0; tries < 200; tries++) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!orphans_kill(is_host, r))
            break;
        poll(NULL, 0, 5);
    }
    for (struct job *j = r->jobs, *next; j; j = next) {
        next = j->next;
        job_free(j);
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
    for (const struct job *j = r->jobs; j && p->n < p->jobs + CALLS_MAX * JOB_FDS; j = j->next)
        p->n += job_poll(j, p->fds + p->n);
}

void polling_wait(struct polling *p, const struct runner *r, int64_t until_ms)
{
    int64_t now = clock_ms();
    for (const struct job *j = r->jobs; j; j = j->next) {
        int64_t then = job_next_ms(j);
        until_ms = then < until_ms ? then : until_ms;
    }
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
    for (struct job *j = r->jobs; j; j = j->next)
        job_handle(j, p->fds + p->jobs, p->n - p->jobs);
    for (struct host *h = r->hosts, *next; h; h = next) {
        next = h->next;
        if (is_ready(p, h))
            read_host(r, h);
    }
    if (p->fds[p->signals].revents)
        take_signals(r);
}

/* Frees what is done. */
static void sweep_jobs(struct runner *r)
{
    for (struct job **link = &r->jobs; *link;) {
        struct job *j = *link;
        if (j->stage != JOB_DONE) {
            link = &j->next;
            continue;
        }
        if (j->host && j->host->calls && --j->host->calls == 0)
            j->host->used_ms = clock_ms();
        *link = j->next;
        job_free(j);
    }
}

void runner_tick(struct runner *r)
{
    int64_t now = clock_ms();
    for (struct job *j = r->jobs; j; j = j->next)
        job_tick(j, now);
    sweep_jobs(r);
    drop_bad_hosts(r);
}
