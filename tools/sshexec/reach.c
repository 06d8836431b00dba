#include "reach.h"

#include "agents.h"
#include "interrupt.h"
#include "tool.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void pass_stderr(void *user, const void *bytes, size_t n)
{
    (void)user;
    (void)!fd_write_all(STDERR_FILENO, bytes, n);
}

void reach_target(struct transport_target *out, struct ask_terminal *terminal, const struct settings *s, const char *host, int interrupt_fd)
{
    settings_target(s, out);
    out->host = host;
    out->interrupt_fd = terminal->interrupt_fd = interrupt_fd;
    out->log = tool_log;
    out->log_ctx = (void *)s;
    if (ask_possible()) {
        out->ask = ask_terminal;
        out->ask_ctx = terminal;
    }
}

static int open_local(struct reach *r, const struct settings *s, int interrupt_fd, struct ssx_error *err)
{
    struct transport_target target;
    struct ask_terminal terminal;
    char agent[PATH_MAX];
    const char *argv[] = {install_agent(agent, sizeof agent), s->plugin_path ? "--plugin-path" : NULL, s->plugin_path, NULL};
    if (access(agent, X_OK))
        return error_system(err, "can't start the agent %s", agent);
    reach_target(&target, &terminal, s, NULL, interrupt_fd);
    return link_open_local(&r->link, &target, argv, err);
}

static int open_host(struct reach *r, const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err)
{
    struct transport_target target;
    struct ask_terminal terminal;
    reach_target(&target, &terminal, s, host, interrupt_fd);
    return own_agent_open(&r->agent, err) ? -1 : link_open_host(&r->link, &target, &r->agent, s->bootstrap, err);
}

int reach_open(struct reach *r, const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err)
{
    memset(r, 0, sizeof *r);
    if (settings_go_out(s, host) ? open_host(r, s, host, interrupt_fd, err) : open_local(r, s, interrupt_fd, err))
        return -1;
    r->link.on_stderr = pass_stderr;
    return 0;
}

void reach_message(struct reach *r, const struct settings *s, const struct message *m)
{
    size_t n;
    if (m->kind != MESSAGE_HELLO)
        return;
    const char *noise = client_noise(r->link.client, &n);
    if (s->verbose && n) {
        char text[512];
        text_escape(text, sizeof text, noise, n);
        fprintf(stderr, "sshexec: before the agent answered, the host printed \"%s\"\n", text);
    }
    if (s->verbose)
        fprintf(stderr, "sshexec: %s: %.*s on %.*s, %.*s%s\n", transport_name(r->link.transport), (int)m->hello.build.n,
                (const char *)m->hello.build.at, (int)m->hello.arch.n, (const char *)m->hello.arch.at,
                (int)m->hello.libc.n, (const char *)m->hello.libc.at,
                client_sent_agent(r->link.client) ? " (just stored there)" : "");
    link_answered(&r->link);
}

static int describe_ended(const struct message_end *end)
{
    char reason[32], message[SSX_ERROR_TEXT];
    if (end->outcome == SSX_OUTCOME_OK)
        return 0;
    text_escape(message, sizeof message, end->message.n ? end->message.at : "", end->message.n);
    span_copy(reason, sizeof reason, end->reason);
    if (strcmp(reason, "unknown-type") == 0)
        return EXIT_UNKNOWN_TYPE; /* the caller may know it */
    fprintf(stderr, "sshexec: %s\n", message);
    return outcome_exit_code(end->outcome, 0, 0, reason);
}

static void wait_for_link(struct reach *r, int interrupt_fd)
{
    struct pollfd fds[TRANSPORT_FDS + 1];
    size_t n = link_poll(&r->link, true, fds);
    fds[n] = (struct pollfd){.fd = interrupt_fd, .events = POLLIN};
    poll(fds, n + 1, -1);
}

int reach_describe(struct reach *r, const struct settings *s, const char *type, int interrupt_fd,
                   void (*visit)(void *user, const struct message *m), void *user)
{
    struct ssx_error err = {0};
    struct message m;
    uint32_t id;
    if (client_describe(r->link.client, &id, type, &err))
        return tool_complain(&err);
    for (int rc;;) {
        while ((rc = client_next(r->link.client, &m, &err)) > 0) {
            if (m.kind == MESSAGE_END)
                return describe_ended(&m.end);
            reach_message(r, s, &m);
            visit(user, &m);
        }
        if (interrupt_signal())
            return EXIT_SIGNAL + interrupt_signal();
        if (rc == 0)
            rc = link_step(&r->link, true, &err);
        if (rc < 0) {
            link_explain(&r->link, &err);
            link_fail(&r->link, err.text);
        } else if (rc == 0 && !r->link.ended) {
            wait_for_link(r, interrupt_fd);
        }
    }
}

int reach_settle(const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err)
{
    struct reach r;
    struct message m;
    int rc = reach_open(&r, s, host, interrupt_fd, err);
    if (rc)
        return rc;
    while (rc == 0 && !client_is_ready(r.link.client)) {
        while ((rc = client_next(r.link.client, &m, err)) > 0)
            reach_message(&r, s, &m);
        if (rc == 0 && !client_is_ready(r.link.client))
            rc = link_step(&r.link, true, err);
        if (rc == 0 && !client_is_ready(r.link.client))
            wait_for_link(&r, interrupt_fd);
        rc = interrupt_signal() ? error_set(err, SSX_ERROR_INTERRUPTED, "interrupted") : rc < 0 ? -1 : 0;
    }
    if (rc)
        link_explain(&r.link, err);
    reach_close(&r);
    return rc;
}

void reach_close(struct reach *r) { link_close(&r->link); }
