/* What only the system ssh can do for a host: the reasons that stand in the configuration, and those around it. */
#ifndef TRANSPORT_NEEDS_H
#define TRANSPORT_NEEDS_H
#include "transport/host_key.h"
#include "transport/offers.h"

/* Whether the host needs the system ssh; why, in a few words, into reason. */
bool needs_system_ssh(const struct ssh_config *config, const struct host_keys *keys, const struct offers *offers,
                      const struct keyagent *agent, char *reason, size_t size);

#endif
