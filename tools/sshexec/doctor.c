/* sshexec doctor: how a host is reached and why, which agent answers, and which plugin would run there. */
#include "interrupt.h"
#include "reach.h"
#include "tool.h"
#include "types.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "transport/route.h"
#include "wire/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void row(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void row(const char *name, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    printf("%-10s ", name);
    vprintf(format, ap);
    putchar('\n');
    va_end(ap);
}

static int show_route(const struct settings *s, const char *host, struct ssx_error *err)
{
    struct transport_target target;
    struct route route;
    settings_target(s, &target);
    target.host = host;
    if (route_find(&route, &target, err))
        return -1;
    row("host", "%s", host ? host : "this machine");
    if (route.hostname[0])
        row("means", "%s@%s port %d", route.user, route.hostname, route.port);
    row("transport", "%s: %s", route.by, route.why);
    if (s->become)
        row("user", "%s, by sudo", s->become);
    return 0;
}

static void show_hello(const struct reach *r, const struct message_hello *h, int64_t ms)
{
    char build[128], os[32], arch[32], libc[32], policy[1024];
    row("connected", "in %lld ms%s", (long long)ms, client_sent_agent(r->link.client) ? "; the agent had to be stored there" : "");
    row("agent", "%s, protocol %llu to %llu", span_copy(build, sizeof build, h->build), (unsigned long long)h->min,
        (unsigned long long)h->max);
    if (r->agent.size)
        row("digest", "%s", r->agent.digest);
    span_copy(libc, sizeof libc, h->libc);
    row("node", "%s %s, %s", span_copy(os, sizeof os, h->os), span_copy(arch, sizeof arch, h->arch), *libc ? libc : "libc unknown");
    if (h->policy.n)
        row("policy", "%s", text_escape(policy, sizeof policy, (const char *)h->policy.at, h->policy.n) ? policy : "");
    row("limits", "%llu calls at once, %llu bytes of state or result, window %llu bytes", (unsigned long long)h->calls,
        (unsigned long long)h->state, (unsigned long long)h->window);
}

struct mine { struct { char type[TYPE_NAME_MAX + 1]; struct digest digest; bool seen; } types[256]; size_t count; bool limited; };

static int note_mine(void *user, const char *type, const char *path)
{
    struct mine *mine = user;
    struct type t;
    struct ssx_error err = {0};
    if (mine->count == sizeof mine->types / sizeof *mine->types || type_open(&t, path, NULL, &err))
        return 0;
    snprintf(mine->types[mine->count].type, sizeof mine->types[0].type, "%s", type);
    mine->types[mine->count++].digest = t.digest;
    type_close(&t);
    return 0;
}

static void show_plugin(struct mine *mine, const struct message_describe *d)
{
    char type[TYPE_NAME_MAX + 1], where[512], problem[512];
    const char *against = "not here";
    span_copy(type, sizeof type, d->type);
    text_escape(where, sizeof where, d->where.at ? d->where.at : "", d->where.n);
    for (size_t i = 0; i < mine->count; i++)
        if (strcmp(mine->types[i].type, type) == 0) {
            mine->types[i].seen = true;
            against = digest_equal(&mine->types[i].digest, &d->digest) ? "the same here" : "another one here";
        }
    if (d->problem.n) {
        text_escape(problem, sizeof problem, d->problem.at, d->problem.n);
        row("plugin", "%-12s the node's, and can't be used: %s", type, problem);
    } else {
        row("plugin", "%-12s the node's: %s (%s)", type, where, against);
    }
}

static void show_mine(const struct mine *mine)
{
    for (size_t i = 0; i < mine->count; i++)
        if (!mine->types[i].seen)
            row("plugin", "%-12s this sender's (sent to the node's store when it is called%s)", mine->types[i].type,
                mine->limited ? ", if its policy permits" : "");
}

struct examination { struct reach *reach; struct mine *mine; int64_t started_ms; };

static void take_message(void *user, const struct message *m)
{
    struct examination *e = user;
    e->mine->limited |= m->kind == MESSAGE_HELLO && m->hello.policy.n;
    if (m->kind == MESSAGE_HELLO)
        show_hello(e->reach, &m->hello, clock_ms() - e->started_ms);
    if (m->kind == MESSAGE_DESCRIBE)
        show_plugin(e->mine, &m->describe);
}

static void note_all_mine(struct mine *mine, const struct settings *s)
{
    struct registry registry;
    if (types_registry(&registry, s->plugin_path, NULL))
        return;
    registry_each(&registry, note_mine, mine);
    registry_close(&registry);
}

static int examine(const struct settings *s, const char *host)
{
    static struct mine mine; /* large */
    struct ssx_error err = {0};
    struct reach r;
    struct examination e = {&r, &mine, clock_ms()};
    int interrupt_fd = interrupt_watch();
    if (settings_go_out(s, host) && show_route(s, host, &err))
        return tool_complain(&err);
    fflush(stdout);
    note_all_mine(&mine, s);
    if (reach_open(&r, s, host, interrupt_fd, &err))
        return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
    int code = reach_describe(&r, s, NULL, interrupt_fd, take_message, &e);
    if (code == 0)
        show_mine(&mine);
    reach_close(&r);
    return code;
}

int command_doctor(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_SSH | OPTIONS_PLUGINS,
            "usage: sshexec doctor [options] [HOST]\n\nSays how HOST (or this machine) is reached and why, which agent answers, its limits, and which plugin would run.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (count > 1 || rest) {
        error_set(&err, SSX_ERROR_USAGE, "doctor takes one host at most");
        return tool_complain(&err);
    }
    return examine(&s, count ? words[0] : NULL);
}
