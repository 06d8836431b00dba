#include "transport/route.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/attempt.h"
#include "transport/bastion.h"
#include "transport/become.h"
#include "transport/common.h"
#include "transport/libssh.h"
#include "transport/needs.h"
#include "transport/spawn.h"
#include "transport/survey.h"
#include "transport/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that is known of the way to a host before connecting. */
struct plan {
    struct survey survey;
    struct bastions *own;    /* where no run has any */
    struct bastion *bastion; /* held; NULL: it is reached directly */
};

static void plan_dispose(struct plan *p)
{
    if (p->bastion)
        bastion_release(p->bastion);
    bastions_free(p->own);
    survey_dispose(&p->survey);
}

/* Whose bastions the target's are: its run's, or its own. */
static struct bastions *bastions_for(struct plan *p, const struct transport_target *target)
{
    if (target->attempt && target->attempt->common)
        return common_bastions(target->attempt->common);
    return p->own = bastions_new();
}

static int find_bastion(struct plan *p, const struct transport_target *target, struct ssx_error *err)
{
    struct bastions *all = bastions_for(p, target);
    return all ? bastion_find(&p->bastion, all, target, p->survey.config.proxy_jump, err)
               : error_set(err, SSX_ERROR_SYSTEM, "can't go through a bastion: out of memory");
}

/* Fills in the choice; with TRANSPORT_LIBSSH, an error where it can't be. */
static int choose(struct route *out, struct plan *p, const struct transport_target *target, struct ssx_error *err)
{
    static const char nothing[] = "the ssh configuration asks for nothing that libssh lacks";
    const struct survey *s = &p->survey;
    char reason[400];
    snprintf(out->user, sizeof out->user, "%s", s->config.user);
    snprintf(out->hostname, sizeof out->hostname, "%s", s->config.hostname);
    out->port = s->config.port;
    out->libssh = !needs_system_ssh(&s->config, &s->keys, &s->offers, &s->agent, reason, sizeof reason);
    if (out->libssh && s->config.proxy_jump[0]) {
        if (find_bastion(p, target, err))
            return -1;
        snprintf(reason, sizeof reason, "%s", bastion_reason(p->bastion));
        out->libssh = !reason[0];
    }
    snprintf(out->by, sizeof out->by, "%s", out->libssh ? "libssh" : "the system ssh");
    if (!out->libssh)
        snprintf(out->why, sizeof out->why, "%s", reason);
    else if (p->bastion)
        snprintf(out->why, sizeof out->why, "through the bastion %.200s; %s", bastion_name(p->bastion), nothing);
    else
        snprintf(out->why, sizeof out->why, "%s", nothing);
    if (!out->libssh && target->mode == TRANSPORT_LIBSSH)
        return error_set(err, SSX_ERROR_USAGE, "can't reach %s by libssh: %s; use --transport auto or ssh", target->host, reason);
    return 0;
}

/* A plan and the choice; plan_dispose also after -1. */
static int make_plan(struct plan *p, struct route *out, const struct transport_target *target, struct ssx_error *err)
{
    struct transport_attempt *attempt = target->attempt;
    int64_t began = clock_us();
    *p = (struct plan){0};
    int rc = survey_make(&p->survey, target, err);
    if (!rc)
        rc = choose(out, p, target, err);
    if (attempt)
        attempt->look_us = clock_us() - began;
    return rc;
}

/* Where no look at the configuration is needed: the user named the way. */
static bool is_named(const struct transport_target *target)
{
    return target->mode == TRANSPORT_SSH || target->mode == TRANSPORT_FIFO || target->mode == TRANSPORT_TEMPLATE;
}

static void choose_named(struct route *out, const struct transport_target *target)
{
    *out = (struct route){.libssh = false, .port = 0};
    if (target->mode == TRANSPORT_TEMPLATE) {
        snprintf(out->by, sizeof out->by, "%s", target->template_name);
        snprintf(out->why, sizeof out->why, "the template %s", target->template_text);
    } else {
        snprintf(out->by, sizeof out->by, "%s", target->mode == TRANSPORT_FIFO ? "a fifo and the system ssh" : "the system ssh");
        snprintf(out->why, sizeof out->why, "it was asked for");
    }
}

int route_find(struct route *out, const struct transport_target *target, struct ssx_error *err)
{
    struct plan plan;
    *out = (struct route){0};
    if (is_named(target)) {
        choose_named(out, target);
        return 0;
    }
    int rc = make_plan(&plan, out, target, err);
    plan_dispose(&plan);
    return rc;
}

/* --- the system ssh --- */

/* Ours come first, for ssh takes the first value that it meets: quiet, no forwarding, no terminal, no other command,
 * and no question where there is nobody to answer. */
static int ssh_argv(struct words *argv, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    static const char *const fixed[] = {
        "ssh", "-T", "-a", "-x", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no", "-oRemoteCommand=none",
        "-oLogLevel=ERROR",
    };
    struct words options = {0}, host = {0};
    char timeout[64];
    int rc = target_ssh_words(&options, &host, target, err);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        words_add(argv, fixed[i]);
    if (!target->ask)
        words_add(argv, "-oBatchMode=yes");
    snprintf(timeout, sizeof timeout, "-oConnectTimeout=%d", (target->connect_timeout_ms + 999) / 1000);
    if (target->connect_timeout_ms > 0)
        words_add(argv, timeout);
    for (size_t i = 0; i < options.n; i++)
        words_add(argv, options.at[i]);
    if (host.n)
        words_add(argv, host.at[0]);
    words_add(argv, "--");
    words_add(argv, command);
    words_free(&options);
    words_free(&host);
    if (!rc && argv->failed)
        rc = error_set(err, SSX_ERROR_SYSTEM, "can't run ssh: out of memory");
    return rc;
}

/* --- child processes --- */

static unsigned spawn_how(const struct transport_target *target)
{
    return (target->ask ? SPAWN_ASKING : 0) | (target->mode == TRANSPORT_FIFO ? SPAWN_FIFO : 0);
}

static int open_child(struct transport **out, const struct transport_target *target, const char *name,
                      const struct words *argv, struct ssx_error *err)
{
    return spawn_open_how(out, target->mode == TRANSPORT_FIFO ? "fifo" : name,
                          (const char *const *)(const void *)argv->at, spawn_how(target), err);
}

static int open_ssh(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct words argv = {0};
    int rc = ssh_argv(&argv, target, command, err);
    if (!rc)
        rc = open_child(out, target, "ssh", &argv, err);
    words_free(&argv);
    return rc;
}

static int open_template(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct target_parts parts;
    struct words argv = {0};
    if (target_split(&parts, target, err))
        return -1;
    const struct template_values values = {parts.host, parts.port, parts.user, command};
    int rc = template_expand(&argv, target->template_text, &values, err);
    if (rc)
        error_prefix(err, "transport %s", target->template_name);
    else
        rc = open_child(out, target, target->template_name, &argv, err);
    words_free(&argv);
    return rc;
}

/* --- libssh --- */

/* Those who open many try again by themselves. */
static int open_libssh(struct transport **out, const struct plan *p, const struct transport_target *target,
                       const char *command, struct ssx_error *err)
{
    const struct survey *s = &p->survey;
    struct login l = {.target = target,
                      .config = &s->config,
                      .keys = &s->keys,
                      .agent = &s->agent,
                      .offers = &s->offers,
                      .bastion = p->bastion,
                      .timeout_ms = survey_timeout_ms(s, target)};
    int rc = (target->attempt ? login_open : login_open_again)(&l, err);
    if (!rc)
        rc = libssh_exec(out, &l, command, err);
    if (target->attempt)
        target->attempt->worth_retrying = rc && l.worth_retrying;
    login_drop(&l);
    return rc;
}

/* The system ssh, told out of what would take its stdin or the command away. Only where the configuration says so:
 * OpenSSH before 8.7 has no words for it. */
static int open_told_ssh(struct transport **out, const struct ssh_config *c, const struct transport_target *target, const char *command,
                         struct ssx_error *err)
{
    struct transport_target told = *target;
    size_t n = 0, given = 0;
    while (target->options && target->options[given])
        given++;
    const char **options = calloc(given + 4, sizeof *options);
    if (!options)
        return error_set(err, SSX_ERROR_SYSTEM, "can't run ssh: out of memory");
    if (c->stdin_null)
        options[n++] = "StdinNull=no";
    if (c->forks)
        options[n++] = "ForkAfterAuthentication=no";
    if (strcmp(c->session_type, "default"))
        options[n++] = "SessionType=default";
    if (given)
        memcpy(options + n, target->options, given * sizeof *options);
    told.options = options;
    int rc = open_ssh(out, &told, command, err);
    free(options);
    return rc;
}

/* Whether the opening may begin now; returns -1 where it may not. */
static int admit(const struct transport_target *target, const char *place, const char *bastion, struct ssx_error *err)
{
    struct transport_attempt *attempt = target->attempt;
    if (!attempt || !attempt->admit || attempt->admit(attempt->ctx, place, bastion))
        return 0;
    attempt->deferred = true;
    return error_set(err, SSX_ERROR_UNREACHABLE, "too many logins at once at %s", place);
}

/* To the system ssh, the first hop of a ProxyJump is a door at which all that go by it knock. Through a bastion of ours
 * nobody does: it has one login for all. */
static int admit_planned(const struct transport_target *target, const struct plan *p, bool libssh, struct ssx_error *err)
{
    const struct ssh_config *c = &p->survey.config;
    char place[600], door[256] = "";
    if (target->attempt)
        target->attempt->timeout_ms = survey_timeout_ms(&p->survey, target);
    if (libssh && p->bastion)
        snprintf(place, sizeof place, "%s:%d behind %s", c->hostname, c->port, c->proxy_jump);
    else
        snprintf(place, sizeof place, "%s:%d", c->hostname, c->port);
    if (!libssh)
        snprintf(door, sizeof door, "%.*s", (int)strcspn(c->proxy_jump, ","), c->proxy_jump);
    return admit(target, place, door, err);
}

static int open_planned(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct plan plan;
    struct route route;
    int rc = make_plan(&plan, &route, target, err);
    if (!rc)
        rc = admit_planned(target, &plan, route.libssh, err);
    if (!rc) {
        target_log(target, 1, "%s: by %s: %s", target->host, route.by, route.why);
        rc = route.libssh ? open_libssh(out, &plan, target, command, err) : open_told_ssh(out, &plan.survey.config, target, command, err);
    }
    plan_dispose(&plan);
    return rc;
}

static int open_named(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct route route;
    choose_named(&route, target);
    if (admit(target, target->host ? target->host : "", "", err))
        return -1;
    target_log(target, 1, "%s: by %s: %s", target->host ? target->host : "this machine", route.by, route.why);
    return (target->mode == TRANSPORT_TEMPLATE ? open_template : open_ssh)(out, target, command, err);
}

static int open_as_login(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    return (is_named(target) ? open_named : open_planned)(out, target, command, err);
}

/* The far program isn't there before sudo is through. */
static int settle(struct transport **out, const struct become *b, const struct transport_target *target, struct ssx_error *err)
{
    if (!become_settle(b, *out, target, err))
        return 0;
    transport_free(*out);
    *out = NULL;
    return -1;
}

int transport_open(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct become become;
    struct buf line = {0};
    if (!target->become)
        return open_as_login(out, target, command, err);
    become_init(&become, target);
    int rc = become_line(&line, &become, command) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory")
                                                  : open_as_login(out, target, (const char *)buf_data(&line), err);
    buf_free(&line);
    return rc ? -1 : settle(out, &become, target, err);
}

int transport_open_local(struct transport **out, const struct transport_target *target, const char *const *argv, struct ssx_error *err)
{
    struct become become;
    struct words words = {0};
    if (!target->become)
        return spawn_open_how(out, target->mode == TRANSPORT_FIFO ? "fifo" : "local", argv, spawn_how(target) & SPAWN_FIFO, err);
    become_init(&become, target);
    become_argv(&words, &become, argv);
    int rc = words.failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : open_child(out, target, "local", &words, err);
    words_free(&words);
    return rc ? -1 : settle(out, &become, target, err);
}
