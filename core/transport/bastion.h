/* Bastions: hosts through which others are reached (ProxyJump). All hosts of a run that go by one share its login,
 * which is tried once; one bastion may lie behind another. */
#ifndef TRANSPORT_BASTION_H
#define TRANSPORT_BASTION_H
#include "transport/target.h"

struct bastions; /* those of a run */
struct bastion;
struct passage;

/* NULL without memory. */
struct bastions *bastions_new(void);

/* Each bastion ends with the last who holds it. NULL is fine. */
void bastions_free(struct bastions *all);

/* The last hop of `jump` (a ProxyJump: "user@host:port,..."), behind those before it, or behind those that the
 * configuration names for it. Nothing is connected yet. target: on whose behalf, with the configuration file, whom to
 * ask and log to; borrowed for the call. Returns 0, or -1 with err: a hop that can't be one or that ssh refuses, a
 * loop, INTERRUPTED. The caller holds it until bastion_release. From any thread. */
int bastion_find(struct bastion **out, struct bastions *all, const struct transport_target *target, const char *jump,
                 struct ssx_error *err);
void bastion_release(struct bastion *b);

/* One holder more. */
void bastion_hold(struct bastion *b);

/* Why the way there needs the system ssh, in words; "" where libssh will do. */
const char *bastion_reason(const struct bastion *b);

/* What people call it. */
const char *bastion_name(const struct bastion *b);

/* Connects to host:port through it; logs in to it first where nobody has. Blocks for timeout_ms at most, not counting
 * what the user takes to answer. Returns a socket as passage_open does (tunnel.h), or -1 with err; a login that failed
 * is not tried again: whoever comes later gets the same error. From any thread. */
int bastion_connect(struct bastion *b, struct passage **out, const struct transport_target *target, const char *host,
                    int port, int timeout_ms, struct ssx_error *err);

#endif
