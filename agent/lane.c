#include "lane.h"

#include "channels.h"

#include "base/io.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ORDERS_HIGH (256u << 10) /* bytes of orders that wait for a lane to read them */
#define HELD_POLL_MS 1           /* a lane that has just ended a call may not have said yet that it waits */
#define HELD_POLLED_MS 100
#define SWALLOWED_MS 10          /* between looks at a frame that doesn't become whole */
#define MOVES_MAX 3              /* processes that may die on a call before it has begun */

/* --- starting --- */

/* Sealed: nothing the plugin does to it can make the agent's own accesses fail. */
static int make_page(struct lane *l)
{
    int fd = memfd_create("sshexec-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *at = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof *l->page) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        at = mmap(NULL, sizeof *l->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        fd_close(&fd);
    else
        l->page = at;
    return fd;
}

static int make_channels(struct lane *l, int others[HOST_FDS])
{
    struct channels c;
    int rc = channels_open(&c, others, false);
    others[HOST_FD_PAGE] = make_page(l);
    l->control = c.control;
    l->output[0].fd = c.output;
    l->output[1].fd = c.error;
    return rc || others[HOST_FD_PAGE] < 0 ? -1 : 0;
}

struct lane *lane_start(struct host *h)
{
    int others[HOST_FDS] = {-1, -1, -1, -1, -1};
    struct lane *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->host = h;
    l->control = l->output[0].fd = l->output[1].fd = -1;
    random_bytes(l->seal, sizeof l->seal);
    buf_add(&l->control_out, l->seal, sizeof l->seal);
    l->left = make_channels(l, others) || host_run(h, &l->process, others);
    l->used_ms = clock_ms();
    for (int i = 0; i < HOST_FDS; i++)
        fd_close(&others[i]);
    if (!l->left)
        return l;
    lane_free(l);
    return NULL;
}

void lane_retire(struct lane *l) { fd_close(&l->control); }

static void close_channels(struct lane *l)
{
    fd_close(&l->control);
    fd_close(&l->output[0].fd);
    fd_close(&l->output[1].fd);
}

void lane_free(struct lane *l)
{
    close_channels(l);
    if (!l->left && l->host)
        host_signal(l->host, l->process, SIGKILL);
    if (l->page)
        munmap(l->page, sizeof *l->page);
    buf_free(&l->control_in);
    buf_free(&l->control_out);
    buf_free(&l->output[0].held);
    buf_free(&l->output[1].held);
    buf_free(&l->taken);
    free(l);
}

void lane_tidy(struct lane *l)
{
    struct buf *buffers[] = {&l->control_in, &l->control_out, &l->output[0].held, &l->output[1].held};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (!buf_length(buffers[i]))
            buf_free(buffers[i]);
}

/* --- orders --- */

static size_t held(const struct lane *l) { return buf_length(&l->output[0].held) + buf_length(&l->output[1].held); }

bool lane_takes(const struct lane *l, int64_t now_ms)
{
    bool leaves = l->left || l->control < 0 || l->spoilt || l->killed || l->kill_ms;
    bool full = l->stream || l->given - l->ended >= LANE_DEPTH || buf_length(&l->control_out) >= ORDERS_HIGH;
    return !leaves && !full && !lane_is_slow(l, now_ms);
}

void lane_give(struct lane *l, struct job *j)
{
    j->lane = l;
    j->order = ++l->given;
    j->host = l->host;
    j->host->calls++;
    j->stage = JOB_GIVEN;
    j->started_us = clock_us();
    job_queue_add(&l->jobs, j);
    if (l->jobs.first == j)
        l->unload_ms = (l->head_ms = clock_ms()) + LANE_SLOW_MS;
    size_t sent = job_put_order(j, &l->control_out);
    if (sent == buf_length(&j->state))
        return;
    l->stream = &j->state;
    l->stream_id = j->id;
    l->stream_sent = sent;
}

static void put_state_piece(struct lane *l)
{
    if (!l->stream || buf_length(&l->control_out) >= DATA_MAX)
        return;
    l->stream_sent += job_put_state((uint32_t)l->stream_id, l->stream, l->stream_sent, &l->control_out);
    if (l->stream_sent < buf_length(l->stream))
        return;
    l->stream = NULL;
    buf_free(&l->taken);
}

void lane_flush(struct lane *l)
{
    for (;;) {
        put_state_piece(l);
        size_t n = buf_length(&l->control_out);
        if (!n || l->control < 0)
            return;
        ssize_t wrote = send(l->control, buf_data(&l->control_out), n, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0) /* it is full; or gone, which its host will say */
            return;
        buf_consume(&l->control_out, (size_t)wrote);
    }
}

/* --- the page --- */

/* A number that can't be was written by the worker that runs, for the lane itself writes it before and after a call. */
static bool is_begun(const struct lane *l, const struct job *j)
{
    uint32_t running = atomic_load(&l->page->running) / 2;
    return running > l->given ? j == l->jobs.first : running >= j->order;
}

/* Whoever comes second, this or the lane that begins the order, sees what the other wrote. */
static bool take_order_back(struct lane *l, const struct job *j)
{
    if (l->left || is_begun(l, j) || l->revocations == LANE_DEPTH)
        return l->left && !is_begun(l, j);
    atomic_store(&l->page->revoked[l->revocations], j->order);
    atomic_store(&l->page->revoked_count, ++l->revocations);
    if (is_begun(l, j))
        return false;
    l->revoked = j->order;
    return true;
}

static void forget_revoked(struct lane *l)
{
    if (l->revoked >= l->ended)
        return;
    l->revocations = 0;
    atomic_store(&l->page->revoked_count, 0);
}

/* The lane goes on where it was held, once the order that a signal was for has ended and the signal has arrived. */
static void release(struct lane *l)
{
    if (l->signals || l->left || !atomic_load(&l->page->hold) || (l->jobs.first && is_begun(l, l->jobs.first)))
        return;
    atomic_store(&l->page->hold, 0);
    syscall(SYS_futex, &l->page->hold, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void send_signal(struct lane *l, int signal_number)
{
    atomic_store(&l->page->hold, 1); /* until it is known to have arrived: it must not hit the next one */
    l->signals += host_signal(l->host, l->process, signal_number);
}

/* --- what its calls are told --- */

/* The lane still has to get all of a state whose job leaves it. */
static void keep_stream(struct lane *l, struct job *j)
{
    if (l->stream != &j->state)
        return;
    l->taken = j->state;
    l->stream = &l->taken;
    memset(&j->state, 0, sizeof j->state);
}

static void take_back(struct lane *l, struct job *j)
{
    keep_stream(l, j);
    if (j->host)
        j->host->calls--;
    j->host = NULL;
    j->lane = NULL;
}

static void next_head(struct lane *l)
{
    l->has_end = false;
    l->kill_ms = 0;
    l->head_ms = l->used_ms = clock_ms();
    l->unload_ms = l->head_ms + LANE_SLOW_MS;
}

/* Returns false where memory for its state has run out: it is refused then. */
static bool wait_again(struct lane *l, struct job *j, struct job_queue *waiting)
{
    bool streamed = l->stream == &j->state;
    take_back(l, j);
    if (streamed && buf_add(&j->state, buf_data(&l->taken), buf_length(&l->taken))) {
        job_refuse(j, "busy", "out of memory for the call's state");
        return false;
    }
    j->stage = JOB_WAITING;
    job_queue_add_first(waiting, j);
    return true;
}

void lane_unload(struct lane *l, struct job_queue *waiting, int64_t now_ms)
{
    l->unload_ms = now_ms + LANE_SLOW_MS;
    for (struct job *j = l->jobs.last, *ahead; j != l->jobs.first && take_order_back(l, j); j = ahead) {
        ahead = j->ahead;
        wait_again(l, j, waiting);
    }
}

void lane_end(struct lane *l, struct job *j, int64_t now_ms)
{
    if (take_order_back(l, j)) {
        take_back(l, j);
        job_refuse(j, "", "");
    } else if (j == l->jobs.first && !l->kill_ms && !l->left) {
        l->kill_ms = now_ms + (int64_t)j->call.grace_ms;
        send_signal(l, SIGTERM);
        send_signal(l, SIGCONT); /* a stopped worker can't end */
    }
}

void lane_signal(struct lane *l, struct job *j, int signal_number)
{
    if (j == l->jobs.first && !l->left && is_begun(l, j))
        send_signal(l, signal_number);
}

void lane_signalled(struct lane *l)
{
    if (l->signals)
        l->signals--;
    release(l);
}

static void kill_it(struct lane *l, int64_t now_ms)
{
    if (l->left || l->killed)
        return;
    l->killed = true;
    l->kill_ms = now_ms;
    send_signal(l, SIGKILL);
}

/* The first job's worker wrote to the control socket or to the page, which are in its reach as all of its process. If
 * it is still at that it is killed; else its process has begun another call, which must not suffer. */
static void spoil(struct lane *l)
{
    struct job *j = l->jobs.first;
    l->spoilt = true;
    if (!j)
        return;
    j->broken = true;
    atomic_store(&l->page->hold, 1);
    uint32_t running = atomic_load(&l->page->running);
    if (running == 2 * j->order + 1 || running / 2 > l->given)
        kill_it(l, clock_ms());
}

/* --- output --- */

static bool has_room(const struct job *j) { return buf_length(j->out) < OUT_HIGH; }

/* How much may be read of whoever wrote it: what the first job has window for, so that the rest stays in the pipe and
 * its writer waits. */
static size_t output_room(const struct lane *l)
{
    const struct job *j = l->jobs.first;
    size_t window = !j || !has_room(j) ? 0 : j->window < DATA_MAX ? j->window : DATA_MAX;
    return window > held(l) ? window - held(l) : 0;
}

/* Reads that much at most. Returns whether there was something. */
static bool read_output(struct lane *l, int i, size_t room)
{
    struct lane_output *o = &l->output[i];
    unsigned char *at = room && o->fd >= 0 ? buf_reserve(&o->held, room) : NULL;
    if (!at)
        return false;
    atomic_store(&l->page->read[i].turn, ++o->turn);
    ssize_t n = read(o->fd, at, room);
    o->count += n > 0 ? (uint64_t)n : 0;
    atomic_store(&l->page->read[i].count, o->count);
    atomic_store(&l->page->read[i].turn, ++o->turn);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        fd_close(&o->fd);
    if (n <= 0)
        return false;
    o->held.end += (size_t)n;
    l->drain_ms = clock_ms() + DRAIN_MS;
    return true;
}

/* How much of what stands before `up_to` the first job has window for. */
static size_t due(const struct lane *l, int i, uint64_t up_to)
{
    uint64_t n = up_to > l->output[i].passed ? up_to - l->output[i].passed : 0, window = l->jobs.first->window;
    return (size_t)(n < window ? n : window);
}

/* Gives the first job what is held, up to there and as far as its window goes. */
static void pass_output(struct lane *l, int i, uint64_t up_to)
{
    struct lane_output *o = &l->output[i];
    size_t n = due(l, i, up_to);
    if (n > buf_length(&o->held))
        n = buf_length(&o->held);
    if (!n)
        return;
    job_pass_output(l->jobs.first, (unsigned)i + 1, buf_data(&o->held), n);
    o->passed += n;
    buf_consume(&o->held, n);
}

/* The first job has ended: what it wrote is in the pipes. No more than that is read, and none of what others wrote
 * stands in its way. Returns whether all of it has been passed on. */
static bool pass_rest(struct lane *l)
{
    for (int i = 0; i < 2; i++) {
        struct lane_output *o = &l->output[i];
        pass_output(l, i, l->end_at[i]);
        for (size_t n; (n = due(l, i, l->end_at[i])) && read_output(l, i, n < DATA_MAX ? n : DATA_MAX);)
            pass_output(l, i, l->end_at[i]);
        if (due(l, i, l->end_at[i])) { /* there is less than it said: it lied, or another process reads its pipe */
            spoil(l);
            l->end_at[i] = o->passed;
        }
    }
    return l->output[0].passed >= l->end_at[0] && l->output[1].passed >= l->end_at[1];
}

/* --- frames --- */

static bool has_frame(const struct lane *l)
{
    return !l->lost && frame_length(buf_data(&l->control_in), buf_length(&l->control_in), CONTROL_FRAME_MAX, NULL) > 0;
}

static void finish_first(struct lane *l)
{
    struct job *j = l->jobs.first;
    l->ended = j->order;
    keep_stream(l, j);
    job_finish(j);
    next_head(l);
    forget_revoked(l);
    release(l);
}

static enum job_pass take_frame(struct lane *l, const unsigned char *frame, size_t length)
{
    struct message m;
    struct job *j = l->jobs.first;
    if (!j || message_decode(&m, frame, length, FROM_AGENT, NULL) || m.id != j->id || (m.kind == MESSAGE_END && !l->sealed))
        return JOB_NONSENSE;
    if (m.kind != MESSAGE_END)
        return job_pass(j, &m, frame, length);
    if (!j->broken)
        job_take_end(j, &m);
    l->has_end = true;
    l->sealed = false;
    l->end_at[0] = m.end.out;
    l->end_at[1] = m.end.err;
    return JOB_PASSED;
}

/* Drops what stands before the next seal. Returns whether one was found. */
static bool find_seal(struct lane *l)
{
    const unsigned char *at = buf_data(&l->control_in), *seal = memmem(at, buf_length(&l->control_in), l->seal, LANE_SEAL);
    size_t all = buf_length(&l->control_in), drop = seal ? (size_t)(seal - at) : all < LANE_SEAL ? 0 : all - LANE_SEAL + 1;
    buf_consume(&l->control_in, drop);
    l->lost = !seal;
    return seal;
}

static void lose_track(struct lane *l)
{
    l->lost = true;
    l->sealed = false;
    spoil(l);
}

/* Returns false where more of it must come before it is known whether this is one. */
static bool take_seal(struct lane *l)
{
    size_t n = buf_length(&l->control_in), known = n < LANE_SEAL ? n : LANE_SEAL;
    if (l->sealed || !n || memcmp(buf_data(&l->control_in), l->seal, known) != 0)
        return true;
    if (n < LANE_SEAL)
        return false;
    l->sealed = true;
    buf_consume(&l->control_in, LANE_SEAL);
    return true;
}

/* Deals with what stands in control_in. Returns false where that can't go on now. */
static bool pass_frames(struct lane *l)
{
    for (;;) {
        if (l->has_end && !pass_rest(l))
            return false;
        if (l->has_end)
            finish_first(l);
        if (l->lost && !find_seal(l))
            return true;
        if (!take_seal(l))
            return true;
        long length = frame_length(buf_data(&l->control_in), buf_length(&l->control_in), CONTROL_FRAME_MAX, NULL);
        if (length == 0)
            return true;
        enum job_pass rc = length < 0 ? JOB_NONSENSE : take_frame(l, buf_data(&l->control_in), (size_t)length);
        if (rc == JOB_NO_ROOM)
            return false;
        if (rc == JOB_NONSENSE)
            lose_track(l);
        else
            buf_consume(&l->control_in, (size_t)length);
    }
}

static bool session_has_room(const struct lane *l) { return !l->jobs.first || has_room(l->jobs.first); }

/* Reads what there is. Returns false where not all of it could be read and passed on. */
static bool read_control(struct lane *l)
{
    for (;;) {
        if (!pass_frames(l))
            return false;
        if (l->control < 0)
            return true;
        unsigned char *at = session_has_room(l) ? buf_reserve(&l->control_in, CONTROL_FRAME_MAX) : NULL;
        if (!at)
            return false;
        ssize_t n = recv(l->control, at, CONTROL_FRAME_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n <= 0) {
            fd_close(&l->control);
            kill_it(l, clock_ms()); /* if it is still there: it can't be told anything any more */
            return true;
        }
        l->control_in.end += (size_t)n;
        l->drain_ms = clock_ms() + DRAIN_MS;
        if ((size_t)n < CONTROL_FRAME_MAX && !l->undecided)
            return pass_frames(l);
    }
}

/* What is held is the first job's unless an END on the control socket says otherwise: whoever came after it can't have
 * written before that was sent. Where a frame of the first job's finds no window, it has said more than any window has
 * for sure, so that whoever comes after it has not begun. */
void lane_go_on(struct lane *l)
{
    bool all = read_control(l), blocked = !all && session_has_room(l);
    release(l);
    if (!l->jobs.first || l->has_end || !(all || blocked))
        return;
    l->undecided = false;
    for (int i = 0; i < 2; i++)
        pass_output(l, i, UINT64_MAX);
}

/* Whether the first job's answer was sent whole, as its process says, while the frame that stands here is not: it is
 * one that the worker made up, and swallows what came after it. */
static bool is_swallowing(const struct lane *l)
{
    const struct job *j = l->jobs.first;
    uint32_t running = atomic_load(&l->page->running);
    return j && buf_length(&l->control_in) && !has_frame(l) && !l->lost && running >= 2 * j->order && running != 2 * j->order + 1;
}

static bool is_drained(const struct lane *l)
{
    char byte;
    return l->control < 0 || (recv(l->control, &byte, 1, MSG_PEEK) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

/* --- the end of the process --- */

void lane_left(struct lane *l, const struct host_report *report)
{
    if (l->left)
        return;
    l->left = true;
    l->last = *report;
    l->drain_ms = clock_ms() + DRAIN_MS;
    lane_go_on(l);
}

/* The drain's clock runs only while nothing but the far end of a pipe holds things up. */
static bool is_draining(const struct lane *l)
{
    const struct job *j = l->jobs.first;
    return l->left && (!j || (j->window && has_room(j)));
}

bool lane_is_over(const struct lane *l)
{
    bool closed = l->control < 0 && l->output[0].fd < 0 && l->output[1].fd < 0;
    return l->left && !l->has_end && !held(l) && (!l->jobs.n || (closed && !has_frame(l)));
}

void lane_resolve(struct lane *l, struct job_queue *waiting)
{
    struct job *first = l->jobs.first;
    bool none = first && !is_begun(l, first) && first->moves++ < MOVES_MAX;
    for (struct job *j = l->jobs.last, *ahead; j && (none || (j != first && !is_begun(l, j))); j = ahead) {
        ahead = j->ahead;
        wait_again(l, j, waiting);
    }
    for (struct job *j; (j = l->jobs.first);) {
        keep_stream(l, j);
        job_note_usage(j, &l->last);
        job_finish(j);
    }
}

/* --- the loop's side --- */

size_t lane_poll(const struct lane *l, struct pollfd *out)
{
    size_t n = 0;
    bool read = session_has_room(l) && !has_frame(l);
    bool write = buf_length(&l->control_out) || l->stream;
    if (l->control >= 0 && (read || write))
        out[n++] = (struct pollfd){.fd = l->control, .events = (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0))};
    for (int i = 0; i < 2; i++)
        if (l->output[i].fd >= 0 && (output_room(l) || (l->left && !l->jobs.n)))
            out[n++] = (struct pollfd){.fd = l->output[i].fd, .events = POLLIN};
    return n;
}

void lane_handle(struct lane *l, const struct pollfd *fds, size_t n)
{
    bool ready = false;
    for (size_t i = 0; i < n; i++) {
        if (!fds[i].revents || fds[i].fd < 0)
            continue;
        if (fds[i].fd == l->control && fds[i].revents & POLLOUT)
            lane_flush(l);
        for (int o = 0; o < 2; o++)
            if (fds[i].fd == l->output[o].fd)
                l->undecided |= read_output(l, o, output_room(l));
        ready |= fds[i].fd == l->control || fds[i].fd == l->output[0].fd || fds[i].fd == l->output[1].fd;
    }
    if (ready)
        lane_go_on(l);
}

bool lane_is_late(const struct lane *l, int64_t now_ms) { return l->jobs.n && now_ms > l->head_ms + 1; }
bool lane_is_slow(const struct lane *l, int64_t now_ms) { return l->jobs.n && now_ms >= l->head_ms + LANE_SLOW_MS; }

int64_t lane_next_ms(const struct lane *l)
{
    int64_t next = INT64_MAX;
    if (l->killed && !l->left)
        next = l->kill_ms + JOB_REPORT_MS;
    else if (l->kill_ms && !l->left)
        next = l->kill_ms;
    if (l->jobs.n > 1 && l->unload_ms < next)
        next = l->unload_ms;
    if (!l->left && !l->signals && atomic_load(&l->page->hold) && clock_ms() < l->head_ms + HELD_POLLED_MS)
        next = clock_ms() + HELD_POLL_MS;
    if (l->jobs.n && buf_length(&l->control_in) && !has_frame(l))
        next = clock_ms() + SWALLOWED_MS;
    if (is_draining(l) && l->drain_ms < next)
        next = l->drain_ms;
    return next;
}

bool lane_is_stuck(const struct lane *l, int64_t now_ms) { return l->killed && !l->left && now_ms >= l->kill_ms + JOB_REPORT_MS; }

void lane_tick(struct lane *l, int64_t now_ms)
{
    release(l);
    bool swallowing = is_swallowing(l);
    if (l->undecided || swallowing)
        lane_go_on(l);
    if (swallowing && is_swallowing(l) && is_drained(l)) {
        lose_track(l);
        lane_go_on(l);
    }
    if (l->kill_ms && !l->killed && now_ms >= l->kill_ms)
        kill_it(l, now_ms);
    if (!is_draining(l) || now_ms < l->drain_ms)
        return;
    if (l->jobs.first)
        l->jobs.first->truncated = l->output[0].fd >= 0 || l->output[1].fd >= 0;
    close_channels(l);
    lane_go_on(l);
}
