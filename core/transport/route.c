#include "transport/route.h"

#include "base/error.h"
#include "base/io.h"
#include "transport/libssh.h"
#include "transport/needs.h"
#include "transport/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 15000 /* where nobody said otherwise: ssh would wait for the kernel's two minutes */
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
    return host_keys_load(&s->keys, &s->config, err) || offers_load(&s->offers, &s->config, &s->agent, err) ? -1 : 0;
}

/* Fills in the choice; with TRANSPORT_LIBSSH, an error where it can't be. */
static int choose(struct route *out, const struct survey *s, const struct transport_target *target, struct ssx_error *err)
{
    char reason[256];
    snprintf(out->user, sizeof out->user, "%s", s->config.user);
    snprintf(out->hostname, sizeof out->hostname, "%s", s->config.hostname);
    out->port = s->config.port;
    out->libssh = !needs_system_ssh(&s->config, &s->keys, &s->offers, &s->agent, reason, sizeof reason);
    if (out->libssh)
        snprintf(out->why, sizeof out->why, "the ssh configuration asks for nothing that libssh lacks");
    else
        snprintf(out->why, sizeof out->why, "%s", reason);
    if (!out->libssh && target->mode == TRANSPORT_LIBSSH)
        return error_set(err, SSX_ERROR_USAGE, "can't reach %s by libssh: %s; use --transport auto or ssh", target->host, reason);
    return 0;
}

static void choose_ssh(struct route *out)
{
    *out = (struct route){.libssh = false, .port = 0};
    snprintf(out->why, sizeof out->why, "it was asked for");
}

int route_find(struct route *out, const struct transport_target *target, struct ssx_error *err)
{
    struct survey survey;
    *out = (struct route){0};
    if (target->mode == TRANSPORT_SSH) {
        choose_ssh(out);
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

static int open_ssh(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct words argv = {0};
    int rc = ssh_argv(&argv, target, command, err);
    if (!rc)
        rc = (target->ask ? spawn_open_asking : spawn_open)(out, "ssh", (const char *const *)(const void *)argv.at, err);
    words_free(&argv);
    return rc;
}

/* --- libssh --- */

static int connect_timeout_ms(const struct transport_target *target, const struct ssh_config *c)
{
    if (target->connect_timeout_ms > 0)
        return target->connect_timeout_ms;
    return c->connect_timeout_s > 0 && c->connect_timeout_s < 86400 ? c->connect_timeout_s * 1000 : CONNECT_MS;
}

static int open_once(struct transport **out, struct login *l, const char *command, struct ssx_error *err)
{
    int rc = login_open(l, err);
    if (!rc)
        rc = libssh_exec(out, l, command, err);
    if (l->session) {
        ssh_disconnect(l->session);
        ssh_free(l->session);
        l->session = NULL;
    }
    return rc;
}

/* Half to one and a half times the mean, so that those who were turned away together don't come back together. */
static int jitter(int mean_ms)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    return mean_ms / 2 + (int)(random % (uint32_t)mean_ms);
}

static int open_libssh(struct transport **out, const struct survey *s, const struct transport_target *target, const char *command,
                       struct ssx_error *err)
{
    struct login l = {.target = target, .config = &s->config, .keys = &s->keys, .agent = &s->agent, .offers = &s->offers,
                      .timeout_ms = connect_timeout_ms(target, &s->config)};
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

int transport_open(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err)
{
    struct survey survey;
    struct route route;
    if (target->mode == TRANSPORT_SSH)
        return open_ssh(out, target, command, err);
    int rc = survey_make(&survey, target, err);
    if (!rc)
        rc = choose(&route, &survey, target, err);
    if (!rc) {
        target_log(target, 1, "%s: by %s: %s", target->host, route.libssh ? "libssh" : "the system ssh", route.why);
        rc = route.libssh ? open_libssh(out, &survey, target, command, err) : open_told_ssh(out, &survey.config, target, command, err);
    }
    survey_dispose(&survey);
    return rc;
}
