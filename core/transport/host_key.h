/* Whether to go on with the key that a server showed: StrictHostKeyChecking, as ssh means it, over what known_hosts
 * holds. */
#ifndef TRANSPORT_HOST_KEY_H
#define TRANSPORT_HOST_KEY_H
#include "transport/common.h"
#include "transport/known_hosts.h"
#include "transport/ssh_config.h"
#include "transport/target.h"

#define HOST_KEYS_MAX 32 /* lines that are looked at for one host; more is no host's key list */

/* What is on file for the host of a configuration. */
struct host_keys {
    const struct known_hosts *index;
    struct known_hosts *own;                 /* the same, where it isn't a common's */
    char name[300];                          /* known_hosts_name */
    struct known_key keys[HOST_KEYS_MAX];    /* under `name` */
    size_t count;
    struct known_key plain[HOST_KEYS_MAX];   /* filed without a port, where that is not 22: ssh accepts this very key, too */
    size_t plain_count;
};

/* common may be NULL. Returns 0, or -1 with err; host_keys_dispose in both cases. */
int host_keys_load(struct host_keys *out, const struct ssh_config *config, struct common *common, struct ssx_error *err);
void host_keys_dispose(struct host_keys *k);

/* The first line that makes the host trust certificates (@cert-authority); NULL if none. */
const struct known_key *host_keys_authority(const struct host_keys *k);

/* The algorithms to ask the server for: `wanted` (a comma list), those whose keys are on file first, so that a server
 * with several keys shows the one that can be checked. Certificates are left out. Returns 0, or -1 if out is too
 * small. */
int host_keys_order(const struct host_keys *k, const char *wanted, char *out, size_t size);

/* The verdict on the server's key. Returns 0 to go on, having added it to known_hosts where the policy or the user says
 * so; -1 with err to stop. */
int host_key_judge(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                   const char *type, const void *blob, size_t n, struct ssx_error *err);

#endif
