/* The transport that is a child process: any command whose stdin and stdout reach an agent, such as the system ssh or a
 * local agent. */
#ifndef TRANSPORT_SPAWN_H
#define TRANSPORT_SPAWN_H
#include "transport/transport.h"

/* Starts argv (ended by NULL; argv[0] is looked up in PATH) with three pipes. It leads a session of its own, so that a
 * terminal's Ctrl-C reaches us alone, has default signal dispositions, and inherits no other descriptor. `name` is what
 * transport_name says; it must outlive the transport. Returns 0, or -1 with err (SSX_ERROR_SYSTEM) when it could not be
 * started. */
int spawn_open(struct transport **out, const char *name, const char *const *argv, struct ssx_error *err);

enum spawn_how {
    SPAWN_ASKING = 1, /* it may have to ask the user something: it stays in our session and so keeps the terminal, with
                       * SIGINT and SIGQUIT blocked, so that a Ctrl-C still reaches us alone */
    SPAWN_FIFO = 2,   /* its stdin is a named pipe (fifo.h) */
};

/* The same, with these of enum spawn_how. */
int spawn_open_how(struct transport **out, const char *name, const char *const *argv, unsigned how, struct ssx_error *err);

#endif
