#include "transport/survey.h"

#include "transport/attempt.h"
#include "transport/patience.h"

#include <stdlib.h>
#include <string.h>

#define ASK_MS 15000   /* for ssh -G: a Match exec may look around */
#define AGENT_MS 3000  /* for the ssh-agent's list: a dead forwarded agent must not stop us */
#define DAY_S 86400

/* Where the agent listens: what IdentityAgent says, or the environment. NULL: nowhere. */
static const char *agent_path(const struct ssh_config *c)
{
    if (!strcmp(c->identity_agent, "none"))
        return NULL;
    if (!c->identity_agent[0] || !strcmp(c->identity_agent, "SSH_AUTH_SOCK"))
        return getenv("SSH_AUTH_SOCK");
    return c->identity_agent[0] == '$' ? getenv(c->identity_agent + 1) : c->identity_agent;
}

int survey_make(struct survey *out, const struct transport_target *target, struct ssx_error *err)
{
    *out = (struct survey){0};
    if (ssh_config_load(&out->config, target, ASK_MS, err))
        return -1;
    struct patience patience = patience_for(AGENT_MS, target->interrupt_fd);
    const char *path = agent_path(&out->config);
    if (path && *path && keyagent_list(&out->agent, path, &patience, err))
        return -1;
    struct common *common = target->attempt ? target->attempt->common : NULL;
    return host_keys_load(&out->keys, &out->config, common, err) || offers_load(&out->offers, &out->config, &out->agent, err) ? -1 : 0;
}

void survey_dispose(struct survey *s)
{
    offers_dispose(&s->offers);
    keyagent_dispose(&s->agent);
    host_keys_dispose(&s->keys);
    ssh_config_dispose(&s->config);
}

int survey_timeout_ms(const struct survey *s, const struct transport_target *target)
{
    int seconds = s->config.connect_timeout_s;
    if (target->connect_timeout_ms > 0)
        return target->connect_timeout_ms;
    return seconds > 0 && seconds < DAY_S ? seconds * 1000 : TRANSPORT_CONNECT_MS;
}
