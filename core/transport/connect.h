/* A TCP connection to a name: resolved without blocking past the deadline, all its addresses tried, the first that
 * answers wins. */
#ifndef TRANSPORT_CONNECT_H
#define TRANSPORT_CONNECT_H
#include "transport/patience.h"

#include <stdbool.h>

struct connect_wish {
    const char *host;
    int port;
    int family;               /* AF_UNSPEC, AF_INET, AF_INET6 */
    const char *bind_address; /* "": any */
    bool keepalive;
    int64_t *resolve_us;      /* is told how long the names took; NULL: nobody wants to know */
};

/* Returns a connected socket (non-blocking, close-on-exec, TCP_NODELAY), or -1 with err: SSX_ERROR_UNREACHABLE, saying
 * whether the name is not found, nobody listens, nothing answers or there is no way there; SSX_ERROR_INTERRUPTED. */
int connect_tcp(const struct connect_wish *wish, const struct patience *patience, struct ssx_error *err);

/* Has the kernel acknowledge what comes next at once. Not sticky: to be called before each wait. Without it, sshd's
 * Nagle and our delayed acknowledgement add up to a pause of 40 ms in every cold connection. */
void connect_quickack(int fd);

#endif
