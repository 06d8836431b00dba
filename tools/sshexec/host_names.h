/* The hosts that a person may mean, for completion: those that ssh's configuration and known_hosts files name. A best
 * effort that reads files and asks nobody. */
#ifndef SSHEXEC_HOST_NAMES_H
#define SSHEXEC_HOST_NAMES_H
#include "transport/words.h"

/* Adds the names that begin with `prefix`, each once. config: as ssh -F, NULL: the user's and the system's. Files that
 * can't be read are passed over. */
void host_names_add(struct words *out, const char *config, const char *prefix);

#endif
