/* sshexec test: one call of a plugin on this machine, with all that can be checked about it said: its descriptor, its
 * selftest, how the call ended, whether the result fits the declared fields, what it cost and how it was protected. The
 * report goes to stderr; stdout has what `sshexec run` prints. */
#include "conversation.h"
#include "in_process.h"
#include "interrupt.h"
#include "report.h"
#include "show_type.h"
#include "state_out.h"
#include "tool.h"
#include "types.h"
#include "words.h"

#include "base/error.h"
#include "wire/ending.h"
#include "wire/outcome.h"
#include "worker/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VALGRIND_FOUND 99 /* valgrind's exit code where it found errors */
#define TOOL_WORDS_MAX (LIST_MAX + 16)

struct test {
    struct settings settings;
    struct type type;
    struct report report;            /* of a call in one process */
    struct buf result, state;        /* what came back */
    bool has_result, ended, selftest;
    char ending[SSX_ERROR_TEXT], sandbox[160];
    struct message_end end;          /* its texts are gone: only the numbers are used */
    char selftest_reason[32];
    int code;
};

/* --- the report --- */

static void row(const struct test *t, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void row(const struct test *t, const char *name, const char *format, ...)
{
    va_list ap;
    if (t->settings.quiet)
        return;
    va_start(ap, format);
    fprintf(stderr, "%-10s ", name);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static void take_end(struct test *t, const struct message_end *e)
{
    char reason[32];
    t->ended = true;
    t->end = *e;
    t->code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal, span_copy(reason, sizeof reason, e->reason));
    ending_describe(t->ending, sizeof t->ending, e);
    span_copy(t->sandbox, sizeof t->sandbox, e->sandbox);
    span_copy(t->selftest_reason, sizeof t->selftest_reason, e->reason);
}

static void note(struct test *t, const struct message *m)
{
    if (m->kind == MESSAGE_RESULT) {
        buf_free(&t->result);
        t->has_result = buf_add(&t->result, m->data.bytes.at, m->data.bytes.n) == 0;
    } else if (m->kind == MESSAGE_STATE) {
        buf_free(&t->state);
        buf_add(&t->state, m->data.bytes.at, m->data.bytes.n);
    } else if (m->kind == MESSAGE_END) {
        take_end(t, &m->end);
    }
}

/* Returns 0, or -1 where the result breaks what the descriptor promises. */
static int report_result(struct test *t)
{
    struct ssx_error err = {0};
    const struct descriptor *d = &t->type.plugin.descriptor;
    if (!t->has_result) {
        row(t, "result", "none");
    } else if (state_check(d, d->result, buf_data(&t->result), buf_length(&t->result), &err)) {
        error_prefix(&err, "the result doesn't fit the declared fields");
        tool_complain(&err);
        return -1;
    } else {
        row(t, "result", "fits the declared fields, %zu bytes", buf_length(&t->result));
    }
    return 0;
}

static int report_call(struct test *t)
{
    const struct message_end *e = &t->end;
    if (!t->ended)
        return t->code;
    row(t, "outcome", "%s, exit code %d", e->outcome == SSX_OUTCOME_OK ? "ok" : t->ending, t->code);
    int rc = report_result(t);
    if (buf_length(&t->state))
        row(t, "state", "came back, %zu bytes", buf_length(&t->state));
    if (e->has_digest)
        row(t, "time", "%.1f ms (%.1f ms user, %.1f ms system), %llu KiB of memory", (double)e->wall_us / 1000,
            (double)e->user_us / 1000, (double)e->sys_us / 1000, (unsigned long long)e->rss_kb);
    row(t, "sandbox", "%s%s", *t->sandbox ? t->sandbox : "none", t->settings.test_way == TEST_AS_ON_A_NODE ? "" : " (in one process)");
    return t->code == 0 && rc ? EXIT_REFUSED : t->code;
}

/* --- what both ways share --- */

/* Shows a message of the call; of a selftest, what it has logged. */
static int take_message(void *user, const struct message *m)
{
    struct test *t = user;
    note(t, m);
    return t->selftest && m->kind != MESSAGE_LOG ? 0 : report_message(&t->report, m);
}

static void start_report(struct test *t)
{
    const struct descriptor *d = &t->type.plugin.descriptor;
    report_init(&t->report, d->type, "local", d);
    t->report.show_output = true;
    t->report.json = t->settings.json;
    t->report.quiet = t->settings.quiet;
    t->report.verbose = t->settings.verbose;
    if (t->settings.state_out && strcmp(t->settings.state_out, "-") == 0)
        t->report.out_fd = STDERR_FILENO;
}

/* Returns the exit code. */
static int conclude_call(struct test *t)
{
    struct ssx_error err = {0};
    report_free(&t->report);
    if (t->settings.state_out && t->ended && t->end.outcome == SSX_OUTCOME_OK &&
        state_out_write(t->settings.state_out, &t->type.plugin.descriptor, buf_data(&t->state), buf_length(&t->state), &err))
        t->code = tool_complain(&err);
    return report_call(t);
}

/* --- in one process --- */

static const char *const *tool_words(const struct test *t)
{
    static const char *words[TOOL_WORDS_MAX];
    static const char *const gdb[] = {
        "gdb", "-q",         "-iex", "set breakpoint pending on", "-iex", "set startup-with-shell off",
        "-ex", "tbreak run", NULL};
    static const char *const valgrind[] = {
        "valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", NULL};
    static const char *const none[] = {NULL};
    const char *const *tool = t->settings.test_way == TEST_GDB ? gdb : t->settings.test_way == TEST_VALGRIND ? valgrind : none;
    size_t n = 0;
    for (size_t i = 0; tool[i]; i++)
        words[n++] = tool[i];
    for (size_t i = 0; i < t->settings.tool_arg_count; i++)
        words[n++] = t->settings.tool_args[i];
    if (t->settings.test_way == TEST_GDB)
        words[n++] = "--args";
    words[n] = NULL;
    return words;
}

/* For a process that said nothing of an end: killed by a signal, or left on its own. */
static void conclude(struct test *t, int status)
{
    struct message_end crashed = {.outcome = SSX_OUTCOME_CRASHED, .signal = WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0};
    if (t->settings.test_way == TEST_GDB) {
        t->code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
        row(t, "outcome", "none: gdb was left before the call had ended");
        return;
    }
    struct message m = {.kind = MESSAGE_END, .id = 1, .end = crashed};
    take_message(t, &m);
}

static int call_in_process(struct test *t, const struct buf *state)
{
    struct ssx_error err = {0};
    struct in_process p = {.type = &t->type,
                           .tool = tool_words(t),
                           .what = "call",
                           .state = state,
                           .timeout_ms = t->settings.timeout_ms,
                           .take = take_message,
                           .user = t};
    start_report(t);
    int rc = in_process_run(&p, &err);
    if (rc == 0 && !p.ended)
        conclude(t, p.status);
    int code = conclude_call(t);
    if (rc)
        return tool_complain(&err);
    if (t->settings.test_way != TEST_VALGRIND || !WIFEXITED(p.status) || WEXITSTATUS(p.status) != VALGRIND_FOUND)
        return code;
    error_set(&err, SSX_ERROR_REFUSED, "valgrind found errors (above)");
    return code ? code : tool_complain(&err);
}

/* --- as on a node --- */

/* Part of the plugin's own code, so it runs in a process of its own. Returns the exit code. */
static int selftest(struct test *t)
{
    static const char *const no_tool[] = {NULL};
    struct ssx_error err = {0};
    struct buf nothing = {0};
    buf_add(&nothing, "\x80", 1); /* an order has a state; this one is not looked at */
    struct in_process p = {.type = &t->type, .tool = no_tool, .what = "selftest", .state = &nothing, .take = take_message, .user = t};
    t->selftest = true;
    start_report(t);
    int rc = in_process_run(&p, &err);
    if (rc == 0 && !p.ended)
        conclude(t, p.status);
    report_free(&t->report);
    buf_free(&nothing);
    t->selftest = t->ended = false;
    if (rc)
        return tool_complain(&err);
    if (t->code == 0)
        row(t, "selftest", "%s", strcmp(t->selftest_reason, "none") == 0 ? "none" : "ok");
    else
        fprintf(stderr, "sshexec: loading %s and its selftest: %s\n", t->type.plugin.descriptor.type, t->ending);
    return t->code;
}

static int call_as_on_a_node(struct test *t, const struct buf *state, bool input)
{
    int code = selftest(t);
    if (code)
        return code;
    struct reach reach;
    struct conversation c = {.settings = &t->settings,
                             .reach = &reach,
                             .type = &t->type,
                             .interrupt_fd = interrupt_watch(),
                             .input_fd = input ? STDIN_FILENO : -1,
                             .show = take_message,
                             .user = t};
    start_report(t);
    code = conversation_open(&c, NULL);
    if (code)
        return code;
    t->code = conversation_hold(&c, buf_data(state), buf_length(state));
    reach_close(&reach);
    return conclude_call(t);
}

/* --- the command --- */

static int check(struct test *t, struct ssx_error *err)
{
    const struct descriptor *d = &t->type.plugin.descriptor;
    if (type_fits_here(&t->type, err) || descriptor_check(d, err))
        return error_prefix(err, "%s", t->type.plugin.path);
    row(t, "check", "ok: %s %s, ABI %u.%u, schema %s", d->type, d->version, d->abi_major, d->abi_minor, d->schema_digest);
    return 0;
}

static int test_type(struct test *t, char **words, int count, char **rest)
{
    struct ssx_error err = {0};
    struct buf state = {0};
    bool read_stdin;
    const char *host;
    const struct descriptor *d = &t->type.plugin.descriptor;
    t->type.exact = true; /* this file, whatever else has its name */
    int rc = words_parse(&state, &host, &read_stdin, d, words, count, rest, t->settings.state_file, &err);
    if (rc == 0 && host)
        rc = error_set(&err, SSX_ERROR_USAGE, "%s: a test runs on this machine; sshexec run %s %s ... goes to a host",
                       host, t->type.plugin.path, host);
    if (rc == 0)
        rc = check(t, &err);
    if (rc == 0 && t->settings.state_out)
        rc = state_out_check(t->settings.state_out, t->settings.json, d, &err);
    int code =
        rc ? tool_complain(&err)
        : t->settings.test_way == TEST_AS_ON_A_NODE
            ? call_as_on_a_node(t, &state, (d->traits & TRAIT_TAKES_INPUT) && !t->settings.no_input && !read_stdin)
            : call_in_process(t, &state);
    buf_free(&state);
    buf_free(&t->result);
    buf_free(&t->state);
    return code;
}

int command_test(int argc, char **argv)
{
    static struct test t; /* large */
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    unsigned groups = OPTIONS_TEST | OPTIONS_CALL | OPTIONS_JSON | OPTIONS_PLUGINS;
    if (tool_start(&t.settings, groups, "usage: sshexec test [options] PLUGIN [field=value ...] [-- WORD ...]\n\n"
                   "Runs PLUGIN (the path of a plugin, or a type's name) here, in the process and sandbox that it has\n"
                   "on a node, and says on stderr what there is to say: whether its descriptor is sound, its selftest,\n"
                   "how the call ended, whether the result fits, what it cost, how it was protected.\n"
                   "Fields, output and exit code are those of sshexec run.", argc, argv, &words, &count, &rest, &code))
        return code;
    if (!count)
        error_set(&err, SSX_ERROR_USAGE, "test what? sshexec test ./PLUGIN.so [field=value ...]");
    if (!count || type_open(&t.type, words[0], t.settings.plugin_path, &err))
        return tool_complain(&err);
    if (t.settings.help) {
        show_type(&t.type.plugin.descriptor);
        settings_print_options(groups);
        code = 0;
    } else {
        code = test_type(&t, words + 1, count - 1, rest);
    }
    type_close(&t.type);
    return code;
}
