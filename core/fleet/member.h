/* A member: one host of a run, as engine, visits and pumps know it. */
#ifndef FLEET_MEMBER_H
#define FLEET_MEMBER_H
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
    char *host;
    const void *state;
    size_t state_size;
    struct member *next;           /* of the list that its stage has in the engine */
    enum member_stage stage;
    struct pass pass;
    bool counted;                  /* among those who are logging in */
    unsigned tries;
    int64_t first_ms, rest_until_ms; /* the first try; RESTING */
    /* The pump's: */
    struct pump *pump;
    struct visit *visit;           /* while it is the pump's */
    struct member *next_grant;
    bool grant_listed;
    atomic_size_t consumed;        /* bytes that the program has taken since the last grant */
    atomic_uint_fast64_t sent, asked; /* bytes of an offer's objects, as client_upload */
    /* The program's thread's: */
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

/* Its END is about to be told. */
void engine_ends(struct member *m);

/* Whether the member, turned away before anything was sent, may be tried again; its visit is then over without an END. */
bool engine_may_try_again(struct member *m, int timeout_ms);

#endif
