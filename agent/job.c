#include "job.h"

#include "lane.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>


struct job *job_new(const struct message *m, size_t sender_window, struct buf *out, struct job_queue *done, size_t *states)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->id = m->id;
    j->out = out;
    j->done = done;
    j->call = m->call;
    span_copy(j->type, sizeof j->type, m->call.type);
    j->call.type = span_text(j->type);
    j->call.state = (struct span){0};
    j->window = sender_window;
    j->input_window = AGENT_WINDOW;
    j->io = CHANNELS_NONE;
    if (!buf_reserve(&j->state, (size_t)m->call.state_size)) {
        free(j);
        return NULL;
    }
    buf_add(&j->state, m->call.state.at, m->call.state.n);
    j->states = states;
    *states += j->charged = (size_t)m->call.state_size;
    return j;
}

static void free_state(struct job *j)
{
    buf_free(&j->state);
    j->state_sent = 0;
    *j->states -= j->charged;
    j->charged = 0;
}

void job_free(struct job *j)
{
    job_queue_add(NULL, j);
    channels_close(&j->io);
    free_state(j);
    buf_free(&j->control_in);
    buf_free(&j->control_out);
    buf_free(&j->input_queue);
    upload_abort(&j->upload);
    image_release(j->image);
    free(j);
}

/* --- the end --- */

static void send_end(struct job *j, const struct message_end *end)
{
    message_encode(j->out, &(struct message){.kind = MESSAGE_END, .id = j->id, .end = *end}, FROM_AGENT);
    j->stage = JOB_DONE;
    job_queue_add(j->done, j);
}

void job_refuse(struct job *j, const char *reason, const char *message)
{
    struct message_end end = {.outcome = j->forced, .message = span_text(message)};
    if (!j->forced) {
        end.outcome = SSX_OUTCOME_REFUSED;
        end.reason = span_text(reason);
    }
    send_end(j, &end);
}

static void say(struct job *j, struct message_end *end, const char *format, const char *detail)
{
    snprintf(j->text, sizeof j->text, format, detail);
    end->message = span_text(j->text);
}

static void describe_crash(struct job *j, struct message_end *end)
{
    char number[16];
    int status = j->usage.status;
    end->outcome = SSX_OUTCOME_CRASHED;
    if (j->broken) {
        say(j, end, "%s", "it wrote to descriptor 3, which is not the worker's");
    } else if (j->why_known) {
        end->signal = WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0;
        end->message = span_text(j->text);
    } else if (WIFSIGNALED(status)) {
        end->signal = (uint64_t)WTERMSIG(status);
        say(j, end, "killed by signal %s", sigabbrev_np((int)end->signal) ? sigabbrev_np((int)end->signal) : "?");
    } else {
        end->code = (uint64_t)WEXITSTATUS(status);
        snprintf(number, sizeof number, "%d", WEXITSTATUS(status));
        say(j, end, "left by exit(%s) without returning from run", number);
    }
}

void job_finish(struct job *j)
{
    struct message_end end = {0};
    if (j->forced) {
        end.outcome = j->forced;
    } else if (j->has_end) {
        end = j->end;
        end.message = span_text(j->text);
    } else {
        describe_crash(j, &end);
    }
    end.has_digest = true;
    end.digest = j->image->digest;
    if (!j->lane || !j->has_end)
        end.wall_us = (uint64_t)(clock_us() - j->started_us);
    if (!j->lane && j->stage != JOB_RUNNING) {
        end.user_us = j->usage.user_us;
        end.sys_us = j->usage.sys_us;
        end.rss_kb = j->usage.rss_kb;
    }
    end.out = j->out_bytes;
    end.err = j->err_bytes;
    end.truncated = j->truncated;
    end.sandbox = span_text(j->host ? j->host->sandbox : "");
    send_end(j, &end);
}

/* A job is done once its pipes are dry, and its process is gone or has said its last word: then it is about to go,
 * which the host sees to. */
static void finish_if_dry(struct job *j)
{
    if (j->io.output >= 0 || j->io.error >= 0)
        return;
    if (j->stage == JOB_RUNNING && j->has_end)
        host_forget(j->host, j->process);
    else if (j->stage != JOB_LEFT || j->io.control >= 0)
        return;
    job_finish(j);
}

/* --- starting --- */

size_t job_put_order(struct job *j, struct buf *out)
{
    struct message m = {.kind = MESSAGE_CALL, .id = j->id, .call = j->call};
    size_t n = buf_length(&j->state) < DATA_MAX ? buf_length(&j->state) : DATA_MAX;
    m.call.has_object = false;
    m.call.state = (struct span){buf_data(&j->state), n};
    m.call.timeout_ms = (uint64_t)j->deadline_ms;
    message_encode(out, &m, FROM_SENDER);
    return n;
}

size_t job_put_state(uint32_t id, const struct buf *state, size_t sent, struct buf *out)
{
    size_t left = buf_length(state) - sent, n = left < DATA_MAX ? left : DATA_MAX;
    message_encode(out,
                   &(struct message){.kind = MESSAGE_STATE,
                                     .id = id,
                                     .data = {.bytes = {buf_data(state) + sent, n}, .more = n < left}},
                   FROM_SENDER);
    return n;
}

static void put_state_piece(struct job *j)
{
    if (j->state_sent == buf_length(&j->state) || buf_length(&j->control_out) >= DATA_MAX)
        return;
    j->state_sent += job_put_state(j->id, &j->state, j->state_sent, &j->control_out);
    if (j->state_sent == buf_length(&j->state))
        free_state(j);
}

static void write_control(struct job *j)
{
    for (;;) {
        put_state_piece(j);
        size_t n = buf_length(&j->control_out);
        if (!n)
            return;
        ssize_t wrote = send(j->io.control, buf_data(&j->control_out), n, MSG_NOSIGNAL);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (wrote < 0) { /* the process is gone; how will be said by its host */
            buf_free(&j->control_out);
            free_state(j);
            return;
        }
        buf_consume(&j->control_out, (size_t)wrote);
    }
}

static void not_started(struct job *j, struct host *h)
{
    struct ssx_error err = {0};
    bool gone = errno == EPIPE || errno == ECONNRESET;
    error_system(&err, "can't start the call");
    channels_close(&j->io);
    if (gone)
        h->state = HOST_DOWN;
    else
        job_refuse(j, "busy", err.text);
}

/* Takes the process that was made ready for the next call, or asks for one. Returns 0, or -1 with errno. */
static int take_process(struct job *j, struct host *h)
{
    if (host_take_ready(h, &j->process, &j->io))
        return host_run_call(h, &j->process, &j->io, j->call.input);
    if (!j->call.input)
        fd_close(&j->io.input); /* a type that takes input has a pipe there: it is at its end now */
    if (!j->call.input || j->io.input >= 0)
        return 0;
    channels_close(&j->io); /* input for a type that takes none: this process leaves, now that its socket is closed */
    return host_run_call(h, &j->process, &j->io, true);
}

void job_start(struct job *j, struct host *h, struct job_queue *running)
{
    j->started_us = clock_us();
    if (take_process(j, h)) {
        not_started(j, h);
        return;
    }
    j->host = h;
    h->calls++;
    h->used = true;
    j->stage = JOB_RUNNING;
    job_queue_add(running, j);
    j->state_sent = job_put_order(j, &j->control_out);
    write_control(j);
}

void job_note_usage(struct job *j, const struct host_report *report)
{
    j->usage.status = report->status;
    j->usage.user_us = report->user_us;
    j->usage.sys_us = report->sys_us;
    j->usage.rss_kb = report->rss_kb;
    j->why_known = report->text[0] && !j->has_end;
    if (j->why_known)
        snprintf(j->text, sizeof j->text, "%s", report->text);
}

void job_left(struct job *j, const struct host_report *report)
{
    job_note_usage(j, report);
    j->stage = JOB_LEFT;
    j->drain_ms = clock_ms() + DRAIN_MS;
    fd_close(&j->io.input);
    buf_free(&j->input_queue);
    free_state(j);
    buf_free(&j->control_out);
    finish_if_dry(j);
}

void job_end(struct job *j, enum ssx_outcome why, int64_t now_ms)
{
    if (!j->forced && !j->has_end && j->stage != JOB_LEFT)
        j->forced = why;
    j->deadline_ms = 0;
    if (j->stage == JOB_GATHERING || j->stage == JOB_WAITING) {
        job_refuse(j, "", "");
    } else if (j->stage == JOB_GIVEN) {
        lane_end(j->lane, j, now_ms);
    } else if (j->stage == JOB_RUNNING && !j->ending) {
        j->ending = true;
        j->kill_ms = now_ms + (int64_t)j->call.grace_ms;
        job_signal(j, SIGTERM);
        job_signal(j, SIGCONT); /* a stopped worker can't end */
    }
}

void job_signal(struct job *j, int signal_number)
{
    if (j->stage == JOB_RUNNING)
        host_signal(j->host, j->process, signal_number);
    else if (j->stage == JOB_GIVEN)
        lane_signal(j->lane, j, signal_number);
}

/* --- input --- */

static void grant_input(struct job *j, size_t n)
{
    j->input_used += n;
    if (j->input_used < AGENT_WINDOW / 4 || j->input_ended)
        return;
    j->input_window += j->input_used;
    message_encode(j->out, &(struct message){.kind = MESSAGE_CREDIT, .id = j->id, .credit = j->input_used}, FROM_AGENT);
    j->input_used = 0;
}

static void write_input(struct job *j)
{
    while (buf_length(&j->input_queue)) {
        ssize_t n = write(j->io.input, buf_data(&j->input_queue), buf_length(&j->input_queue));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) { /* the worker doesn't want more; what comes is dropped, as a shell's pipe does */
            size_t dropped = buf_length(&j->input_queue);
            buf_free(&j->input_queue);
            fd_close(&j->io.input);
            grant_input(j, dropped);
            return;
        }
        buf_consume(&j->input_queue, (size_t)n);
        grant_input(j, (size_t)n);
    }
    if (j->input_ended)
        fd_close(&j->io.input);
}

int job_input(struct job *j, const struct message *m, struct ssx_error *err)
{
    size_t n = m->data.bytes.n;
    if (n > j->input_window)
        return error_set(err, SSX_ERROR_PROTOCOL, "INPUT of %zu bytes for call %u, where the window has %zu left", n,
                         (unsigned)j->id, j->input_window);
    j->input_window -= n;
    if (!n)
        j->input_ended = true;
    bool wanted = j->call.input && (j->stage < JOB_RUNNING || j->io.input >= 0);
    if (!wanted)
        grant_input(j, n);
    else if (buf_add(&j->input_queue, m->data.bytes.at, n))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a call's input");
    if (j->io.input >= 0)
        write_input(j);
    return 0;
}

/* --- what the worker says --- */

void job_take_end(struct job *j, const struct message *m)
{
    const struct message_end *e = &m->end;
    if (j->has_end || e->outcome == SSX_OUTCOME_CRASHED || e->outcome == SSX_OUTCOME_TIMEOUT || e->outcome == SSX_OUTCOME_CANCELLED)
        return;
    j->has_end = true;
    span_copy(j->text, sizeof j->text, e->message);
    j->end = (struct message_end){.outcome = e->outcome, .code = e->code,
                                  .wall_us = e->wall_us, .user_us = e->user_us, .sys_us = e->sys_us, .rss_kb = e->rss_kb};
    if (e->outcome == SSX_OUTCOME_REFUSED)
        j->end.reason = span_text("state");
}

enum job_pass job_pass(struct job *j, const struct message *m, const void *frame, size_t length)
{
    size_t cost = message_cost(m);
    if (m->kind < MESSAGE_LOG || m->kind > MESSAGE_STATE)
        return JOB_NONSENSE;
    if (cost > j->window && m->kind != MESSAGE_PROGRESS)
        return JOB_NO_ROOM;
    if (m->kind >= MESSAGE_ITEM && vouch_piece(&j->vouch, m))
        return JOB_NONSENSE;
    if (cost <= j->window && !j->has_end) {
        j->window -= cost;
        buf_add(j->out, frame, length);
    }
    return JOB_PASSED;
}

void job_pass_output(struct job *j, unsigned stream, const void *bytes, size_t n)
{
    j->window -= n;
    *(stream == 1 ? &j->out_bytes : &j->err_bytes) += (uint64_t)n;
    message_encode(
        j->out, &(struct message){.kind = MESSAGE_OUTPUT, .id = j->id, .data = {.stream = stream, .bytes = {bytes, n}}},
        FROM_AGENT);
}

/* A worker can write to its control socket, as to any descriptor of its process: what makes no sense there ends the
 * call. */
static void control_is_broken(struct job *j)
{
    fd_close(&j->io.control);
    buf_free(&j->control_in);
    j->has_end = false;
    j->broken = true;
    job_signal(j, SIGKILL);
    finish_if_dry(j);
}

/* Passes on the frames at the start of control_in, as far as the window goes. Returns false where one doesn't fit
 * now. */
static bool pass_frames(struct job *j)
{
    while (j->io.control >= 0) {
        struct message m;
        enum job_pass rc = JOB_PASSED;
        long length = frame_length(buf_data(&j->control_in), buf_length(&j->control_in), CONTROL_FRAME_MAX, NULL);
        if (length == 0)
            return true;
        if (length < 0 || message_decode(&m, buf_data(&j->control_in), (size_t)length, FROM_AGENT, NULL) || m.id != j->id)
            rc = JOB_NONSENSE;
        else if (m.kind == MESSAGE_END)
            job_take_end(j, &m);
        else
            rc = job_pass(j, &m, buf_data(&j->control_in), (size_t)length);
        if (rc == JOB_NO_ROOM)
            return false;
        if (rc == JOB_NONSENSE)
            control_is_broken(j);
        else
            buf_consume(&j->control_in, (size_t)length);
    }
    return true;
}

/* Returns whether there may be more. */
static bool read_stream(struct job *j, int *fd, unsigned stream)
{
    static unsigned char bytes[DATA_MAX];
    size_t most = j->window < DATA_MAX ? j->window : DATA_MAX;
    ssize_t n = read(*fd, bytes, most);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (n <= 0) {
        fd_close(fd);
        finish_if_dry(j);
        return false;
    }
    j->drain_ms = clock_ms() + DRAIN_MS;
    job_pass_output(j, stream, bytes, (size_t)n);
    return true;
}

/* The worker has said its last word: what it wrote is in its pipes, and they are about to be at their end. */
static void read_rest(struct job *j)
{
    while (j->io.output >= 0 && j->window && read_stream(j, &j->io.output, 1))
        ;
    while (j->io.error >= 0 && j->window && read_stream(j, &j->io.error, 2))
        ;
}

static void pass_control(struct job *j)
{
    bool had_end = j->has_end;
    pass_frames(j);
    if (j->has_end && !had_end)
        read_rest(j);
    if (j->has_end && j->stage < JOB_DONE)
        finish_if_dry(j);
}

/* More room may let frames pass that were read before; what a pipe held back meanwhile gets its time too. */
void job_credit(struct job *j, uint64_t bytes)
{
    if (!j->window)
        j->drain_ms = clock_ms() + DRAIN_MS;
    j->window = bytes > SIZE_MAX / 2 - j->window ? SIZE_MAX / 2 : j->window + (size_t)bytes;
    if (j->stage == JOB_GIVEN)
        lane_go_on(j->lane);
    else
        pass_control(j);
}

static bool has_room(const struct job *j) { return buf_length(j->out) < OUT_HIGH; }

static void read_control(struct job *j)
{
    if (!pass_frames(j) || j->io.control < 0 || !has_room(j))
        return;
    unsigned char *at = buf_reserve(&j->control_in, CONTROL_FRAME_MAX);
    ssize_t n = at ? recv(j->io.control, at, CONTROL_FRAME_MAX, 0) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n > 0) {
        j->control_in.end += (size_t)n;
        j->drain_ms = clock_ms() + DRAIN_MS;
        pass_control(j);
    } else {
        fd_close(&j->io.control);
        finish_if_dry(j);
    }
}

/* --- the loop's side --- */

static bool has_frame_waiting(const struct job *j)
{
    return frame_length(buf_data(&j->control_in), buf_length(&j->control_in), CONTROL_FRAME_MAX, NULL) > 0;
}

size_t job_poll(const struct job *j, struct pollfd *out)
{
    size_t n = 0;
    bool room = has_room(j);
    bool order = buf_length(&j->control_out) || j->state_sent < buf_length(&j->state);
    bool read = room && (!has_frame_waiting(j) || j->window >= DATA_MAX);
    if (j->io.control >= 0 && (read || (order && j->stage == JOB_RUNNING)))
        out[n++] = (struct pollfd){.fd = j->io.control, .events = (short)((read ? POLLIN : 0) | (order ? POLLOUT : 0))};
    if (j->io.output >= 0 && room && j->window)
        out[n++] = (struct pollfd){.fd = j->io.output, .events = POLLIN};
    if (j->io.error >= 0 && room && j->window)
        out[n++] = (struct pollfd){.fd = j->io.error, .events = POLLIN};
    if (j->io.input >= 0 && (buf_length(&j->input_queue) || j->input_ended))
        out[n++] = (struct pollfd){.fd = j->io.input, .events = POLLOUT};
    return n;
}

void job_handle(struct job *j, const struct pollfd *fds, size_t n)
{
    for (size_t i = 0; i < n && j->stage < JOB_DONE; i++) {
        if (!fds[i].revents)
            continue;
        if (fds[i].fd == j->io.output && j->window)
            read_stream(j, &j->io.output, 1);
        else if (fds[i].fd == j->io.error && j->window)
            read_stream(j, &j->io.error, 2);
        else if (fds[i].fd == j->io.input)
            write_input(j);
        else if (fds[i].fd == j->io.control) {
            if (fds[i].revents & POLLOUT)
                write_control(j);
            if (fds[i].revents & ~POLLOUT)
                read_control(j);
        }
    }
}

/* The drain's clock runs only while nothing but the far end of a pipe holds things up. */
static bool is_draining(const struct job *j) { return j->stage == JOB_LEFT && j->window && has_room(j); }

int64_t job_next_ms(const struct job *j)
{
    int64_t next = INT64_MAX;
    if (j->ending && !j->killed && j->stage == JOB_RUNNING && j->kill_ms < next)
        next = j->kill_ms;
    if (j->killed && j->stage == JOB_RUNNING && j->kill_ms + JOB_REPORT_MS < next)
        next = j->kill_ms + JOB_REPORT_MS;
    if (is_draining(j) && j->drain_ms < next)
        next = j->drain_ms;
    return next;
}

bool job_is_stuck(const struct job *j, int64_t now_ms)
{
    return j->killed && j->stage == JOB_RUNNING && now_ms >= j->kill_ms + JOB_REPORT_MS;
}

void job_tick(struct job *j, int64_t now_ms)
{
    if (j->ending && !j->killed && j->stage == JOB_RUNNING && now_ms >= j->kill_ms) {
        j->killed = true;
        job_signal(j, SIGKILL);
    }
    if (is_draining(j) && now_ms >= j->drain_ms) {
        j->truncated = j->io.output >= 0 || j->io.error >= 0;
        fd_close(&j->io.control);
        fd_close(&j->io.output);
        fd_close(&j->io.error);
        finish_if_dry(j);
    }
}
