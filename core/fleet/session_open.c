#include "fleet/session.h"

#include "base/error.h"
#include "fleet/options.h"
#include "fleet/own.h"
#include "transport/become.h"
#include "transport/route.h"
#include "transport/template.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the way there --- */

static int take_transport(struct transport_target *out, const struct ssx_session_options *o, struct ssx_error *err)
{
    static const struct { const char *name; enum transport_mode mode; } modes[] = {
        {"auto", TRANSPORT_AUTO}, {"libssh", TRANSPORT_LIBSSH}, {"ssh", TRANSPORT_SSH}, {"fifo", TRANSPORT_FIFO},
    };
    if (o->transport_command) {
        out->mode = TRANSPORT_TEMPLATE;
        out->template_name = "command";
        out->template_text = o->transport_command;
        return o->transport ? error_set(err, SSX_ERROR_USAGE, "both a transport and a transport_command were given") : template_check(o->transport_command, err);
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(o->transport ? o->transport : "auto", modes[i].name)) {
            out->mode = modes[i].mode;
            return 0;
        }
    return error_set(err, SSX_ERROR_USAGE, "there is no transport \"%s\": auto, libssh, ssh, fifo, or a transport_command", o->transport);
}

static int check_options(const struct ssx_session_options *o, struct ssx_error *err)
{
    if (o->port < 0 || o->port > 65535)
        return error_set(err, SSX_ERROR_USAGE, "%d is no port", o->port);
    if (o->connect_timeout_ms < 0)
        return error_set(err, SSX_ERROR_USAGE, "a connect timeout of %d ms", o->connect_timeout_ms);
    if ((unsigned)o->bootstrap > SSX_BOOTSTRAP_EPHEMERAL)
        return error_set(err, SSX_ERROR_USAGE, "there is no way %d to bring an agent", (int)o->bootstrap);
    if (o->become && !become_user_is_valid(o->become))
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" can't be a user to become", o->become);
    return 0;
}

/* port: room for the option as text. */
static int make_target(struct transport_target *out, char port[16], const char *host, const struct ssx_session_options *o, struct ssx_error *err)
{
    snprintf(port, 16, "%d", o->port);
    *out = (struct transport_target){.host = host, .become = o->become, .config_file = o->config_file, .port = o->port ? port : NULL, .login = o->login,
                                     .identities = o->identities, .options = o->options, .connect_timeout_ms = o->connect_timeout_ms,
                                     .interrupt_fd = o->interrupt_fd, .ask = o->on_question, .ask_ctx = o->context, .log = o->on_log, .log_ctx = o->context};
    return check_options(o, err) || take_transport(out, o, err) ? -1 : 0;
}

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
    static const enum bootstrap_mode modes[] = {
        [SSX_BOOTSTRAP_KEEP] = BOOTSTRAP_CACHE, [SSX_BOOTSTRAP_NEVER] = BOOTSTRAP_NEVER, [SSX_BOOTSTRAP_EPHEMERAL] = BOOTSTRAP_EPHEMERAL,
    };
    char path[PATH_MAX];
    bool own = !s->o.agent_file;
    if (agents_open(&s->agent, own ? own_agent(path, sizeof path) : s->o.agent_file, own, err))
        return -1;
    return link_open_host(&s->link, target, &s->agent, modes[s->o.bootstrap], err);
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
    if (make_target(&target, port, host, &s->o, err))
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
