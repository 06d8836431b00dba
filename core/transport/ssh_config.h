/* What OpenSSH itself says it would do for a host: the answer of `ssh -G`, next to that of `ssh -F none -G`, which
 * shows what was configured at all.
 *
 * A directive counts when its line is not in the second answer. Those that libssh can honour end up as fields here;
 * those that change nothing of who, where or how we connect are passed over; any other that counts, known or not, is a
 * reason for the system ssh. */
#ifndef TRANSPORT_SSH_CONFIG_H
#define TRANSPORT_SSH_CONFIG_H
#include "transport/target.h"
#include "transport/words.h"

#include <stdint.h>

enum host_key_policy { HOST_KEY_YES, HOST_KEY_ASK, HOST_KEY_ACCEPT_NEW, HOST_KEY_OFF };

/* An algorithm list: OpenSSH's whole answer, and whether somebody chose it. */
struct ssh_algorithms { const char *list; bool counts; };

struct ssh_config {
    char *text;               /* owned; the texts below point into it, or are "" where nothing was said */
    const char *original;     /* the host as given to ssh */
    const char *user, *hostname, *bind_address;
    const char *address_family;   /* "any", "inet", "inet6" */
    const char *identity_agent;   /* "": SSH_AUTH_SOCK; "none"; "SSH_AUTH_SOCK"; "$VARIABLE"; a path */
    const char *control_path;     /* "" or the path, expanded by ssh */
    const char *proxy_jump;       /* "": none; the last hop is the one next to the host */
    const char *session_type;     /* "default", "none", "subsystem" */
    struct ssh_algorithms ciphers, macs, kex, host_keys, public_keys;
    struct words identities;      /* paths, expanded */
    struct words user_known_hosts, global_known_hosts;
    int port, connect_timeout_s /* 0: not set */, connection_attempts, password_prompts;
    int alive_s, alive_max;       /* ServerAliveInterval, 0: none; ServerAliveCountMax */
    uint64_t rekey_bytes, rekey_s; /* 0: the default */
    enum host_key_policy host_keys_checked;
    bool identities_count;        /* named by the user, not the defaults */
    bool hash_known_hosts, identities_only, compression, batch_mode, tcp_keepalive, gssapi;
    bool stdin_null, forks;       /* StdinNull, ForkAfterAuthentication: the system ssh has to be told otherwise */
    char reason[256];             /* why only the system ssh will do; "" where libssh may */
};

/* Reads both answers. Returns 0, or -1 with err where the first is not what ssh prints. ssh_config_dispose frees, also
 * after -1. */
int ssh_config_parse(struct ssh_config *out, const char *answer, const char *baseline, struct ssx_error *err);

/* Asks ssh, both questions at once, within `timeout_ms` (a Match exec may take its time). err is SSX_ERROR_USAGE, in
 * ssh's own words, for a configuration that ssh refuses. */
int ssh_config_load(struct ssh_config *out, const struct transport_target *target, int timeout_ms, struct ssx_error *err);

void ssh_config_dispose(struct ssh_config *c);

#endif
