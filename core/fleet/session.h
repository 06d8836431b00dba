/* What <sshexec/client.h> promises, from within: sessions and their runs. session.c moves them, session_open.c makes
 * them, run.c is a run's life, run_take.c what comes for it, run_pull.c what the program takes of that, run_value.c its
 * values, run_queue.c what can't travel yet. */
#ifndef FLEET_SESSION_H
#define FLEET_SESSION_H
#include "base/arena.h"
#include "fleet/agents.h"
#include "fleet/link.h"
#include "fleet/types.h"

#include <sshexec/client.h>

/* A type of this end that a run of this session has named. */
struct known_type {
    struct known_type *next;
    char *word;                      /* as the program names it */
    bool here;                       /* this end has it; else only the node may */
    struct type type;
};

struct ssx_session {
    struct link link;
    struct agent_image agent;        /* zeroed for a local one */
    struct ssx_session_options o;    /* its texts are gone; what stays are the callbacks and interrupt_fd */
    char *plugin_path;
    struct known_type *types;        /* the last one asked for first */
    struct ssx_run *runs;            /* all that have not been freed */
    struct ssx_run **open;           /* those that are under way, chained by id & open_mask */
    size_t open_mask, open_count;
    size_t running;                  /* neither ended nor freed */
    size_t calls, calls_max;         /* open at the agent; what it takes at once */
    struct ssx_run *first_waiting, *last_waiting;
    size_t cancelled_waiting;        /* how many of those that wait will only be told so */
    struct ssx_run *calling;         /* whose callback is running */
    bool in_callback;
    bool hello;                      /* the agent has answered */
    struct ssx_error error;          /* why the session is over */
    struct buf text;                 /* of one callback, with a NUL */
    int epoll_fd;                    /* -1 until it is asked for */
    int awake_fd;                    /* always readable; made when first needed: a step has work that no descriptor tells of */
    struct pollfd watched[TRANSPORT_FDS + 1];
    size_t watched_count;
    bool armed;                      /* what was queued since the last step is watched for already */
};

struct ssx_run {
    struct ssx_session *session;     /* NULL once that is closed */
    struct ssx_run *next, *previous; /* of session->runs */
    struct ssx_run *next_open;       /* of its chain */
    uint32_t id;                     /* 0 as long as it waits */
    const struct known_type *type;
    bool waits, cancelled;
    struct ssx_run *waits_after, *waits_before;
    struct buf waiting_state;
    struct ssx_run_options o;
    bool ended, freed;               /* freed: by its own callback, which has not returned yet */
    bool input_ended;
    struct buf streams[2];           /* stdout and stderr, not yet taken */
    struct buf items;                /* not yet taken, the oldest first, its length (a uint32_t) before each: a window may be full of
                                        items of a byte */
    struct buf item;                 /* the one that the program borrows */
    size_t unread;                   /* bytes of all of them that the host has not been told of */
    struct buf result, state;
    struct arena item_memory, memory;
    struct ssx_ending ending;
    char *ending_texts;              /* owned: what `ending` points to */
};

/* --- session.c --- */

/* Moves until `done` says so (NULL: never). Returns 0 when it does, SSX_AGAIN when timeout_ms have passed, -1 with err:
 * interrupted, or called from a callback. */
int session_until(struct ssx_session *s, bool (*done)(const void *what), const void *what, int timeout_ms, struct ssx_error *err);

/* Something was queued: the program's event loop must learn of it. */
void session_queued(struct ssx_session *s);

/* --- run.c --- */

/* Makes the run of an id known, for which there must be room, or forgets it once it has ended or nobody cares any more.
 * session_reserve fails without memory. */
int session_reserve(struct ssx_session *s);
void session_know(struct ssx_session *s, struct ssx_run *run);
void session_forget(struct ssx_session *s, struct ssx_run *run);
struct ssx_run *session_run(const struct ssx_session *s, uint32_t id);
void run_destroy(struct ssx_run *run);

/* The program has taken n bytes of what was kept for it. */
void run_consumed(struct ssx_run *run, size_t n);

/* --- run_queue.c --- */

/* Sends the call, now or when its turn comes. Returns 0, or -1 with err. */
int queue_start(struct ssx_run *run, const void *state, size_t n, struct ssx_error *err);

/* A run that waits does so no more. */
void queue_leave(struct ssx_run *run);

/* Sends what has its turn, and ends what will not have one, with callbacks. Returns whether there was anything. */
bool queue_advance(struct ssx_session *s);

/* --- run_take.c --- */

/* Deals with a message for a run, and calls back. Returns 0, or -1 with err: no memory. */
int run_take(struct ssx_session *s, const struct message *m, struct ssx_error *err);

/* Ends the run, and calls back. */
void run_end(struct ssx_session *s, struct ssx_run *run, const struct message_end *e);

/* Ends the run without a callback: the session is closed under it. */
void run_abandon(struct ssx_run *run);

#endif
