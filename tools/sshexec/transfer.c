#include "transfer.h"

#include "conversation.h"
#include "fan_hosts.h"
#include "interrupt.h"
#include "progress_line.h"
#include "report.h"
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "worker/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIPE_BYTES (1 << 20) /* between the halves, as much as a call may have under way */
#define GROUPS (OPTIONS_SETS | OPTIONS_ROLLING | OPTIONS_SSH | OPTIONS_TRANSFER | OPTIONS_JSON | OPTIONS_PLUGINS)

struct joint {
    const struct settings *settings;
    struct report report;
    int to_near, from_near;          /* the child's stdin and stdout, so to speak; the first doesn't block */
    int interrupt_fd;
    pid_t child;
};

/* --- words --- */

/* Where the host of HOST:PATH ends; NULL: there is none. An address in brackets holds colons of its own. */
static const char *host_end(const char *word)
{
    for (const char *p = word; *p && *p != '/'; p++) {
        if (*p == ':')
            return p;
        if (*p == '[' && (p == word || p[-1] == '@') && !(p = strchr(p, ']')))
            return NULL;
    }
    return NULL;
}

int place_parse(struct place *out, const char *word, struct ssx_error *err)
{
    const char *end = host_end(word);
    *out = (struct place){.remote = end, .path = end ? end + 1 : word};
    if (end && end > word && !(out->host = strndup(word, (size_t)(end - word))))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    if (!*out->path)
        out->path = ".";
    return 0;
}

void place_free(struct place *p)
{
    free(p->host);
    p->host = NULL;
}

int transfer_start(struct settings *s, const char *usage, int argc, char **argv, char ***words, int *count, int *code)
{
    struct ssx_error err = {0};
    char **rest;
    if (tool_start(s, GROUPS, usage, argc, argv, words, count, &rest, code))
        return -1;
    if (s->help) {
        puts(usage);
        settings_print_options(GROUPS);
        *code = 0;
        return -1;
    }
    for (; rest && *rest; rest++) /* "--" only ends the options here */
        (*words)[(*count)++] = *rest;
    if (*count >= 2)
        return 0;
    error_set(&err, SSX_ERROR_USAGE, "%s what where? (sshexec %s --help)", argv[0], argv[0]);
    *code = tool_complain(&err);
    return -1;
}

/* --- one host or many --- */

static int check_options(const struct settings *s, const char *host, struct ssx_error *err)
{
    if (host && settings_name_hosts(s))
        return error_set(err, SSX_ERROR_USAGE,
                         "%s: beside -w, -x and the like: hosts stand either there or behind -w (./%s:... for a path)",
                         host, host);
    if (!host && !settings_name_hosts(s) && s->for_hosts[0])
        return error_set(err, SSX_ERROR_USAGE, "%s is for hosts: which? HOST:PATH, or -w SET", s->for_hosts);
    if (s->record && !s->rerun)
        return error_set(err, SSX_ERROR_USAGE, "--record says which run --rerun takes its hosts from");
    return 0;
}

int transfer_hosts(bool *many, struct settings *s, const char *host, struct ssx_error *err)
{
    if (check_options(s, host, err))
        return -1;
    *many = settings_name_hosts(s) || (host && (fan_hosts_is_set(host) || s->for_hosts[0]));
    return *many && host ? settings_add_hosts(s, host, err) : 0;
}

/* --- the near half --- */

/* user: the host's name, or NULL. */
static void near_warn(void *user, const char *text)
{
    char safe[1024];
    const char *host = user;
    text_escape(safe, sizeof safe, text, strlen(text));
    fprintf(stderr, "%s%s: %s\n", progress_line_possible() ? "\r\033[J" : "", host ? host : "sshexec",
            safe); /* over the progress line of the other process */
}

static void near_progress(void *user, uint64_t done, uint64_t total, const char *name) { (void)user, (void)done, (void)total, (void)name; }
static void near_file(void *user, const struct transferred *t) { (void)user, (void)t; }
static bool near_stopped(void *user) { (void)user; return false; }

bool transfer_near(const struct transfer *t, const char *host, int in, int out)
{
    const struct observer observer = {
        .user = (void *)host, .warn = near_warn, .progress = near_progress, .file = near_file, .stopped = near_stopped};
    struct ssx_error err = {0};
    return t->run(t, in, out, &observer, &err) == 0;
}

/* In the child. It ends when the other side of its pipes does, whatever signals the terminal sends to both: the far
 * half is to hear of a failure here. */
static _Noreturn void be_near(const struct transfer *t, int in, int out)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    _exit(transfer_near(t, NULL, in, out) ? 0 : 1);
}

static int start_near(struct joint *j, const struct transfer *t, struct ssx_error *err)
{
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC))
        return error_system(err, "can't start a transfer");
    if (pipe2(up, O_CLOEXEC) || (j->child = fork()) < 0)
        return error_system(err, "can't start a transfer");
    if (j->child == 0) {
        close(down[1]);
        close(up[0]);
        be_near(t, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    j->to_near = down[1];
    j->from_near = up[0];
    fd_set_nonblocking(j->to_near, true);
    fcntl(j->to_near, F_SETPIPE_SZ, PIPE_BYTES);
    fcntl(j->from_near, F_SETPIPE_SZ, PIPE_BYTES);
    return 0;
}

/* Returns whether it said that all is in place. */
static bool end_near(struct joint *j)
{
    int status = 0;
    fd_close(&j->to_near);
    fd_close(&j->from_near);
    while (waitpid(j->child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- the call --- */

/* A host that sends what the near half doesn't expect can make it wait for us while we wait for it: Ctrl-C still has to
 * work then. Returns 0 or -1. */
static int write_near(const struct joint *j, const unsigned char *at, size_t n)
{
    while (n) {
        struct pollfd fds[2] = {{.fd = j->to_near, .events = POLLOUT}, {.fd = j->interrupt_fd, .events = POLLIN}};
        ssize_t wrote = write(j->to_near, at, n);
        if (wrote < 0 && (interrupt_signal() || (errno != EAGAIN && errno != EINTR)))
            return -1;
        if (wrote < 0)
            poll(fds, 2, -1);
        at += wrote > 0 ? wrote : 0;
        n -= wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

/* The far half's output is for the near one. If that is gone, the far half has been told why, and its END will say
 * so. */
static int show(void *user, const struct message *m)
{
    struct joint *j = user;
    if (m->kind != MESSAGE_OUTPUT || m->data.stream != 1)
        return m->kind == MESSAGE_ITEM && !j->settings->json ? 0 : report_message(&j->report, m);
    if (j->to_near >= 0 && write_near(j, m->data.bytes.at, m->data.bytes.n))
        fd_close(&j->to_near);
    return 0;
}

int transfer_state(struct buf *out, const struct descriptor *d, const struct transfer *t, struct ssx_error *err)
{
    struct state_builder *b = state_builder_new(d);
    int rc = b ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < t->far_count; i++)
        rc = state_builder_text(b, t->field, t->far[i], strlen(t->far[i]), err);
    if (rc == 0)
        rc = state_builder_finish(b, out, err);
    state_builder_free(b);
    return rc;
}

static void start_report(struct joint *j, const struct type *type, const char *name, const char *host)
{
    report_init(&j->report, name, host ? host : "local", &type->plugin.descriptor);
    j->report.json = j->settings->json;
    j->report.quiet = j->settings->quiet;
    j->report.verbose = j->settings->verbose;
    j->report.show_result = j->settings->verbose > 0;
}

static int call(struct joint *j, const struct transfer *t, const struct type *type, const struct buf *state, const char *host)
{
    struct reach reach;
    struct ssx_error err = {0};
    start_report(j, type, t->type, host);
    if (start_near(j, t, &err)) /* before there is anything that a child should not have */
        return tool_complain(&err);
    j->interrupt_fd = interrupt_watch();
    struct conversation c = {.settings = j->settings, .reach = &reach, .type = type, .interrupt_fd = j->interrupt_fd,
                             .input_fd = j->from_near, .show = show, .user = j};
    int code = conversation_open(&c, host);
    bool is_open = code == 0;
    if (is_open)
        code = conversation_hold(&c, buf_data(state), buf_length(state));
    bool complete = end_near(j);
    if (code == 0 && !complete) {
        fprintf(stderr, "sshexec: %s: the host says that all is done, but it is not\n", t->type);
        code = TRANSFER_FAILED;
    }
    if (is_open)
        reach_close(&reach);
    report_free(&j->report);
    return code;
}

int transfer_run(const struct transfer *t, const struct settings *s, const char *host)
{
    struct joint j = {.settings = s};
    struct ssx_error err = {0};
    struct type type;
    struct buf state = {0};
    int code;
    if (type_open(&type, t->type, s->plugin_path, &err))
        return tool_complain(&err);
    if ((!host && type_fits_here(&type, &err)) || transfer_state(&state, &type.plugin.descriptor, t, &err))
        code = tool_complain(&err);
    else
        code = call(&j, t, &type, &state, host);
    buf_free(&state);
    type_close(&type);
    return code;
}
