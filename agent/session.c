#include "session.h"

#include "describe.h"
#include "host.h"
#include "job.h"
#include "orphans.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/value.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_MAX 64          /* ids open at once: HELLO announces it */
#define HOSTS_MAX 16          /* worker hosts kept; beyond that the one longest idle goes */
#define OUT_STOP (2u << 20)   /* a sender that doesn't read isn't read either */
#define STATES_MAX (64u << 20) /* bytes of states on their way to workers */
#define LEAVE_MS 1000         /* the most that a worker's grace and the last frames may take once the sender is gone */
#define REPORT_MS 500         /* after the last SIGKILL, for the host to say so */
#define FDS_MAX (4 + HOSTS_MAX * 2 + CALLS_MAX * JOB_FDS)

struct session {
    struct plugins *plugins;
    int in_fd, out_fd, signals;
    struct buf in, out, dropped;       /* dropped: what calls say after our BYE, which is the last frame */
    bool greeted, hello, leaving, broken;
    int64_t leave_ms;                  /* leaving: when patience ends */
    uint32_t last_id;
    size_t sender_window;
    struct job *jobs;
    struct describe *describes;
    struct host *hosts;
};

static void put(struct session *s, const struct message *m) { message_encode(&s->out, m, FROM_AGENT); }

/* --- jobs and hosts --- */

static struct job *find_job(const struct session *s, uint32_t id)
{
    struct job *j = s->jobs;
    while (j && j->id != id)
        j = j->next;
    return j;
}

static size_t count_open(const struct session *s)
{
    size_t n = describe_count(s->describes);
    for (const struct job *j = s->jobs; j; j = j->next)
        n++;
    return n;
}

/* What the states of the open calls take, or will take once they have come whole. */
static uint64_t held_states(const struct session *s)
{
    uint64_t n = 0;
    for (const struct job *j = s->jobs; j; j = j->next)
        n += j->stage == JOB_GATHERING ? j->call.state_size : buf_length(&j->state);
    return n;
}

/* Frees what is done. */
static void sweep_jobs(struct session *s)
{
    for (struct job **link = &s->jobs; *link;) {
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

static bool is_waited_for(const struct session *s, const struct host *h)
{
    for (const struct job *j = s->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == h->image)
            return true;
    return h->calls > 0;
}

static void drop_host(struct session *s, struct host *h)
{
    struct host **link = &s->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    host_end(h);
}

/* Room for one more: the host that has been idle for longest goes. Returns whether there is room. */
static bool make_room(struct session *s)
{
    size_t n = 0;
    struct host *oldest = NULL;
    for (struct host *h = s->hosts; h; h = h->next) {
        n++;
        if (h->state == HOST_UP && !is_waited_for(s, h) && (!oldest || h->used_ms < oldest->used_ms))
            oldest = h;
    }
    if (n < HOSTS_MAX)
        return true;
    if (oldest)
        drop_host(s, oldest);
    return oldest != NULL;
}

static struct host *host_of(struct session *s, struct image *image, struct ssx_error *err)
{
    for (struct host *h = s->hosts; h; h = h->next)
        if (h->image == image && h->state != HOST_DOWN)
            return h;
    if (!make_room(s)) {
        error_set(err, SSX_ERROR_REFUSED, "%d different plugins are running in this session, which is the most", HOSTS_MAX);
        return NULL;
    }
    struct host *h = host_start(image, err);
    if (!h)
        return NULL;
    h->next = s->hosts;
    return s->hosts = h;
}

/* A job that waits gets its host, and its process as soon as that is up. */
static void find_host(struct session *s, struct job *j)
{
    struct ssx_error err = {0};
    struct host *h = host_of(s, j->image, &err);
    if (!h)
        job_refuse(j, "busy", err.text);
    else if (h->state == HOST_UP)
        job_start(j, h);
}

/* A job's plugin and state are complete. */
static void run_job(struct session *s, struct job *j)
{
    j->stage = JOB_WAITING;
    if (j->call.timeout_ms)
        j->deadline_ms = clock_ms() + (int64_t)j->call.timeout_ms;
    find_host(s, j);
}

static void try_job(struct session *s, struct job *j)
{
    struct ssx_error err = {0};
    if (j->stage != JOB_GATHERING || j->needs_object || buf_length(&j->state) < j->call.state_size)
        return;
    if (value_scan(buf_data(&j->state), buf_length(&j->state), &err)) {
        error_prefix(&err, "the state of %s", j->type);
        job_refuse(j, "state", err.text);
    } else {
        run_job(s, j);
    }
}

/* Each job that waits for this host hears the same. */
static void refuse_waiting(struct session *s, const struct host *h, const struct host_report *r)
{
    for (struct job *j = s->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == h->image)
            job_refuse(j, r->reason, r->text);
}

static bool is_host(void *user, pid_t pid)
{
    for (const struct host *h = ((const struct session *)user)->hosts; h; h = h->next)
        if (h->pid == pid && !h->dead)
            return true;
    return false;
}

/* As if the processes of its calls had ended so; while it was loading, the calls that waited for it ended before anything of run was reached. */
static void end_calls_of(struct session *s, struct host *h, const struct host_report *last)
{
    for (struct job *j = s->jobs; j; j = j->next) {
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
static void lose_host(struct session *s, struct host *h)
{
    struct host_report last = {.op = HOST_ENDED};
    struct image *image = image_hold(h->image);
    bool loading = h->state == HOST_LOADING;
    struct host **link = &s->hosts;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
    host_kill(h);
    orphans_kill(is_host, s); /* before its directory is removed: what it forked may still write there */
    last.status = h->status;
    snprintf(last.text, sizeof last.text, loading ? "the plugin ended its host while it was loaded" : "the plugin ended its host");
    end_calls_of(s, h, &last);
    host_end(h);
    for (struct job *j = s->jobs; j; j = j->next)
        if (j->stage == JOB_WAITING && j->image == image) /* came too late for this host */
            find_host(s, j);
    image_release(image);
}

static void take_report(struct session *s, struct host *h, const struct host_report *r)
{
    if (r->op == HOST_READY && h->state == HOST_LOADING) {
        h->state = HOST_UP;
        snprintf(h->sandbox, sizeof h->sandbox, "%.*s", (int)sizeof h->sandbox - 1, r->text);
        for (struct job *j = s->jobs; j; j = j->next)
            if (j->stage == JOB_WAITING && j->image == h->image)
                job_start(j, h);
    } else if (r->op == HOST_FAILED && h->state == HOST_LOADING) {
        refuse_waiting(s, h, r);
        h->state = HOST_DOWN;
    } else if (r->op == HOST_ENDED) {
        struct job *j = find_job(s, r->call);
        if (j && j->host == h && j->stage == JOB_RUNNING)
            job_left(j, r);
    }
}

static void read_host(struct session *s, struct host *h)
{
    struct host_report r;
    int rc;
    while ((rc = host_report(h, &r)) > 0)
        take_report(s, h, &r);
    if (rc < 0)
        lose_host(s, h);
}

/* A plugin that never gets through loading is stopped once nobody waits for it; so is a host that doesn't end what it was told to kill. */
static void drop_bad_hosts(struct session *s)
{
    int64_t now = clock_ms();
    for (struct job *j = s->jobs; j; j = j->next)
        if (j->host && job_is_stuck(j, now))
            lose_host(s, j->host);
    for (struct host *h = s->hosts, *next; h; h = next) {
        next = h->next;
        if (h->state == HOST_LOADING && !is_waited_for(s, h))
            drop_host(s, h);
    }
}

/* --- what the sender asks --- */

static int violation(struct ssx_error *err, const char *what, const struct message *m)
{
    return error_set(err, SSX_ERROR_PROTOCOL, "%s (id %u)", what, (unsigned)m->id);
}

static void refuse_id(struct session *s, uint32_t id, const char *reason, const char *text)
{
    put(s, &(struct message){.kind = MESSAGE_END, .id = id,
                             .end = {.outcome = SSX_OUTCOME_REFUSED, .reason = span_text(reason), .message = span_text(text)}});
}

static void need(struct session *s, const struct job *j)
{
    struct message_object object = {.digest = j->call.digest};
    put(s, &(struct message){.kind = MESSAGE_NEED, .id = j->id, .objects = {.count = 1, .list = &object}});
}

static int take_call(struct session *s, const struct message *m)
{
    struct refusal why = {.reason = ""};
    if (held_states(s) + m->call.state_size > STATES_MAX) {
        refuse_id(s, m->id, "busy", "the states of the open calls take too much memory; wait until some of them run");
        return 0;
    }
    struct job *j = job_new(m, s->sender_window, &s->out);
    if (!j) {
        refuse_id(s, m->id, "busy", "out of memory for the call");
        return 0;
    }
    j->next = s->jobs;
    s->jobs = j;
    j->image = image_hold(plugins_find(s->plugins, &m->call, &j->needs_object, &why));
    if (j->needs_object)
        need(s, j);
    else if (!j->image)
        job_refuse(j, why.reason, why.error.text);
    else
        try_job(s, j);
    return 0;
}

static int take_state(struct session *s, struct job *j, const struct message *m, struct ssx_error *err)
{
    if (buf_length(&j->state) + m->data.bytes.n > j->call.state_size || (j->stage != JOB_GATHERING && m->data.bytes.n))
        return violation(err, "STATE of more than was announced", m);
    if (buf_add(&j->state, m->data.bytes.at, m->data.bytes.n))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a state");
    if (!m->data.more && buf_length(&j->state) < j->call.state_size)
        return violation(err, "STATE of less than was announced", m);
    try_job(s, j);
    return 0;
}

/* Returns 1 once the object is whole (*fd is it), 0 for more, -1 with err. */
static int add_chunk(struct job *j, const struct message *m, int *fd, struct ssx_error *err)
{
    struct upload *u = &j->upload;
    if ((!u->open && upload_begin(u, &j->call.digest, j->call.object_size, err)) || upload_add(u, m->chunk.bytes.at, m->chunk.bytes.n, err))
        return -1;
    return m->chunk.more ? 0 : upload_end(u, fd, err) ? -1 : 1;
}

/* The object runs from memory; the store is for the next session, and a node that can't keep it runs it all the same. */
static int take_chunk(struct session *s, struct job *j, const struct message *m, struct ssx_error *err)
{
    struct ssx_error fault = {0};
    struct refusal why = {.reason = ""};
    int fd;
    if (!j->call.has_object || !digest_equal(&m->chunk.digest, &j->call.digest))
        return violation(err, "CHUNK of an object that the call didn't announce", m);
    if (!j->needs_object)
        return 0; /* unasked, and not needed */
    int rc = add_chunk(j, m, &fd, &fault);
    if (rc < 0)
        job_refuse(j, fault.code == SSX_ERROR_PROTOCOL ? "object" : "store", fault.text);
    if (rc <= 0)
        return 0;
    j->needs_object = false;
    j->image = image_hold(plugins_take(s->plugins, &j->call, fd, &why));
    if (!j->image) {
        job_refuse(j, why.reason, why.error.text);
        return 0;
    }
    try_job(s, j);
    store_put(&s->plugins->store, &j->call.digest, j->image->fd, NULL);
    return 0;
}

static const struct { const char *name; int number; } signal_names[] = {
    {"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"ALRM", SIGALRM}, {"CONT", SIGCONT}, {"TSTP", SIGTSTP}, {"WINCH", SIGWINCH},
};

static void take_signal(const struct job *j, const struct message *m)
{
    for (size_t i = 0; i < sizeof signal_names / sizeof *signal_names; i++)
        if (span_is(m->text, signal_names[i].name) && j->stage == JOB_RUNNING)
            host_signal(j->host, j->id, signal_names[i].number);
}

static void start_leaving(struct session *s)
{
    int64_t now = clock_ms();
    if (s->leaving)
        return;
    s->leaving = true;
    s->leave_ms = now + LEAVE_MS;
    describe_clear(&s->describes);
    for (struct job *j = s->jobs; j; j = j->next) {
        if (j->call.grace_ms > LEAVE_MS)
            j->call.grace_ms = LEAVE_MS;
        if (j->ending && j->kill_ms > s->leave_ms)
            j->kill_ms = s->leave_ms;
        job_end(j, SSX_OUTCOME_CANCELLED, now);
    }
}

static int take_hello(struct session *s, const struct message *m, struct ssx_error *err)
{
    if (m->hello.max < PROTOCOL_VERSION || m->hello.min > PROTOCOL_VERSION)
        return error_set(err, SSX_ERROR_PROTOCOL, "the sender speaks protocol %llu to %llu, this agent %d", (unsigned long long)m->hello.min,
                         (unsigned long long)m->hello.max, PROTOCOL_VERSION);
    if (m->hello.window < DATA_MAX)
        return error_set(err, SSX_ERROR_PROTOCOL, "HELLO with a window below %u bytes", DATA_MAX);
    s->hello = true;
    s->sender_window = (size_t)m->hello.window;
    return 0;
}

static int take_for_job(struct session *s, const struct message *m, struct ssx_error *err)
{
    struct job *j = find_job(s, m->id);
    if (m->id > s->last_id)
        return violation(err, "a frame for an id that was never opened", m);
    if (!j || j->stage == JOB_DONE)
        return 0; /* it has ended, and the sender doesn't know yet */
    switch (m->kind) {
    case MESSAGE_INPUT: return job_input(j, m, err);
    case MESSAGE_CREDIT: job_credit(j, m->credit); return 0;
    case MESSAGE_CANCEL: job_end(j, SSX_OUTCOME_CANCELLED, clock_ms()); return 0;
    case MESSAGE_SIGNAL: take_signal(j, m); return 0;
    case MESSAGE_STATE: return take_state(s, j, m, err);
    case MESSAGE_CHUNK: return take_chunk(s, j, m, err);
    default: return 0;
    }
}

static int take_opening(struct session *s, const struct message *m, struct ssx_error *err)
{
    if (m->id <= s->last_id)
        return violation(err, "an id that was opened before", m);
    s->last_id = m->id;
    if (m->kind == MESSAGE_OFFER || m->kind == MESSAGE_ATTACH)
        refuse_id(s, m->id, "unsupported", m->kind == MESSAGE_OFFER ? "not supported: OFFER" : "not supported: ATTACH");
    else if (count_open(s) >= CALLS_MAX)
        refuse_id(s, m->id, "busy", "too many calls are open in this session");
    else if (m->kind == MESSAGE_CALL)
        return take_call(s, m);
    else if (describe_add(&s->describes, m))
        refuse_id(s, m->id, "busy", "out of memory for the request");
    return 0;
}

static int take_message(struct session *s, const struct message *m, struct ssx_error *err)
{
    if (s->hello != (m->kind != MESSAGE_HELLO) && m->kind != MESSAGE_BYE)
        return violation(err, s->hello ? "a second HELLO" : "a frame before HELLO", m);
    switch (m->kind) {
    case MESSAGE_HELLO: return take_hello(s, m, err);
    case MESSAGE_PING: put(s, &(struct message){.kind = MESSAGE_PONG, .token = m->token}); return 0;
    case MESSAGE_PONG: return 0;
    case MESSAGE_BYE: start_leaving(s); return 0;
    case MESSAGE_CALL: case MESSAGE_OFFER: case MESSAGE_DESCRIBE: case MESSAGE_ATTACH: return take_opening(s, m, err);
    default: return take_for_job(s, m, err);
    }
}

/* --- the stream --- */

/* Bytes of the greeting's line, once it is complete: 0 for not yet, -1 for anything else. */
static int take_greeting(struct session *s)
{
    static const char words[] = "sshexec 1 ";
    const size_t length = sizeof words - 1 + 32;
    const char *line = (const char *)buf_data(&s->in);
    const char *end = memchr(line, '\n', buf_length(&s->in));
    if (!end)
        return buf_length(&s->in) > length ? -1 : 0;
    if ((size_t)(end - line) != length || memcmp(line, words, sizeof words - 1))
        return -1;
    char nonce[33];
    memcpy(nonce, line + sizeof words - 1, 32);
    nonce[32] = 0;
    if (strspn(nonce, "0123456789abcdef") != 32)
        return -1;
    buf_printf(&s->out, "sshexec-agent 1 %s", nonce);
    buf_add(&s->out, "\r\n\0\xff", 4);
    buf_consume(&s->in, length + 1);
    s->greeted = true;
    return 1;
}

static void say_hello(struct session *s)
{
    struct utsname uts;
    char libc[32] = "";
    struct message m = {.kind = MESSAGE_HELLO};
    uname(&uts);
    if (s->plugins->libc[0])
        snprintf(libc, sizeof libc, "%s%s", s->plugins->libc[0] >= '0' && s->plugins->libc[0] <= '9' ? "glibc " : "", s->plugins->libc);
    m.hello = (struct message_hello){.min = PROTOCOL_VERSION, .max = PROTOCOL_VERSION, .build = span_text("sshexec-agent " SSX_VERSION),
                                     .os = span_text("linux"), .arch = span_text(uts.machine), .libc = span_text(libc),
                                     .window = AGENT_WINDOW, .calls = CALLS_MAX, .state = VALUE_SIZE_MAX};
    put(s, &m);
}

/* The sender broke the protocol, or nobody is there: say so if it can still be said, and leave. */
static void break_off(struct session *s, const char *why)
{
    if (s->greeted && !s->broken)
        put(s, &(struct message){.kind = MESSAGE_BYE, .text = span_text(why)});
    for (struct job *j = s->jobs; j; j = j->next)
        j->out = &s->dropped;
    s->broken = true;
    start_leaving(s);
}

/* A few small frames can ask for many large answers: no more is taken than the sender has room to read. */
static bool may_read(const struct session *s) { return !s->leaving && buf_length(&s->out) <= OUT_STOP; }

static void take_frames(struct session *s)
{
    struct ssx_error err = {0};
    struct message m;
    while (may_read(s)) {
        long length = frame_length(buf_data(&s->in), buf_length(&s->in), s->hello ? FRAME_MAX : FRAME_MAX_BEFORE_HELLO, &err);
        if (length == 0)
            return;
        if (length < 0 || message_decode(&m, buf_data(&s->in), (size_t)length, FROM_SENDER, &err) || take_message(s, &m, &err)) {
            break_off(s, err.text);
            return;
        }
        buf_consume(&s->in, (size_t)length);
    }
}

/* A greeting that was changed on its way still holds its nonce: the sender is told by it; somebody at a terminal, in words. */
static void refuse_greeting(struct session *s)
{
    static const char words[] = "sshexec 1 ";
    char nonce[33] = "";
    if (buf_length(&s->in) >= sizeof words + 31 && memcmp(buf_data(&s->in), words, sizeof words - 1) == 0)
        memcpy(nonce, buf_data(&s->in) + sizeof words - 1, 32);
    if (strspn(nonce, "0123456789abcdef") == 32)
        buf_printf(&s->out, "sshexec-fail 1 %s something between here and the sender changes bytes: a terminal or a CRLF translator\n", nonce);
    else
        fprintf(stderr, "sshexec-agent: this is not a greeting of sshexec's; the agent is started by sshexec, not by hand\n");
    break_off(s, "");
}

static void read_sender(struct session *s)
{
    unsigned char *at = buf_reserve(&s->in, DATA_MAX);
    ssize_t n = at ? read(s->in_fd, at, DATA_MAX) : 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        start_leaving(s);
        return;
    }
    s->in.end += (size_t)n;
    if (!s->greeted) {
        int rc = take_greeting(s);
        if (rc < 0)
            refuse_greeting(s);
        if (rc <= 0)
            return;
        say_hello(s);
    }
    take_frames(s);
}

static void write_sender(struct session *s)
{
    while (buf_length(&s->out)) {
        ssize_t n = write(s->out_fd, buf_data(&s->out), buf_length(&s->out));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            buf_free(&s->out);
            fd_close(&s->out_fd);
            start_leaving(s);
            return;
        }
        buf_consume(&s->out, (size_t)n);
    }
}

/* --- the loop --- */

/* Reaps; a host that died is noticed here, an orphan of one that did is killed. */
static void reap(struct session *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
        if (WIFSTOPPED(status)) { /* a host has nothing to wait for: a plugin did that */
            kill(pid, SIGCONT);
            continue;
        }
        for (struct host *h = s->hosts; h; h = h->next)
            if (h->pid == pid) {
                h->dead = true;
                h->status = status;
            }
    }
    for (struct host *h = s->hosts, *next; h; h = next) {
        next = h->next;
        if (h->dead) {
            struct host_report r;
            while (host_report(h, &r) > 0)
                take_report(s, h, &r);
            lose_host(s, h);
        }
    }
    orphans_kill(is_host, s);
}

static void take_signals(struct session *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            start_leaving(s);
    }
    reap(s);
}

struct polling { struct pollfd fds[FDS_MAX]; size_t n; };

static size_t add(struct polling *p, int fd, short events)
{
    p->fds[p->n] = (struct pollfd){.fd = fd, .events = events};
    return p->n++;
}

static int timeout(const struct session *s)
{
    int64_t now = clock_ms(), next = !s->leaving ? INT64_MAX : now < s->leave_ms ? s->leave_ms : s->leave_ms + REPORT_MS;
    for (const struct job *j = s->jobs; j; j = j->next) {
        int64_t then = job_next_ms(j);
        next = then < next ? then : next;
    }
    return next == INT64_MAX ? -1 : next <= now ? 0 : next - now > INT_MAX ? INT_MAX : (int)(next - now);
}

/* One turn: what can be read and written, what has timed out. */
static void turn(struct session *s)
{
    static struct polling p; /* large, and there is one session */
    if (s->greeted)
        take_frames(s); /* those that were held back */
    bool reading = may_read(s), describing = s->describes && buf_length(&s->out) < OUT_HIGH;
    p.n = 0;
    add(&p, s->signals, POLLIN);
    add(&p, s->leaving ? -1 : s->in_fd, reading ? POLLIN : POLLRDHUP);
    add(&p, buf_length(&s->out) ? s->out_fd : -1, POLLOUT);
    size_t hosts = p.n;
    for (struct host *h = s->hosts; h && p.n < FDS_MAX - CALLS_MAX * JOB_FDS; h = h->next)
        add(&p, h->socket, POLLIN);
    size_t first = p.n;
    for (struct job *j = s->jobs; j && p.n + JOB_FDS <= FDS_MAX; j = j->next)
        p.n += job_poll(j, p.fds + p.n);
    if (poll(p.fds, p.n, describing ? 0 : timeout(s)) < 0 && errno != EINTR)
        abort();
    if (describing)
        describe_step(&s->describes, s->plugins, &s->out);
    for (struct job *j = s->jobs; j; j = j->next)
        job_handle(j, p.fds + first, p.n - first);
    for (struct host *h = s->hosts, *next; h; h = next) {
        next = h->next;
        for (size_t i = hosts; i < first; i++)
            if (p.fds[i].fd == h->socket && p.fds[i].revents) {
                read_host(s, h);
                break;
            }
    }
    if (p.fds[0].revents)
        take_signals(s);
    if (p.fds[1].revents && reading)
        read_sender(s);
    else if (p.fds[1].revents & (POLLHUP | POLLRDHUP | POLLERR)) /* it has left without reading what waits for it */
        start_leaving(s);
    int64_t now = clock_ms();
    for (struct job *j = s->jobs; j; j = j->next)
        job_tick(j, now);
    sweep_jobs(s);
    drop_bad_hosts(s);
    buf_free(&s->dropped);
    if (s->out_fd >= 0)
        write_sender(s);
    else
        buf_free(&s->out);
}

/* A job whose process is gone needn't be drained for a sender that has left; one whose host doesn't even report its death isn't waited for. */
static bool is_over(const struct session *s)
{
    int64_t now = clock_ms();
    if (!s->leaving)
        return false;
    for (const struct job *j = s->jobs; j; j = j->next)
        if (j->stage == JOB_RUNNING && now < s->leave_ms + REPORT_MS)
            return false;
    return !buf_length(&s->out) || now >= s->leave_ms;
}

static int watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* All hosts and what they forked, down to the last orphan. */
static void end_everything(struct session *s)
{
    while (s->hosts)
        drop_host(s, s->hosts);
    for (int tries = 0; tries < 200; tries++) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!orphans_kill(is_host, s))
            break;
        poll(NULL, 0, 5);
    }
    for (struct job *j = s->jobs, *next; j; j = next) {
        next = j->next;
        job_free(j);
    }
}

int session_serve(struct plugins *plugins, int in, int out)
{
    struct session s = {.plugins = plugins, .in_fd = in, .out_fd = out, .signals = watch_signals()};
    mallopt(M_MMAP_THRESHOLD, 256 << 10); /* fixed: what a large state took goes back to the system */
    orphans_adopt();
    fd_set_nonblocking(in, true);
    fd_set_nonblocking(out, true);
    while (!is_over(&s))
        turn(&s);
    end_everything(&s);
    fd_set_nonblocking(in, false);
    if (s.out_fd >= 0)
        fd_set_nonblocking(s.out_fd, false);
    fd_close(&s.signals);
    buf_free(&s.in);
    buf_free(&s.out);
    return s.broken ? 1 : 0;
}
