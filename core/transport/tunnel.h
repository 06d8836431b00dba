/* A tunnel is a logged-in libssh session that carries other connections: each a direct-tcpip channel of it, which the
 * server at its far end connects to a host and port.
 *
 * One thread owns the session, opens the channels and moves the bytes, between a channel and one end of a socket pair;
 * the other end is handed out as if it were a TCP connection. What either side does not take stays with the other, for
 * each connection apart: a slow one holds up none of its siblings. */
#ifndef TRANSPORT_TUNNEL_H
#define TRANSPORT_TUNNEL_H
#include "transport/patience.h"

#include <libssh/libssh.h>
#include <stdbool.h>

struct tunnel;
struct passage; /* one connection through a tunnel */

/* The session becomes the tunnel's, whatever is returned. name: what people call its server; copied. After alive_s of
 * silence (0: never) the server is asked for a sign of life; alive_max of these in a row may stay without one. Returns
 * 0, or -1 with err (SYSTEM). */
int tunnel_start(struct tunnel **out, ssh_session session, const char *name, int alive_s, int alive_max, struct ssx_error *err);

/* Gives what has been handed in a moment to leave, says goodbye, ends the thread. Every passage must have been closed.
 * NULL is fine. */
void tunnel_end(struct tunnel *t);

/* Whether its connection has ended; from any thread. *served, unless NULL: whether anybody had come through. */
bool tunnel_is_lost(struct tunnel *t, bool *served);

/* Has the server connect to host:port. Returns 0, with a socket (non-blocking, close-on-exec) that is the caller's to
 * close; or -1 with err: UNREACHABLE, saying whether the server may not forward, can't connect or has gone;
 * INTERRUPTED; SYSTEM. From any thread. */
int passage_open(struct passage **out, int *fd, struct tunnel *t, const char *host, int port,
                 const struct patience *patience, struct ssx_error *err);

/* To be called once its socket is closed. NULL is fine. */
void passage_close(struct passage *p);

/* Whether the connection ended because that to the tunnel's server has: err then says so, in place of what it held. p
 * may be NULL. */
bool passage_explain(struct passage *p, struct ssx_error *err);

#endif
