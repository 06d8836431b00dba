/* A visit: one host's session of a run, from its opening to its end. The crew opens and closes it, a pump moves it in
 * between. visit.c is its life, visit_calls.c what is called in it: the host's one call, or items one after the
 * other. */
#ifndef FLEET_VISIT_H
#define FLEET_VISIT_H
#include "fleet/crew.h"
#include "fleet/engine.h"
#include "fleet/joint.h"
#include "fleet/link.h"
#include "fleet/news.h"
#include "transport/attempt.h"

#include <poll.h>

#define VISIT_FDS (TRANSPORT_FDS + JOINT_FDS)

struct pump;

/* One of the calls that a visit has at once. */
struct visit_call {
    uint32_t id;                           /* 0: it is free */
    size_t item;                           /* NEWS_NONE: the host's own call */
    off_t input_at;                        /* how much of the input was given to the worker; -1: all of it, or there is none */
    int64_t begun_us, upload_us, sent_us;  /* in the agent's hands; the plugin's upload begun, and done; 0: not yet */
    int64_t give_up_ms;                    /* when to stop waiting for the agent; 0: never */
    const char *give_up_why;
};

struct visit {
    struct crew_job job;                   /* the opening, later the closing */
    struct member *member;                 /* whose it is */
    struct visit *next, *next_ready;       /* of the pump's */
    struct pump *pump;
    struct link link;
    struct visit_call *calls;              /* owned */
    size_t call_count, open_calls;
    struct joint joint;                    /* of the host's own call */
    struct transport_attempt attempt;
    uint32_t slot;                         /* the pump's name for it; 0: none */
    bool is_ready, is_paused;
    char *why;                             /* owned: why the link is of no use any more, told once all that has come is dealt with */
    int64_t began_us, opened_us, answered_us; /* when; 0: not yet */
    struct timing did;                     /* upload_us, load_us, run_us of the items that have ended */
    int64_t checked_ms;                    /* the last visit_check_time */
    bool was_paused;                       /* at some time since then */
    bool stopping;                         /* it was told to end */
    bool again;                            /* it is over without an END: its member will be visited again */
    bool has_run;                          /* an item, that is: the host takes such calls */
    bool no_more;                          /* items will come */
    char *refusal;                         /* owned: why the host takes no items; NULL: it does */
};

/* In a thread of the crew: blocks. Returns 0, or -1 with err; then visit_fail or another try, and visit_close. */
int visit_open(struct visit *v, struct ssx_error *err);

/* Makes err the member's END. */
void visit_fail(struct visit *v, const struct ssx_error *err);

/* In a thread of the crew: may block for as long as a child takes to leave. Frees it. */
void visit_close(struct visit *v);

enum visit_state { VISIT_READY, VISIT_WAITS, VISIT_PAUSED, VISIT_OVER };

/* Moves what can be moved. READY: call again soon; WAITS: when link_poll's descriptors say so; PAUSED: when the program
 * has taken more of the news; OVER: its END is among the news. */
enum visit_state visit_step(struct visit *v);

/* Takes what was handed over for its joint. */
void visit_join(struct visit *v);

/* The program has taken more of what the host said. */
void visit_consumed(struct visit *v);

/* Cancels what is called; the session ends by itself, or after the grace time. */
void visit_stop(struct visit *v);

/* The session is of no use any more. */
void visit_give_up(struct visit *v, const char *why);

/* Gives up where it is time to. */
void visit_check_time(struct visit *v, int64_t now_ms);

/* What to wait for: at most VISIT_FDS entries. */
size_t visit_poll(struct visit *v, struct pollfd *out);

#endif
