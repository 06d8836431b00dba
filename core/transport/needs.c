#include "transport/needs.h"

#include "transport/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A master that answers is a way in of its own: already authenticated, perhaps past a second factor. A stale socket is
 * nothing. */
static bool master_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*path || !strcmp(path, "none") || strlen(path) >= sizeof address.sun_path)
        return false;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool answers = !connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return answers;
}

/* Debian's stock configuration switches GSSAPI on for everybody; it means something only to who holds a ticket. */
static bool holds_ticket(char *where, size_t size)
{
    const char *cache = getenv("KRB5CCNAME");
    if (!cache || !*cache)
        snprintf(where, size, "/tmp/krb5cc_%u", (unsigned)getuid());
    else if (!strncmp(cache, "FILE:", 5))
        snprintf(where, size, "%s", cache + 5);
    else
        snprintf(where, size, "%s", cache);
    return where[0] != '/' || !access(where, F_OK); /* a keyring or a daemon: can't look, so take it for one */
}

bool needs_system_ssh(const struct ssh_config *config, const struct host_keys *keys, const struct offers *offers,
                      const struct keyagent *agent, char *reason, size_t size)
{
    char ticket[256];
    const struct known_key *authority = host_keys_authority(keys);
    if (config->reason[0]) {
        snprintf(reason, size, "%s", config->reason);
        return true;
    }
    if (master_answers(config->control_path)) {
        snprintf(reason, size, "ControlPath %s answers now", config->control_path);
        return true;
    }
    if (config->gssapi && holds_ticket(ticket, sizeof ticket)) {
        snprintf(reason, size, "GSSAPIAuthentication is set and there is a Kerberos ticket (%s)", ticket);
        return true;
    }
    if (authority) {
        snprintf(reason, size, "%s:%u trusts a certificate authority for the host", authority->file, authority->line);
        return true;
    }
    if (offers_need_ssh(offers, config, agent, reason, size))
        return true;
    return !login_can_honour(config, keys, reason, size);
}
