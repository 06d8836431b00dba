/* The keys that could prove who we are, in the order in which ssh would offer them: from the agent and from
 * IdentityFiles. */
#ifndef TRANSPORT_OFFERS_H
#define TRANSPORT_OFFERS_H
#include "base/buf.h"
#include "transport/keyagent.h"
#include "transport/ssh_config.h"

#include <libssh/libssh.h>

#define OFFER_NOT_IN_AGENT ((size_t)-1)

struct offer {
    const char *path; /* the IdentityFile, borrowed from the configuration; NULL for a key that only the agent knows */
    ssh_key public;   /* owned; NULL where it can't be known without the passphrase */
    size_t agent_key; /* index into the agent's keys */
    char label[300];  /* for messages */
};

struct offers { struct offer *at; size_t n; };

/* Those that exist. Keys of the configuration that the agent holds come first; then, where the user named keys, their
 * files, so that an agent full of others does not use up the server's MaxAuthTries; then the agent's others, unless
 * IdentitiesOnly; then default files. Returns 0 or -1. */
int offers_load(struct offers *out, const struct ssh_config *config, const struct keyagent *agent, struct ssx_error *err);
void offers_dispose(struct offers *o);

/* Whether one of them is beyond libssh (a certificate, a security key); says which into reason. */
bool offers_need_ssh(const struct offers *o, const struct ssh_config *config, const struct keyagent *agent, char *reason,
                     size_t size);

/* The public part of a key as on the wire. Returns 0 or -1. */
int key_blob(struct buf *out, const ssh_key key);

#endif
