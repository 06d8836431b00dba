/* A name's addresses, within a deadline: getaddrinfo can't be interrupted, so it runs in a thread that may be left
 * behind. */
#ifndef TRANSPORT_RESOLVE_H
#define TRANSPORT_RESOLVE_H
#include "transport/patience.h"

#include <netdb.h>

/* *out: at least one address of a stream socket, to be freed with freeaddrinfo. Returns 0, or -1 with err (SSX_ERROR_UNREACHABLE:
 * not found, or no answer in time; SSX_ERROR_INTERRUPTED). An address in digits takes no thread. */
int resolve(struct addrinfo **out, const char *host, int port, int family, const struct patience *patience, struct ssx_error *err);

#endif
