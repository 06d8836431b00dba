#include "fleet/session.h"

#include "base/error.h"
#include "fleet/options.h"
#include "fleet/own.h"
#include "transport/route.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the way there --- */

static int open_local(struct ssx_session *s, const struct transport_target *target, struct ssx_error *err)
{
    char path[PATH_MAX];
    const char *agent = s->o.agent_file ? s->o.agent_file : own_agent(path, sizeof path);
    const char *argv[] = {agent, s->plugin_path ? "--plugin-path" : NULL, s->plugin_path, NULL};
    if (access(agent, X_OK))
        return error_system(err, "can't start the agent %s", agent);
    return link_open_local(&s->link, target, argv, err);
}

static int open_host(struct ssx_session *s, const struct transport_target *target, struct ssx_error *err)
{
    char path[PATH_MAX];
    bool own = !s->o.agent_file;
    if (agents_open(&s->agent, own ? own_agent(path, sizeof path) : s->o.agent_file, own, err))
        return -1;
    return link_open_host(&s->link, target, &s->agent, options_bootstrap(&s->o), err);
}

/* --- the session --- */

static void pass_stderr(void *user, const void *bytes, size_t n)
{
    struct ssx_session *s = user;
    if (s->o.on_stderr)
        s->o.on_stderr(s->o.context, bytes, n);
}

/* What is borrowed for the opening only is not kept. */
static void forget_texts(struct ssx_session_options *o)
{
    struct ssx_session_options kept = {.size = o->size, .interrupt_fd = o->interrupt_fd, .context = o->context, .on_stderr = o->on_stderr};
    *o = kept;
}

static bool has_answered(const void *session) { return ((const struct ssx_session *)session)->hello; }

static int start(struct ssx_session *s, const char *host, struct ssx_error *err)
{
    struct transport_target target;
    char port[16];
    if (options_target(&target, port, host, &s->o, err))
        return -1;
    if (s->o.plugin_path && !(s->plugin_path = strdup(s->o.plugin_path)))
        return error_set(err, SSX_ERROR_SYSTEM, "can't open a session: out of memory");
    if (host || s->o.transport_command ? open_host(s, &target, err) : open_local(s, &target, err))
        return -1;
    s->link.on_stderr = pass_stderr;
    s->link.user = s;
    return session_until(s, has_answered, s, -1, err); /* the link has a timer of its own for an agent that says nothing */
}

int ssx_session_open(struct ssx_session **out, const char *host, const struct ssx_session_options *options, struct ssx_error *err)
{
    *out = NULL;
    struct ssx_session *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, SSX_ERROR_SYSTEM, "can't open a session: out of memory");
    s->epoll_fd = s->awake_fd = -1;
    if (options_take_session(&s->o, options, err) || start(s, host, err)) {
        ssx_session_close(s);
        return -1;
    }
    forget_texts(&s->o);
    *out = s;
    return 0;
}
