#include "session.h"

#include "deploy.h"
#include "describe.h"
#include "runner.h"
#include "tending.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/value.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define OUT_STOP (2u << 20)   /* a sender that doesn't read isn't read either */
#define DESCRIBES_MAX 64      /* open at once: each can be a long answer */
#define STATES_MAX (64u << 20) /* bytes of states on their way to workers */
#define PIPE_BYTES (256 << 10) /* of our stdin and stdout where they are pipes, as under sshd: fewer wakes for bulk */
#define TIDY_MS 1000          /* a session without calls for so long gives back what it doesn't need */
#define REPORT_MS 500         /* after the last SIGKILL, for the host to say so */

struct session {
    struct runner runner;
    int in_fd, out_fd;
    struct buf in, out, dropped;       /* dropped: what calls say after our BYE, which is the last frame */
    bool greeted, hello, leaving, broken;
    bool unasked;                      /* there may be calls that wait for an object which another call brings */
    int64_t leave_ms;                  /* leaving: when patience ends */
    int64_t lease_ms, heard_ms;        /* how long the sender may be silent (0: for ever); when it last was not */
    int unread;                        /* bytes of the sender's that wait while none is taken, as far as was seen */
    int64_t tidy_ms;                   /* when to tidy up; 0: it is tidy */
    uint32_t last_id;
    size_t sender_window;
    struct describe *describes;
    struct deploy *deploys;
    struct tending *tending;           /* never beside deploys: both lock the store's generations, and each would wait for the other */
};

static void put(struct session *s, const struct message *m) { message_encode(&s->out, m, FROM_AGENT); }

static size_t calls_max(const struct session *s)
{
    uint64_t most = policy_least(s->runner.plugins->policy, POLICY_MAX_CALLS, NULL);
    return most && most < CALLS_MAX ? (size_t)most : CALLS_MAX;
}

static size_t count_open(const struct session *s)
{
    return describe_count(s->describes) + deploy_count(s->deploys) + (s->tending != NULL) + s->runner.open;
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

/* Whether another call's NEED brings the object of this one. */
static bool is_under_way(const struct session *s, const struct job *j)
{
    for (const struct job *other = s->runner.first; other; other = other->next)
        if (other->asked && other->needs_object && other->stage == JOB_GATHERING && digest_equal(&other->call.digest, &j->call.digest) &&
            strcmp(other->type, j->type) == 0)
            return true;
    return false;
}

static void need(struct session *s, struct job *j)
{
    struct message_object object = {.digest = j->call.digest};
    s->unasked |= is_under_way(s, j);
    if (is_under_way(s, j))
        return;
    j->asked = true;
    put(s, &(struct message){.kind = MESSAGE_NEED, .id = j->id, .objects = {.count = 1, .list = &object}});
}

/* A call that was to bring an object for others as well may have ended before it came. */
static void ask_again(struct session *s)
{
    if (!s->unasked)
        return;
    s->unasked = false;
    for (struct job *j = s->runner.first; j; j = j->next)
        if (j->needs_object && !j->asked && j->stage == JOB_GATHERING)
            need(s, j);
}

static int take_call(struct session *s, const struct message *m)
{
    if (s->runner.states + m->call.state_size > STATES_MAX) {
        refuse_id(s, m->id, "busy", "the states of the open calls take too much memory; wait until some of them run");
        return 0;
    }
    struct job *j = runner_call(&s->runner, m, s->sender_window, &s->out);
    if (!j)
        refuse_id(s, m->id, "busy", "out of memory for the call");
    else if (j->needs_object)
        need(s, j);
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
    runner_try(&s->runner, j);
    return 0;
}

/* Returns 1 once the object is whole (*fd is it), 0 for more, -1 with err. */
static int add_chunk(struct session *s, struct job *j, const struct message *m, int *fd, struct ssx_error *err)
{
    struct upload *u = &j->upload;
    uint64_t *counted = &s->runner.plugins->coming;
    if ((!u->open && upload_begin(u, &j->call.digest, j->call.object_size, counted, err)) ||
        upload_add(u, m->chunk.bytes.at, m->chunk.bytes.n, err))
        return -1;
    return m->chunk.more ? 0 : upload_end(u, fd, err) ? -1 : 1;
}

static void give_image(struct session *s, struct job *j, struct image *image)
{
    if (j->stage != JOB_GATHERING)
        return;
    j->needs_object = false;
    j->image = image_hold(image);
    upload_abort(&j->upload);
    runner_try(&s->runner, j);
}

/* The object runs from memory; the store is for the next session, and a node that can't keep it runs it all the
 * same. */
static int take_chunk(struct session *s, struct job *j, const struct message *m, struct ssx_error *err)
{
    struct ssx_error fault = {0};
    struct refusal why = {.reason = ""};
    int fd;
    if (!j->call.has_object || !digest_equal(&m->chunk.digest, &j->call.digest))
        return violation(err, "CHUNK of an object that the call didn't announce", m);
    if (!j->needs_object)
        return 0; /* unasked, and not needed */
    if (!j->upload.open && runner_make_room(&s->runner, j->call.object_size, &fault)) {
        job_refuse(j, "busy", fault.text);
        return 0;
    }
    int rc = add_chunk(s, j, m, &fd, &fault);
    if (rc < 0)
        job_refuse(j, fault.code == SSX_ERROR_PROTOCOL ? "object" : "store", fault.text);
    if (rc <= 0)
        return 0;
    struct image *image = plugins_take(s->runner.plugins, &j->call, fd, &why);
    if (!image) {
        job_refuse(j, why.reason, why.error.text);
        return 0;
    }
    image_hold(image); /* while the calls take it */
    for (struct job *other = s->runner.first; other; other = other->next)
        if (other->needs_object && digest_equal(&other->call.digest, &j->call.digest) && strcmp(other->type, j->type) == 0)
            give_image(s, other, image);
    plugins_keep(s->runner.plugins, image);
    image_release(image);
    return 0;
}

static const struct { const char *name; int number; } signal_names[] = {
    {"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"ALRM", SIGALRM}, {"CONT", SIGCONT}, {"TSTP", SIGTSTP}, {"WINCH", SIGWINCH},
};

static void take_signal(struct job *j, const struct message *m)
{
    for (size_t i = 0; i < sizeof signal_names / sizeof *signal_names; i++)
        if (span_is(m->text, signal_names[i].name))
            job_signal(j, signal_names[i].number);
}

static void start_leaving(struct session *s)
{
    if (s->leaving)
        return;
    s->leaving = true;
    s->leave_ms = clock_ms() + LEAVE_MS;
    describe_clear(&s->describes);
    deploy_clear(&s->deploys);
    tending_clear(&s->tending);
    runner_cancel(&s->runner, s->leave_ms);
}

static int take_hello(struct session *s, const struct message *m, struct ssx_error *err)
{
    if (m->hello.max < PROTOCOL_VERSION || m->hello.min > PROTOCOL_VERSION)
        return error_set(err, SSX_ERROR_PROTOCOL, "the sender speaks protocol %llu to %llu, this agent %d",
                         (unsigned long long)m->hello.min, (unsigned long long)m->hello.max, PROTOCOL_VERSION);
    if (m->hello.window < DATA_MAX)
        return error_set(err, SSX_ERROR_PROTOCOL, "HELLO with a window below %u bytes", DATA_MAX);
    s->hello = true;
    s->sender_window = (size_t)m->hello.window;
    s->lease_ms = (int64_t)m->hello.lease_ms;
    return 0;
}

static int take_for_job(struct session *s, const struct message *m, struct ssx_error *err)
{
    struct job *j = runner_find(&s->runner, m->id);
    if (m->id > s->last_id)
        return violation(err, "a frame for an id that was never opened", m);
    if (!j)
        tending_take(&s->tending, m);
    if (!j && (m->kind == MESSAGE_CHUNK || m->kind == MESSAGE_CANCEL))
        return deploy_take(&s->deploys, m, err);
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

static void take_offer(struct session *s, const struct message *m)
{
    bool tends = span_is(m->objects.order.what, "tend");
    if (s->tending || (tends && s->deploys))
        refuse_id(s, m->id, "busy", "this session is at something else in the store");
    else if (tends)
        tending_add(&s->tending, s->runner.plugins, m, s->sender_window, &s->out);
    else
        deploy_add(&s->deploys, s->runner.plugins, &s->runner.children, m, &s->out);
}

static int take_opening(struct session *s, const struct message *m, struct ssx_error *err)
{
    if (m->id <= s->last_id)
        return violation(err, "an id that was opened before", m);
    s->last_id = m->id;
    if (m->kind == MESSAGE_ATTACH)
        refuse_id(s, m->id, "unsupported", "not supported: ATTACH");
    else if (count_open(s) >= calls_max(s))
        refuse_id(s, m->id, "busy", "too many calls are open in this session");
    else if (m->kind == MESSAGE_CALL)
        return take_call(s, m);
    else if (m->kind == MESSAGE_OFFER)
        take_offer(s, m);
    else if (describe_count(s->describes) >= DESCRIBES_MAX)
        refuse_id(s, m->id, "busy", "too many questions for descriptors are open in this session");
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
    char libc[32];
    struct buf policy = {0};
    struct message m = {.kind = MESSAGE_HELLO};
    uname(&uts);
    for (const struct policy *p = s->runner.plugins->policy; p; p = p->also)
        policy_add_flags(p, &policy);
    m.hello = (struct message_hello){.min = PROTOCOL_VERSION, .max = PROTOCOL_VERSION, .build = span_text("sshexec-agent " SSX_VERSION),
                                     .os = span_text("linux"), .arch = span_text(uts.machine),
                                         .libc = span_text(plugins_libc(s->runner.plugins, libc, sizeof libc)),
                                     .window = AGENT_WINDOW, .calls = calls_max(s), .state = VALUE_SIZE_MAX};
    if (buf_length(&policy))
        m.hello.policy = (struct span){buf_data(&policy) + 1, buf_length(&policy) - 1}; /* without the space before the first flag */
    put(s, &m);
    buf_free(&policy);
}

/* The sender broke the protocol, or nobody is there: say so if it can still be said, and leave. */
static void break_off(struct session *s, const char *why)
{
    if (s->greeted && !s->broken)
        put(s, &(struct message){.kind = MESSAGE_BYE, .text = span_text(why)});
    runner_redirect(&s->runner, &s->dropped);
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

/* A greeting that was changed on its way still holds its nonce: the sender is told by it. Anybody else (a hand, or the
 * shell command of a key that may start nothing but this agent) is told in words. */
static void not_greeted(struct session *s)
{
    static const char words[] = "sshexec 1 ";
    char nonce[33] = "";
    if (buf_length(&s->in) >= sizeof words + 31 && memcmp(buf_data(&s->in), words, sizeof words - 1) == 0)
        memcpy(nonce, buf_data(&s->in) + sizeof words - 1, 32);
    if (strspn(nonce, "0123456789abcdef") == 32)
        buf_printf(
            &s->out,
            "sshexec-fail 1 %s something between here and the sender changes bytes: a terminal or a CRLF translator\n",
            nonce);
    else
        fprintf(stderr, "sshexec-agent: no greeting of sshexec's came; the agent is started by sshexec, not by hand, and gives no shell\n");
    break_off(s, "");
}

static void read_sender(struct session *s)
{
    unsigned char *at = buf_reserve(&s->in, DATA_MAX);
    ssize_t n = at ? read(s->in_fd, at, DATA_MAX) : 0;
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        if (!s->greeted && !s->leaving)
            not_greeted(s);
        start_leaving(s);
        return;
    }
    s->in.end += (size_t)n;
    s->heard_ms = clock_ms();
    s->unread = 0;
    if (!s->greeted) {
        int rc = take_greeting(s);
        if (rc < 0)
            not_greeted(s);
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

/* A network that went away without a word leaves a sender that says nothing. While none of its bytes is taken, because
 * it takes none of ours, more of them show that it lives. */
static void check_lease(struct session *s)
{
    int waiting = 0;
    if (!s->lease_ms || s->leaving || clock_ms() < s->heard_ms + s->lease_ms)
        return;
    ioctl(s->in_fd, FIONREAD, &waiting);
    if (waiting > s->unread) {
        s->unread = waiting;
        s->heard_ms = clock_ms();
    } else {
        break_off(s, "the sender gave no sign of life for the length of its lease");
    }
}

/* The memory of a busy time goes back to the system once it is over. */
static void tidy(struct session *s)
{
    if (s->runner.open || buf_length(&s->in) || buf_length(&s->out)) {
        s->tidy_ms = clock_ms() + TIDY_MS;
    } else if (s->tidy_ms && clock_ms() >= s->tidy_ms) {
        s->tidy_ms = 0;
        buf_free(&s->in);
        buf_free(&s->out);
        runner_tidy(&s->runner);
    }
}

/* When to wake up though nothing comes. */
static int64_t patience(const struct session *s)
{
    if (s->leaving)
        return clock_ms() < s->leave_ms ? s->leave_ms : s->leave_ms + REPORT_MS;
    int64_t tidy = s->tidy_ms && !s->runner.open ? s->tidy_ms : INT64_MAX;
    int64_t lease = s->lease_ms ? s->heard_ms + s->lease_ms : INT64_MAX;
    int64_t tending = buf_length(&s->out) < OUT_HIGH ? tending_next_ms(s->tending) : INT64_MAX;
    int64_t deploy = deploy_next_ms(s->deploys), next = tidy < lease ? tidy : lease;
    next = deploy < next ? deploy : next;
    return tending < next ? tending : next;
}

/* The children of deploys wake the loop; each is looked at in every turn. */
static void poll_deploys(const struct session *s, struct polling *p)
{
    int fds[DEPLOYS_MAX];
    size_t n = deploy_fds(s->deploys, fds);
    for (size_t i = 0; i < n; i++)
        polling_add(p, fds[i], POLLIN);
}

/* One turn: what can be read and written, what has timed out. */
static void turn(struct session *s)
{
    static struct polling p; /* large, and there is one session */
    if (s->greeted)
        take_frames(s); /* those that were held back */
    bool reading = may_read(s), describing = s->describes && buf_length(&s->out) < OUT_HIGH, deploying = deploy_is_busy(s->deploys);
    bool tending = tending_is_busy(s->tending) && buf_length(&s->out) < OUT_HIGH;
    p.n = 0;
    size_t in = polling_add(&p, s->leaving ? -1 : s->in_fd, reading ? POLLIN : POLLRDHUP);
    polling_add(&p, buf_length(&s->out) ? s->out_fd : -1, POLLOUT);
    poll_deploys(s, &p);
    runner_poll(&s->runner, &p);
    polling_wait(&p, &s->runner, describing || deploying || tending ? 0 : patience(s));
    if (describing)
        describe_step(&s->describes, s->runner.plugins, &s->out);
    deploy_step(&s->deploys);
    if (tending)
        tending_step(&s->tending);
    runner_handle(&s->runner, &p);
    if (s->runner.stops)
        start_leaving(s);
    if (p.fds[in].revents && reading)
        read_sender(s);
    else if (p.fds[in].revents & (POLLHUP | POLLRDHUP | POLLERR)) /* it has left without reading what waits for it */
        start_leaving(s);
    check_lease(s);
    runner_tick(&s->runner);
    ask_again(s);
    buf_free(&s->dropped);
    if (s->out_fd >= 0)
        write_sender(s);
    else
        buf_free(&s->out);
    if (!s->leaving)
        runner_look_ahead(&s->runner);
    tidy(s);
}

/* A job whose process is gone needn't be drained for a sender that has left; one whose host doesn't even report its
 * death isn't waited for. */
static bool is_over(const struct session *s)
{
    int64_t now = clock_ms();
    if (!s->leaving)
        return false;
    if (runner_is_busy(&s->runner) && now < s->leave_ms + REPORT_MS)
        return false;
    return !buf_length(&s->out) || now >= s->leave_ms;
}

int session_serve(struct plugins *plugins, int in, int out)
{
    struct session s = {.in_fd = in, .out_fd = out};
    runner_open(&s.runner, plugins);
    fd_set_nonblocking(in, true);
    fd_set_nonblocking(out, true);
    fcntl(in, F_SETPIPE_SZ, PIPE_BYTES); /* no matter where it isn't one */
    fcntl(out, F_SETPIPE_SZ, PIPE_BYTES);
    while (!is_over(&s))
        turn(&s);
    runner_close(&s.runner);
    fd_set_nonblocking(in, false);
    if (s.out_fd >= 0)
        fd_set_nonblocking(s.out_fd, false);
    buf_free(&s.in);
    buf_free(&s.out);
    return s.broken ? 1 : 0;
}
