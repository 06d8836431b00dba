/* The transport that is a channel of a libssh session in this process. */
#ifndef TRANSPORT_LIBSSH_H
#define TRANSPORT_LIBSSH_H
#include "transport/login.h"
#include "transport/transport.h"

/* Runs the command on a channel of the session, which is logged in. On success the transport owns the session and its
 * passage, which are NULL in l then, and holds the bastion; it borrows nothing of l. Returns 0 or -1 with err. */
int libssh_exec(struct transport **out, struct login *l, const char *command, struct ssx_error *err);

#endif
