#include "reach.h"

#include "agents.h"
#include "tool.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "transport/ask.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EARLY_MAX (64u << 10)

/* Before the agent answers, stderr may hold the reason why it never will; after that it is passed through. */
static void take_stderr(void *user, const void *bytes, size_t n)
{
    struct reach *r = user;
    if (r->answered)
        (void)!fd_write_all(STDERR_FILENO, bytes, n);
    else if (buf_length(&r->early) + n <= EARLY_MAX)
        buf_add(&r->early, bytes, n);
}

static int open_local(struct reach *r, const struct settings *s, struct ssx_error *err)
{
    char agent[PATH_MAX];
    const char *argv[] = {install_agent(agent, sizeof agent), s->plugin_path ? "--plugin-path" : NULL, s->plugin_path, NULL};
    if (access(agent, X_OK))
        return error_system(err, "can't start the agent %s", agent);
    return link_open_local(&r->link, argv, err);
}

static int open_host(struct reach *r, const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err)
{
    struct transport_target target;
    struct ask_terminal terminal = {interrupt_fd};
    settings_target(s, &target);
    target.host = host;
    target.interrupt_fd = interrupt_fd;
    target.log = tool_log;
    target.log_ctx = (void *)s;
    if (ask_possible()) {
        target.ask = ask_terminal;
        target.ask_ctx = &terminal;
    }
    return agents_open(&r->agent, err) ? -1 : link_open_host(&r->link, &target, &r->agent, err);
}

int reach_open(struct reach *r, const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err)
{
    memset(r, 0, sizeof *r);
    if (host ? open_host(r, s, host, interrupt_fd, err) : open_local(r, s, err))
        return -1;
    r->link.on_stderr = take_stderr;
    r->link.user = r;
    return 0;
}

void reach_message(struct reach *r, const struct settings *s, const struct message *m)
{
    size_t n;
    if (m->kind != MESSAGE_HELLO)
        return;
    r->answered = true;
    const char *noise = client_noise(r->link.client, &n);
    if (s->verbose && n) {
        char text[512];
        text_escape(text, sizeof text, noise, n);
        fprintf(stderr, "sshexec: before the agent answered, the host printed \"%s\"\n", text);
    }
    if (s->verbose)
        fprintf(stderr, "sshexec: %s: %.*s on %.*s, %.*s%s\n", transport_name(r->link.transport), (int)m->hello.build.n, (const char *)m->hello.build.at,
                (int)m->hello.arch.n, (const char *)m->hello.arch.at, (int)m->hello.libc.n, (const char *)m->hello.libc.at,
                client_sent_agent(r->link.client) ? " (just stored there)" : "");
    (void)!fd_write_all(STDERR_FILENO, buf_data(&r->early), buf_length(&r->early));
    buf_free(&r->early);
}

void reach_explain(struct reach *r, struct ssx_error *err)
{
    size_t n = buf_length(&r->early);
    const char *at = (const char *)buf_data(&r->early);
    if (r->answered || !n)
        return;
    while (n && strchr("\r\n \t", at[n - 1]))
        n--;
    size_t start = n;
    while (start && at[start - 1] != '\n')
        start--;
    struct ssx_error last = {0};
    error_set(&last, err->code, "%.*s (%s)", (int)(n - start), at + start, err->text);
    *err = last;
}

void reach_close(struct reach *r)
{
    link_close(&r->link);
    buf_free(&r->early);
}
