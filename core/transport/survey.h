/* All that is known of a host before connecting: what ssh's configuration says of it, the keys on file for it, those of
 * the ssh-agent, and which of ours to offer. */
#ifndef TRANSPORT_SURVEY_H
#define TRANSPORT_SURVEY_H
#include "transport/host_key.h"
#include "transport/keyagent.h"
#include "transport/offers.h"
#include "transport/ssh_config.h"

struct survey {
    struct ssh_config config;
    struct host_keys keys; /* may borrow from target->attempt->common, and is of no use after that */
    struct keyagent agent;
    struct offers offers;
};

/* Returns 0, or -1 with err: USAGE, INTERRUPTED or SYSTEM. survey_dispose in both cases. */
int survey_make(struct survey *out, const struct transport_target *target, struct ssx_error *err);
void survey_dispose(struct survey *s);

/* How long each step of logging in may take: what the user says, else the configuration, else a default. */
int survey_timeout_ms(const struct survey *s, const struct transport_target *target);

#endif
