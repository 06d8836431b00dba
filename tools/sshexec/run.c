/* sshexec run: one call of one type on one host. */
#include "interrupt.h"
#include "node_type.h"
#include "report.h"
#include "show_type.h"
#include "state_out.h"
#include "tool.h"
#include "words.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CANCEL_MS 2500 /* how long after Ctrl-C the agent has to say how the call ended */

struct run {
    struct settings settings;
    struct type type;
    struct reach reach;
    struct report report;
    const char *name;                /* of the type, as it was given */
    const char *host;                /* NULL: this machine */
    int interrupt_fd;
    bool is_open;                    /* the reach */
    uint32_t call;
    struct buf state;                /* what came back, if somebody wants it */
    bool input, output_broken;
    int64_t give_up_ms;              /* after a cancel; 0: not cancelled */
    int interrupts;                  /* of which the loop has taken note */
    bool done;
    int code;
};

static void cancel(struct run *r, const char *why)
{
    struct link *link = &r->reach.link;
    if (!r->give_up_ms && client_is_ready(link->client)) {
        client_cancel(link->client, r->call);
        r->give_up_ms = clock_ms() + CANCEL_MS;
    } else {
        link_fail(link, why);
    }
}

/* Input goes to the worker as fast as its window allows. */
static void read_input(struct run *r)
{
    unsigned char bytes[DATA_MAX];
    size_t room = client_input_room(r->reach.link.client, r->call);
    ssize_t n = read(STDIN_FILENO, bytes, room < sizeof bytes ? room : sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        client_input(r->reach.link.client, r->call, bytes, (size_t)n);
        return;
    }
    client_input_end(r->reach.link.client, r->call);
    r->input = false;
}

static void keep_state(struct run *r)
{
    struct ssx_error err = {0};
    if (state_out_write(r->settings.state_out, &r->type.plugin.descriptor, buf_data(&r->state), r->state.failed ? 0 : buf_length(&r->state), &err))
        r->code = tool_complain(&err);
}

static void take_end(struct run *r, const struct message_end *e)
{
    char reason[32];
    r->code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal, span_copy(reason, sizeof reason, e->reason));
    if (interrupt_signal())
        r->code = EXIT_SIGNAL + interrupt_signal();
    if (r->settings.state_out && e->outcome == SSX_OUTCOME_OK)
        keep_state(r);
    r->done = true;
}

static void take_message(struct run *r, const struct message *m)
{
    reach_message(&r->reach, &r->settings, m);
    if (m->kind == MESSAGE_HELLO)
        return;
    if (!r->output_broken && report_message(&r->report, m)) {
        r->output_broken = true; /* nobody reads what we print: the call is of no use any more */
        cancel(r, "stdout is closed");
    }
    if (m->kind == MESSAGE_STATE && r->settings.state_out)
        buf_add(&r->state, m->data.bytes.at, m->data.bytes.n);
    client_consumed(r->reach.link.client, m->id, message_cost(m));
    if (m->kind == MESSAGE_END && m->id == r->call)
        take_end(r, &m->end);
}

static void take_messages(struct run *r, struct ssx_error *err)
{
    struct message m;
    int rc;
    while (!r->done && (rc = client_next(r->reach.link.client, &m, err)) != 0) {
        if (rc > 0) {
            take_message(r, &m);
        } else {
            link_explain(&r->reach.link, err);
            link_fail(&r->reach.link, err->text);
        }
    }
}

static void take_interrupts(struct run *r)
{
    if (interrupt_count() == r->interrupts)
        return;
    r->interrupts = interrupt_count();
    cancel(r, "interrupted");
}

static void wait_for_something(struct run *r)
{
    struct pollfd fds[TRANSPORT_FDS + 2];
    bool input = r->input && client_input_room(r->reach.link.client, r->call) > 0;
    size_t n = link_poll(&r->reach.link, true, fds);
    int64_t left = r->give_up_ms - clock_ms();
    fds[n] = (struct pollfd){.fd = r->interrupts ? -1 : r->interrupt_fd, .events = POLLIN};
    fds[n + 1] = (struct pollfd){.fd = input ? STDIN_FILENO : -1, .events = POLLIN};
    poll(fds, n + 2, r->give_up_ms ? (left > 0 ? (int)left : 0) : -1);
    if (input && fds[n + 1].revents)
        read_input(r);
}

static void converse(struct run *r)
{
    struct ssx_error err = {0};
    for (;;) {
        take_messages(r, &err);
        if (r->done)
            return;
        take_interrupts(r);
        if (r->give_up_ms && clock_ms() >= r->give_up_ms)
            link_fail(&r->reach.link, "the agent didn't answer the cancel");
        int rc = link_step(&r->reach.link, true, &err);
        if (rc < 0) {
            link_explain(&r->reach.link, &err);
            link_fail(&r->reach.link, err.text);
        }
        if (rc == 0 && !r->reach.link.ended)
            wait_for_something(r);
    }
}

static int open_call(struct run *r, const struct buf *state, struct ssx_error *err)
{
    const struct descriptor *d = &r->type.plugin.descriptor;
    struct client_request request = {.type = d->type, .state = buf_data(state), .state_size = buf_length(state), .digest = r->type.image ? &r->type.digest : NULL,
                                     .object = r->type.image, .object_size = r->type.size, .exact = r->type.exact,
                                     .timeout_ms = (uint64_t)r->settings.timeout_ms, .input = r->input};
    return client_call(r->reach.link.client, &r->call, &request, err);
}

/* Returns 0 or the exit code. */
static int open_reach(struct run *r)
{
    struct ssx_error err = {0};
    r->is_open = reach_open(&r->reach, &r->settings, r->host, r->interrupt_fd, &err) == 0;
    if (r->is_open)
        return 0;
    struct message m = {.kind = MESSAGE_END, .id = 1, .end = {.outcome = SSX_OUTCOME_UNREACHABLE, .message = span_text(err.text)}};
    if (r->settings.json && error_exit_code(err.code) == EXIT_UNREACHABLE)
        report_message(&r->report, &m);
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}

static void start_report(struct run *r)
{
    report_init(&r->report, r->name, r->host ? r->host : "local", &r->type.plugin.descriptor);
    r->report.json = r->settings.json;
    r->report.quiet = r->settings.quiet;
    r->report.verbose = r->settings.verbose;
    if (r->settings.state_out && strcmp(r->settings.state_out, "-") == 0)
        r->report.out_fd = STDERR_FILENO;
}

static int call(struct run *r, const struct buf *state)
{
    struct ssx_error err = {0};
    start_report(r);
    r->interrupt_fd = interrupt_watch();
    int code = r->is_open ? 0 : open_reach(r);
    if (code)
        return code;
    if (open_call(r, state, &err))
        r->code = tool_complain(&err);
    else
        converse(r);
    report_free(&r->report);
    buf_free(&r->state);
    if (r->output_broken && !interrupt_signal()) { /* as any filter that loses its reader */
        reach_close(&r->reach);
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return r->code;
}

/* The type, from here or else from the node. Returns 0 or the exit code. */
static int open_type(struct run *r, char **words, int count)
{
    struct ssx_error err = {0};
    if (type_open(&r->type, r->name, r->settings.plugin_path, &err) == 0)
        return 0;
    r->host = words_host(words, count);
    if (err.code != SSX_ERROR_UNKNOWN_TYPE || !text_is_type_name(r->name) || !r->host)
        return tool_complain(&err);
    start_report(r);
    r->interrupt_fd = interrupt_watch();
    int code = open_reach(r);
    if (code == 0)
        code = node_type_open(&r->type, &r->reach, &r->settings, r->host, r->name, r->interrupt_fd, &err);
    interrupt_unwatch(); /* the state may be read from a terminal next */
    return code;
}

static int run_type(struct run *r, char **words, int count, char **rest)
{
    struct ssx_error err = {0};
    struct buf state = {0};
    bool read_stdin;
    int code;
    const struct descriptor *d = &r->type.plugin.descriptor;
    if ((r->settings.state_out && state_out_check(r->settings.state_out, r->settings.json, d, &err)) ||
        words_parse(&state, &r->host, &read_stdin, d, words, count, rest, r->settings.state_file, &err) || (!r->host && type_fits_here(&r->type, &err))) {
        code = tool_complain(&err);
    } else {
        r->input = (d->traits & TRAIT_TAKES_INPUT) && !r->settings.no_input && !read_stdin;
        code = call(r, &state);
    }
    buf_free(&state);
    return code;
}

int command_run(int argc, char **argv)
{
    static struct run r; /* lives as long as the command */
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    unsigned groups = OPTIONS_SSH | OPTIONS_CALL | OPTIONS_JSON | OPTIONS_PLUGINS;
    if (tool_start(&r.settings, groups, "usage: sshexec run [options] TYPE [HOST] [field=value ...] [-- WORD ...]\n\n"
                   "Runs the worker TYPE (a name, or the path of a plugin) on HOST, or on this machine.\n\n"
                   "  field=text    typed by the schema; again for a list: one more element\n"
                   "  field:=JSON   a whole value      field=@FILE  text from a file (@@: a literal @)\n"
                   "  -- WORD ...   for the type's `rest` field\n\n"
                   "sshexec run TYPE --help shows the fields of a type.", argc, argv, &words, &count, &rest, &code))
        return code;
    if (!count) {
        error_set(&err, SSX_ERROR_USAGE, "run what? sshexec run TYPE [HOST] [field=value ...] (sshexec list shows the types)");
        return tool_complain(&err);
    }
    r.name = words[0];
    code = open_type(&r, words + 1, count - 1);
    if (code == 0 && r.settings.help) {
        show_type(&r.type.plugin.descriptor);
        settings_print_options(groups);
    } else if (code == 0) {
        code = run_type(&r, words + 1, count - 1, rest);
    }
    if (r.is_open)
        reach_close(&r.reach);
    type_close(&r.type);
    return code;
}
