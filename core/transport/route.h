/* The way to a host: which transport, why, and opening it. What everything above this room calls. */
#ifndef TRANSPORT_ROUTE_H
#define TRANSPORT_ROUTE_H
#include "transport/target.h"
#include "transport/transport.h"

struct route {
    bool libssh;
    char by[80];       /* for people: "libssh", "the system ssh", "a fifo and the system ssh", a template's name */
    char why[400];     /* in words: "the configuration asks for nothing that libssh lacks", "CertificateFile is set (/home/a/cert)" */
    char user[128], hostname[256]; /* whom it means; "" where anything but libssh was asked for by name, for then nobody looks */
    int port;
};

/* Which way the target would be reached, without connecting: for `doctor` and -v. Returns 0, or -1 with err
 * (SSX_ERROR_USAGE: a host or a configuration that ssh refuses, or TRANSPORT_LIBSSH where libssh can't honour the
 * configuration). */
int route_find(struct route *out, const struct transport_target *target, struct ssx_error *err);

/* Connects and starts `command`, a line for the login shell of the host (as target->become where that is set). Blocks,
 * but for no longer than the timeouts of target, and only until its interrupt_fd is readable. With libssh, a return of
 * 0 means that the command was started; with a child process, that it was: whether it gets anywhere shows in what is
 * read. Returns 0, or -1 with err: USAGE, UNREACHABLE, INTERRUPTED or SYSTEM. Safe to call from several threads. */
int transport_open(struct transport **out, const struct transport_target *target, const char *command, struct ssx_error *err);

/* Starts argv on this machine: as target->become where that is set, on a fifo with TRANSPORT_FIFO. Other than that, and
 * whom to ask and log to, target means nothing here. Returns as transport_open. */
int transport_open_local(struct transport **out, const struct transport_target *target, const char *const *argv, struct ssx_error *err);

#endif
