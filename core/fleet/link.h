/* A link is a session in motion: a transport and the client that speaks through it. Opening blocks; after that the
 * owner polls and calls link_step. */
#ifndef FLEET_LINK_H
#define FLEET_LINK_H
#include "client/client.h"
#include "transport/target.h"
#include "transport/transport.h"

struct link {
    struct transport *transport;
    struct client *client;
    bool ended;                        /* nothing more will come; client_lost was called */
    int timer, patience_ms;  /* a timerfd: how long the far side may be silent before its agent answers, then alive_ms;
                                -1 when nothing is waited for */
    int alive_ms, alive_max; /* once it has answered: how often it is asked for a sign of life (0: never), and how many
                                of those may go unheard in a row */
    bool watched, leased,
        heard; /* that has begun; it wants signs of life from us, too; something was heard since the last question */
    int unheard;
    void (*on_stderr)(void *user, const void *bytes, size_t n); /* what the far side says beside the protocol, from link_answered on */
    void *user;
    bool answered;
    struct buf early;                  /* what it said before: part of the error if no agent ever answers */
};

/* The agent of this installation, as a child process with these arguments (ended by NULL), in the way that
 * transport_open_local takes from target. */
int link_open_local(struct link *out, const struct transport_target *target, const char *const *argv, struct ssx_error *err);

/* An agent on a host: found there, or sent. One that says nothing for connect_timeout_ms (0: a minute; two where the
 * user may be asked something) is not there. agent is borrowed while the link lives. */
int link_open_host(struct link *out, const struct transport_target *target, const struct agent_image *agent,
                   enum bootstrap_mode mode, struct ssx_error *err);

/* What to poll for; returns how many entries (at most TRANSPORT_FDS). read: whether the owner wants more from the agent
 * now. */
size_t link_poll(struct link *l, bool read, struct pollfd *out);

/* Moves what can be moved: sends what waits, reads one piece if `read`. All messages must have been taken by
 * client_next before. Returns 1 when something was read, 0 when not, -1 with err when the link is gone: the owner then
 * calls link_fail. */
int link_step(struct link *l, bool read, struct ssx_error *err);

/* To be called when HELLO came: what stderr held back goes through. */
void link_answered(struct link *l);

/* Makes err, for a link that failed before the agent answered, say what the far side said. */
void link_explain(const struct link *l, struct ssx_error *err);

/* The link is of no use any more: client_next will deliver the ends of the open calls, with this message. */
void link_fail(struct link *l, const char *why);

/* Closes and frees what the link owns. */
void link_close(struct link *l);

#endif
