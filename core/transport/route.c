#include "transport/route.h"

#include "base/error.h"
#include "base/io.h"
#include "base/random.h"
#include "transport/attempt.h"
#include "transport/become.h"
#include "transport/libssh.h"
#include "transport/needs.h"
#include "transport/spawn.h"
#include "transport/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS 15000     /* for ssh -G: a Match exec may look around */
#define AGENT_MS 3000    /* for the ssh-agent's list: a dead forwarded agent must not stop us */
#define RETRIES 4        /* after being hung up on before the greeting, which a busy sshd does at random */
#define RETRY_MS 150     /* the mean pause before the first; it doubles */

/* All that is known of a host before connecting. */
struct survey {
    struct ssh_config config;
    struct host_keys keys;
    struct keyagent agent;
    struct offers offers;
};

static void survey_dispose(struct survey *s)
{
    offers_dispose(&s->offers);
    keyagent_dispose(&s->agent);
    host_keys_dispose(&s->keys);
    ssh_config_dispose(&s->config);
}

/* Where the agent listens: what IdentityAgent says, or the environment. NULL: nowhere. */
static const char *agent_path(const struct ssh_config *c)
{
    if (!strcmp(c->identity_agent, "none"))
        return NULL;
    if (!c->identity_agent[0] || !strcmp(c->identity_agent, "SSH_AUTH_SOCK"))
        return getenv("SSH_AUTH_SOCK");
    return c->identity_agent[0] == '$' ? getenv(c->identity_agent + 1) : c->identity_agent;
}

static int survey_make(struct survey *s, const struct transport_target *target, struct ssx_error *err)
{
    *s = (struct survey){0};
    if (ssh_config_load(&s->config, target, ASK_MS, err))
        return -1;
    struct patience patience = patience_for(AGENT_MS, target->interrupt_fd);
    const char *path = agent_path(&s->config);
    if (path && *path && keyagent_list(&s->agent, path, &patience, err))
        return -1;
    return host_keys_load(&s->keys, &s->config, target->attempt ? target->attempt->common : NULL, err) || offers_load(&s->offers, &s->config, &s->agent, err) ? -1 : 0;
}

/* Fills in the choice; with TRANSPORT_LIBSSH, an error where it can't be. */
static int choose(struct route *out, const struct survey *s, const struct transport_target *target, struct ssx_error *err)
{
    char reason[256];
    snprintf(out->user, sizeof out->user, "%s", s->config.user);
    snprintf(out->hostname, sizeof out->hostname, "%s", s->config.hostname);
    out->port = s->config.port;
    out->libssh = !needs_system_ssh(&s->config, &s->keys, &s->offers, &s->agent, reason, sizeof reason);
    snprintf(out->by, sizeof out->by, "%s", out->libssh ? "libssh" : "the system ssh");
    if (out->libssh)
        snprintf(out->why, sizeof out->why, "the ssh configuration asks for nothing that libssh lacks");
    else
        snprintf(out->why, sizeof out->why, "%s", reason);
    if (!out->libssh && target->mode == TRANSPORT_LIBSSH)
        return error_set(err, SSX_ERROR_USAGE, "can't reach %s by libssh: %s; use --transport auto or ssh", target->host, reason);
    return 0;
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
    struct survey survey;
    *out = (struct route){0};
    if (is_named(target)) {
        choose_named(out, target);
        return 0;
    }
    int rc = survey_make(&survey, target, err);
    if (!rc)
        rc = choose(out, &survey, target, err);
    survey_dispose(&survey);
    return rc;
}

/* --- the system ssh --- */

/* Ours come first, for ssh takes the first value that it meets: quiet, no forwarding, no terminal, no other command, and no question
 * where there is nobody to answer. */
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

static int open_child(struct transport **out, const struct transport_target *target, const char *name, const struct words *argv, struct ssx_error *err)
{
    return spawn_open_how(out, target->mode == TRANSPORT_FIFO ? "fifo" : name, (const char *const *)(const void *)argv->at, spawn_how(target), err);
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

static int connect_timeout_ms(const struct transport_target *target, const struct ssh_config *c)
{
    if (target->connect_timeout_ms > 0)
        return target->connect_timeout_ms;
    return c->connect_timeout_s > 0 && c->connect_timeout_s < 86400 ? c->connect_timeout_s * 1000 : TRANSPORT_CONNECT_MS;
}

static int open_once(struct transport **out, struct login *l, const char *command, struct ssx_error *err)
{
    int rc = login_open(l, err);
    if (!rc)
        rc = libssh_exec(out, l, command, err);
    if (l->session)
        login_end(l->session);
    l->session = NULL;
    return rc;
}

/* Half to one and a half times the mean, so that those who were turned away together don't come back together. */
static int jitter(int mean_ms)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    return mean_ms / 2 + (int)(random % (uint32_t)mean_ms);
}

/* Once; what comes of it is for the caller to judge. */
static int attempt_libssh(struct transport **out, struct login *l, const char *command, struct ssx_error *err)
{
    struct transport_attempt *attempt = l->target->attempt;
    int rc = open_once(out, l, command, err);
    attempt->worth_retrying = rc && l->worth_retrying;
    return rc;
}

static int open_libssh(struct transport **out, const struct survey *s, const struct transport_target *target, const char *command,
                       struct ssx_error *err)
{
    struct login l = {.target = target, .config = &s->config, .keys = &s->keys, .agent = &s->agent, .offers = &s->offers,
                      .timeout_ms = connect_timeout_ms(target, &s->config)};
    if (target->attempt)
        return attempt_libssh(out, &l, command, err);
    for (int i = 0; ; i++) {
        struct ssx_error problem = {0};
        if (!open_once(out, &l, command, &problem))
            return 0;
        if (!l.worth_retrying || i == RETRIES)
            return error_set(err, problem.code, "%s", problem.text);
        target_log(target, 1, "%s; trying again", problem.text);
        struct patience nap = patience_for(1 << 20, target->interrupt_fd);
        if (patience_sleep(&nap, jitter(RETRY_MS << i), err))
            return -1;
    }
}

/* The system ssh, told out of what would take its stdin or the command away. Only where the configuration says so: OpenSSH before 8.7
 * has no words for it. */
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

/* The first hop of a ProxyJump is where all that go by it knock. */
static int admit_surveyed(const struct transport_target *target, const struct ssh_config *c, struct ssx_error *err)
{
    char place[320], bastion[256];
    bool jumps = c->proxy_jump[0] && strcmp(c->proxy_jump, "none");
    if (target->attempt)
        target->attempt->timeout_ms = connect_timeout_ms(target, c);
    snprintf(place, sizeof place, "%s:%d", c->hostname, c->port);
    snprintf(bastion, sizeof bastion, "%.*s", (int)strcspn(c->proxy_jump, ","), jumps ? c->proxy_jump : "");
    return admit(target, place, bastion, err);
}

static int open_surveyed(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct survey survey;
    struct route route;
    int64_t began = clock_us();
    int rc = survey_make(&survey, target, err);
    if (target->attempt)
        target->attempt->look_us = clock_us() - began;
    if (!rc)
        rc = choose(&route, &survey, target, err);
    if (!rc)
        rc = admit_surveyed(target, &survey.config, err);
    if (!rc) {
        target_log(target, 1, "%s: by %s: %s", target->host, route.by, route.why);
        rc = route.libssh ? open_libssh(out, &survey, target, command, err) : open_told_ssh(out, &survey.config, target, command, err);
    }
    survey_dispose(&survey);
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
    return (is_named(target) ? open_named : open_surveyed)(out, target, command, err);
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
