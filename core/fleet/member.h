/* A member: one host of a run, as engine, visits and pumps know it. */
#ifndef FLEET_MEMBER_H
#define FLEET_MEMBER_H
#include "fleet/deal.h"
#include "fleet/engine.h"
#include "fleet/news.h"
#include "fleet/pacing.h"

#include <stdatomic.h>

struct visit;

enum member_stage {
    MEMBER_WAITING,    /* for its turn */
    MEMBER_PARKED,     /* for a place among those who log in where it does */
    MEMBER_RESTING,    /* between two tries */
    MEMBER_OPENING,
    MEMBER_RUNNING,
    MEMBER_ENDED,      /* its END is among the news; the session may still be closing */
};

struct member {
    struct engine *engine;
    size_t number;
    char *host;                    /* NULL: this machine */
    const void *state;
    size_t state_size;
    struct member *next;           /* of the list that its stage has in the engine */
    enum member_stage stage;
    struct pass pass;
    bool counted;                  /* among those who are logging in */
    unsigned tries;
    int64_t first_ms, rest_until_ms; /* the first try; RESTING */
    size_t expects;                /* items that it could begin with, or will be able to once it is open */
    /* The pump's: */
    struct pump *pump;
    struct visit *visit;           /* while it is the pump's */
    struct member *next_grant;
    bool grant_listed;
    atomic_uint_fast64_t *consumed; /* of each of its calls: its id in the upper half, bytes that the program has taken
                                       since the last grant in the lower */
    atomic_uint_fast64_t sent, asked; /* bytes of an offer's objects, as client_upload */
    atomic_bool joining;           /* these two are to be the joint's: */
    int join_in, join_out;
    /* The program's thread's: */
    bool greeted, joined;          /* its HELLO was told; descriptors were handed over */
    bool told;                     /* its END */
};

/* --- what visits and pumps need of the engine; from any thread --- */

const struct engine_options *engine_options_of(const struct engine *e);
struct news *engine_news(const struct engine *e);

/* Why a run was ended before its hosts had, and in which words; SSX_OUTCOME_OK: it was not. */
enum ssx_outcome engine_stopped(const struct engine *e, const char **why);
int64_t engine_began_us(const struct engine *e);

/* The host has let us in: others may log in where it did. */
void engine_logged_in(struct member *m);

/* Takes what was handed over for its joint: returns whether there was something. */
bool member_take_join(struct member *m, int *in, int *out);

/* Closes it, where nobody is there any more to take it. */
void member_drop_join(struct member *m);

/* So many bytes have gone through its joint. */
void engine_moves(struct member *m, size_t in, size_t out);

/* Its END is about to be told. */
void engine_ends(struct member *m);

/* How many calls a host has at once; and whether items are dealt, or each host has a call of its own. */
size_t engine_calls(const struct engine *e);
bool engine_deals(const struct engine *e);

/* Takes items for so many calls that are free. Returns how many there were; *over: none will ever come any more. */
size_t engine_take(struct member *m, size_t *items, size_t wanted, bool *over);

/* Adds an item's state on this host to out. Returns 0, or -1 with err. */
int engine_item_state(struct buf *out, const struct member *m, size_t item, struct ssx_error *err);

/* Whether an item that is out may be dealt again, after such an end; then engine_return gives it back. *hosts: under
 * how many others it failed. */
bool engine_may_return(struct engine *e, size_t item, enum ssx_outcome outcome, unsigned *hosts);
void engine_return(struct engine *e, size_t item, enum ssx_outcome outcome);

/* Whether all items have ended, so that the hosts that are still being reached are not needed; and the words for
 * that. */
bool engine_has_dealt(struct engine *e, const char **why);

/* An item's END is about to be told. */
void engine_item_ends(struct engine *e, size_t item);

/* Whether the member, turned away before anything was sent, may be tried again; its visit is then over without an
 * END. */
bool engine_may_try_again(struct member *m, int timeout_ms);

#endif
