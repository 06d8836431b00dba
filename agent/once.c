#include "once.h"

#include "runner.h"
#include "sink.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/ending.h"
#include "wire/outcome.h"
#include "wire/workload.h"
#include "worker/plugin.h"
#include "worker/show.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW (256u << 10)            /* of the worker's output that may wait for our readers */
#define CREDIT_BELOW (64u << 10)       /* with less than this waiting, the worker may go on */
#define CALL_ID 1

struct once {
    struct runner runner;
    struct image *image;               /* held; NULL: refused */
    struct plugin plugin;              /* read again from it, once there is a value to show; its path NULL: not yet */
    char type[TYPE_NAME_MAX + 2];
    bool show_output, show_result;     /* what the type shows, as `sshexec run` */
    bool input;                        /* stdin has more for the worker */
    struct sink out, err, place;       /* place: the result's own */
    struct sink *result_to;            /* NULL: nowhere */
    struct buf frames;                 /* what the job says */
    size_t owed;                       /* credit that it gets once there is room */
    struct buf item, result;
    unsigned stops;                    /* signals that were acted on */
    bool given_up;                     /* nobody reads stdout */
    bool ended;
    int code;
};

static int complain(const struct ssx_error *err)
{
    fprintf(stderr, "sshexec-agent: %s\n", err->text);
    return error_exit_code(err->code);
}

/* --- what the worker says --- */

/* The schemas are read again from the plugin that runs: nobody else in the agent needs them. NULL where that fails. */
static const struct descriptor *schemas(struct once *o)
{
    off_t size = o->plugin.path ? 0 : lseek(o->image->fd, 0, SEEK_END);
    void *at = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, o->image->fd, 0) : MAP_FAILED;
    if (at != MAP_FAILED) {
        plugin_inspect(&o->plugin, o->image->type, at, (size_t)size, NULL, NULL, NULL);
        munmap(at, (size_t)size);
    }
    return o->plugin.path ? &o->plugin.descriptor : NULL;
}

static void add_json(struct sink *sink, const struct schema_struct *s, const struct buf *value)
{
    struct buf line = {0};
    if (value_show_json(&line, s, buf_data(value), buf_length(value)) == 0 && buf_add_text(&line, "\n") == 0)
        sink_add(sink, buf_data(&line), buf_length(&line));
    buf_free(&line);
}

static void take_item(struct once *o, const struct message *m)
{
    buf_add(&o->item, m->data.bytes.at, m->data.bytes.n);
    if (m->data.more)
        return;
    const struct descriptor *d = schemas(o);
    add_json(&o->out, d ? d->items : NULL, &o->item);
    buf_free(&o->item);
}

static void take_log(struct once *o, const struct message *m)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    char text[4200], line[4400];
    if (m->log.level == 0)
        return;
    text_escape(text, sizeof text, m->log.text.at, m->log.text.n);
    int n = snprintf(line, sizeof line, "%s: %s: %s\n", o->type, levels[m->log.level], text);
    sink_add(&o->err, line, (size_t)n);
}

static void show_result(struct once *o)
{
    const struct descriptor *d = schemas(o);
    add_json(o->result_to, d ? d->result : NULL, &o->result);
}

static void say(struct once *o, const char *text)
{
    char line[SSX_ERROR_TEXT + 128];
    int n = snprintf(line, sizeof line, "sshexec-agent: %s: %s\n", o->type, text);
    sink_add(&o->err, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* One line for an end that isn't ok; a program's exit code speaks for itself. */
static void take_end(struct once *o, const struct message_end *e)
{
    char text[SSX_ERROR_TEXT], reason[32];
    o->ended = true;
    o->code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal, span_copy(reason, sizeof reason, e->reason));
    if (o->runner.stop_signal)
        o->code = EXIT_SIGNAL + o->runner.stop_signal;
    if (o->given_up)
        return;
    if (buf_length(&o->result) && o->result_to)
        show_result(o);
    if (e->truncated)
        say(o, ENDING_TRUNCATED);
    if (e->outcome != SSX_OUTCOME_OK && (e->outcome != SSX_OUTCOME_FAILED || e->message.n || o->show_result))
        say(o, ending_describe(text, sizeof text, e));
}

static void take_message(struct once *o, const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_OUTPUT:
        if (m->data.stream != 1)
            sink_add(&o->err, m->data.bytes.at, m->data.bytes.n);
        else if (o->show_output)
            sink_add(&o->out, m->data.bytes.at, m->data.bytes.n);
        break;
    case MESSAGE_LOG: take_log(o, m); break;
    case MESSAGE_ITEM: take_item(o, m); break;
    case MESSAGE_RESULT: buf_add(&o->result, m->data.bytes.at, m->data.bytes.n); break;
    case MESSAGE_END: take_end(o, &m->end); break;
    default: break;
    }
    o->owed += message_cost(m);
}

/* Decodes what the job has said, and lets it say more where our readers keep up. */
static void take_frames(struct once *o)
{
    struct message m;
    for (;;) {
        long length = frame_length(buf_data(&o->frames), buf_length(&o->frames), FRAME_MAX, NULL);
        struct job *j = runner_find(&o->runner, CALL_ID);
        if (length > 0 && message_decode(&m, buf_data(&o->frames), (size_t)length, FROM_AGENT, NULL) == 0)
            take_message(o, &m);
        if (length > 0) {
            buf_consume(&o->frames, (size_t)length);
        } else if (j && o->owed && buf_length(&o->out.queue) + buf_length(&o->err.queue) < CREDIT_BELOW) {
            job_credit(j, o->owed);
            o->owed = 0;
        } else {
            return;
        }
    }
}

/* --- what goes to the worker --- */

/* How much of stdin it takes now. */
static size_t input_room(const struct once *o)
{
    const struct job *j = runner_find(&o->runner, CALL_ID);
    return !j || !o->input ? 0 : j->input_window < DATA_MAX ? j->input_window : DATA_MAX;
}

static void read_input(struct once *o)
{
    unsigned char bytes[DATA_MAX];
    struct job *j = runner_find(&o->runner, CALL_ID);
    ssize_t n = read(STDIN_FILENO, bytes, input_room(o));
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    o->input = n > 0;
    job_input(j, &(struct message){.kind = MESSAGE_INPUT, .id = CALL_ID, .data = {.bytes = {bytes, n > 0 ? (size_t)n : 0}}}, NULL);
}

/* The first signal asks, with the usual grace; a second one doesn't. */
static void take_stops(struct once *o)
{
    if (o->stops == o->runner.stops)
        return;
    runner_cancel(&o->runner, clock_ms() + (o->stops ? 0 : LEAVE_MS));
    o->stops = o->runner.stops;
}

/* Without a reader the call is of no use any more. */
static void watch_reader(struct once *o)
{
    if (!o->out.failure || o->given_up)
        return;
    o->given_up = true;
    runner_cancel(&o->runner, clock_ms() + LEAVE_MS);
}

static void turn(struct once *o)
{
    static struct polling p;
    p.n = 0;
    size_t in = polling_add(&p, input_room(o) ? STDIN_FILENO : -1, POLLIN);
    size_t out = polling_add(&p, o->out.fd, sink_events(&o->out)), err = polling_add(&p, o->err.fd, sink_events(&o->err));
    runner_poll(&o->runner, &p);
    polling_wait(&p, &o->runner, INT64_MAX);
    sink_handle(&o->out, p.fds[out].revents);
    sink_handle(&o->err, p.fds[err].revents);
    watch_reader(o);
    if (p.fds[in].revents)
        read_input(o);
    runner_handle(&o->runner, &p);
    take_stops(o);
    runner_tick(&o->runner);
    take_frames(o);
}

/* --- from the workload to the exit code --- */

/* Input is for types that take some, behind a workload that says where it ends. */
static void prepare(struct once *o, struct message *m, const struct workload *w, enum workload_form form)
{
    bool missing;
    struct refusal why = {.reason = ""};
    m->call = (struct message_call){.type = w->type,
                                    .state_size = w->state.n,
                                    .state = w->state,
                                    .timeout_ms = w->timeout_ms,
                                    .grace_ms = GRACE_MS_DEFAULT,
                                    .has_object = w->has_digest,
                                    .exact = w->has_digest,
                                    .digest = w->digest};
    span_copy(o->type, sizeof o->type, w->type);
    o->image = image_hold(plugins_find(o->runner.plugins, &m->call, &missing, &why));
    uint32_t traits = o->image ? o->image->traits : 0;
    o->show_output = trait_shows_output(traits);
    o->show_result = trait_shows_result(traits);
    o->input = m->call.input = form == WORKLOAD_PREFIXED && (traits & TRAIT_TAKES_INPUT);
}

static void start(struct once *o, const struct workload *w, enum workload_form form)
{
    char text[128], digest[DIGEST_HEX + 1];
    struct message m = {.kind = MESSAGE_CALL, .id = CALL_ID};
    prepare(o, &m, w, form);
    struct job *j = runner_call(&o->runner, &m, WINDOW, &o->frames);
    if (!j) {
        struct message_end end = {.outcome = SSX_OUTCOME_REFUSED,
                                  .reason = span_text("busy"),
                                  .message = span_text("out of memory for the call")};
        take_end(o, &end);
    } else if (j->needs_object) {
        digest_hex(digest, &w->digest);
        snprintf(text, sizeof text, "this host has no plugin with the digest %.12s..., which the workload asks for", digest);
        job_refuse(j, "object", text);
    }
}

static int open_place(struct once *o, const struct once_options *options, struct ssx_error *err)
{
    o->place.fd = options->result_fd;
    if (options->result_file)
        o->place.fd = open(options->result_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
    if (options->result_file && o->place.fd < 0)
        return error_system(err, "--result %s", options->result_file);
    if (o->place.fd > 2 && fd_set_cloexec(o->place.fd, true))
        return error_system(err, "--result-fd %d", o->place.fd);
    return 0;
}

static int read_workload(struct buf *bytes, struct workload *w, enum workload_form *form, struct ssx_error *err)
{
    if (isatty(STDIN_FILENO))
        return error_set(
            err, SSX_ERROR_USAGE,
            "a workload is expected on stdin, which is a terminal (sshexec encode TYPE ... | sshexec-agent --once)");
    return workload_read(bytes, form, STDIN_FILENO, "stdin", err) || workload_decode(w, buf_data(bytes), buf_length(bytes), err) ? -1 : 0;
}

/* From here on signals do what they do to any program: nothing runs any more. */
static void default_signals(void)
{
    sigset_t set;
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* What is still to be written, and what couldn't be. Returns the exit code. */
static int finish(struct once *o)
{
    struct { struct sink *sink; const char *name; } outputs[] = {{&o->out, "stdout"}, {&o->place, "the result"}, {&o->err, "stderr"}};
    struct ssx_error err = {0};
    default_signals();
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        sink_drain(outputs[i].sink);
    if (o->runner.stop_signal)
        return o->code;
    if (o->out.failure == EPIPE)
        raise(SIGPIPE);
    for (size_t i = 0; i < 2; i++)
        if (outputs[i].sink->failure) {
            errno = outputs[i].sink->failure;
            error_system(&err, "can't write %s", outputs[i].name);
            return complain(&err);
        }
    return o->code;
}

static void run(struct once *o, const struct once_options *options, const struct workload *w, enum workload_form form)
{
    start(o, w, form);
    o->result_to = options->no_result ? NULL : o->place.fd >= 0 ? &o->place : o->show_result ? &o->out : NULL;
    take_frames(o);
    while (!o->ended)
        turn(o);
}

int once_run(struct plugins *plugins, const struct once_options *options)
{
    static struct once o = {.out = {.fd = STDOUT_FILENO}, .err = {.fd = STDERR_FILENO}};
    struct workload w;
    struct buf bytes = {0};
    struct ssx_error err = {0};
    enum workload_form form;
    if (fd_hold_standard())
        return EXIT_USAGE;
    if (open_place(&o, options, &err) || read_workload(&bytes, &w, &form, &err)) {
        buf_free(&bytes);
        return complain(&err);
    }
    runner_open(&o.runner, plugins);
    run(&o, options, &w, form);
    runner_close(&o.runner);
    image_release(o.image);
    plugin_dispose(&o.plugin);
    buf_free(&bytes);
    buf_free(&o.frames);
    buf_free(&o.item);
    buf_free(&o.result);
    return finish(&o);
}
