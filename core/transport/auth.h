/* Proving who we are, with keys only: each that could do, one after the other, in ssh's order. */
#ifndef TRANSPORT_AUTH_H
#define TRANSPORT_AUTH_H
#include "transport/login.h"

/* Returns 0 when the server is satisfied, or -1 with err, which names what was tried. */
int auth_run(struct login *l, struct ssx_error *err);

#endif
