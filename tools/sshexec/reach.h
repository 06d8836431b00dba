/* Opening a link to a host, or to this machine, with the settings of the command line. */
#ifndef SSHEXEC_REACH_H
#define SSHEXEC_REACH_H
#include "fleet/link.h"
#include "settings.h"

#include "transport/ask.h"

struct reach {
    struct link link;
    struct agent_image agent;
};

/* host NULL: this machine, through a local agent. interrupt_fd as in struct transport_target. Returns 0 or -1. r stays
 * in place until reach_close. */
int reach_open(struct reach *r, const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err);

/* To be called with each message: HELLO lets what stderr held back through. */
void reach_message(struct reach *r, const struct settings *s, const struct message *m);

/* Opens a session with a host and ends it once the agent has answered: the host then has the agent. Returns 0 or -1. */
int reach_settle(const struct settings *s, const char *host, int interrupt_fd, struct ssx_error *err);

/* Asks for the descriptor of a type, or of all (NULL), and hands each message (HELLO, DESCRIBE) to `visit` until the
 * answer is complete. Returns the exit code; what went wrong was said on stderr, but for EXIT_UNKNOWN_TYPE, for the
 * sender may have what the node lacks. */
int reach_describe(struct reach *r, const struct settings *s, const char *type, int interrupt_fd,
                   void (*visit)(void *user, const struct message *m), void *user);

/* The host as the transport takes it, with questions asked on the terminal. What out points to lives as long as
 * terminal and s do. */
void reach_target(struct transport_target *out, struct ask_terminal *terminal, const struct settings *s,
                  const char *host, int interrupt_fd);

void reach_close(struct reach *r);

#endif
