/* An engine from within: engine.c makes it and conducts hosts, dealing.c says which host gets which item, telling.c is
 * what the program's thread does. */
#ifndef FLEET_ENGINE_PARTS_H
#define FLEET_ENGINE_PARTS_H
#include "fleet/crew.h"
#include "fleet/items.h"
#include "fleet/member.h"
#include "fleet/pump.h"
#include "transport/common.h"

#include <pthread.h>

#define PUMPS_MAX 4

struct engine {
    struct engine_options o;
    struct member *members;
    size_t count, capacity;
    struct news *news;
    struct common *common;           /* what openings share */
    struct crew *openers, *closers;
    struct pump *pumps[PUMPS_MAX];
    size_t pump_count, next_pump;
    int stop_fd;                     /* readable once no host is to be opened any more */
    int64_t began_us, deadline_ms;
    bool started, conducting;
    pthread_t conductor;

    struct items items;              /* none: each host has a call of its own */
    atomic_uint_fast64_t moved_in, moved_out; /* bytes, through joints */

    pthread_mutex_t lock;            /* of all that follows */
    pthread_cond_t change;
    struct deal *deal;               /* of the items; NULL: there are none */
    size_t expected;                 /* the sum of members' `expects` */
    struct pacing *pacing;
    struct member *first, **last;    /* WAITING, in the order in which they get their turn */
    struct member *resting;
    size_t open, logging_in;         /* sessions, from the opening to the end of the closing; those of them that have not been let in yet */
    size_t stages[MEMBER_ENDED + 1]; /* how many members are in each */
    enum ssx_outcome stopped;        /* OK: no; CANCELLED, TIMEOUT */
    bool no_more;                    /* hosts are to be begun with */
    bool finished;                   /* all have ended, and are closed */

    /* the program's thread's */
    struct news_item *pending;
    size_t told;                     /* hosts and items */
    size_t refusers;                 /* hosts that were told to have ended as REFUSED */
    unsigned char *items_told;       /* which of the items */
    size_t made_up;                  /* items looked at since all was over */
};

/* Why those ended that had not begun; with the lock. */
const char *engine_why_unbegun(const struct engine *e);

/* --- dealing.c; with the lock --- */

#define DEALING_OVER "other hosts had done all items"

/* Makes the deal of what was added. Returns 0 or -1. */
int dealing_start(struct engine *e, struct ssx_error *err);

/* Whether one more host would find something to do; whether no host has anything to do any more. */
bool dealing_wants_host(const struct engine *e);
bool dealing_is_over(const struct engine *e);

/* The member will take so many items as soon as it can. */
void dealing_expect(struct member *m, size_t items);

/* Those that had no items look for some again, or end. */
void dealing_look(struct engine *e);

/* --- telling.c --- */

/* Frees a piece of news; those who waited for room go on. */
void telling_done(struct engine *e, struct news_item *item);

bool telling_is_over(struct engine *e);

#endif
