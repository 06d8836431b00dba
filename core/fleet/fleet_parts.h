/* A fleet from within: fleet.c makes one, tells its news and moves it; fleet_describe.c is the fleet that is asked for
 * plugins, fleet_bundle.c those that are asked something about bundles. */
#ifndef FLEET_FLEET_PARTS_H
#define FLEET_FLEET_PARTS_H
#include "fleet/agents.h"
#include "fleet/engine.h"
#include "fleet/types.h"

#include <sshexec/fleet.h>

struct ssx_fleet {
    struct ssx_fleet_options o;
    struct ssx_session_options session;
    char port[16];
    char *type_name;
    bool has_type;                   /* this end has the plugin */
    struct type type;
    struct agent_image agent;
    char *local_agent;               /* its path */
    const char *local_argv[4];
    bool calls;                      /* hosts run a worker; else they are asked for something else */
    struct client_offer offer;       /* bundles: what they are asked */
    char *words;                     /* owned: a text of that */
    struct buf state;
    struct engine *engine;
    struct own {
        void *context, *state;       /* what was added with it */
        uint64_t announced;          /* bundles: bytes that it says are to come */
        bool answered;               /* likewise: with what makes sense */
    } *hosts;
    size_t count, capacity;
    size_t fanout;
    bool started;
};

/* Makes one that asks nothing yet: takes the options, and puts into e what they come to, with the listener that tells
 * of runs. e borrows from it. Returns it, or NULL with err. */
struct ssx_fleet *fleet_new(struct engine_options *e, const struct ssx_fleet_options *options, struct ssx_error *err);

/* The end of each function that opens one: gives f, whose hosts are asked what e says, to the program. failed: it could
 * not be made; it is freed then. Returns 0, or -1 with *out NULL and err. */
int fleet_opened(struct ssx_fleet **out, struct ssx_fleet *f, bool failed, const struct engine_options *e,
                 struct ssx_error *err);

/* Tells of a host's end: the listener's on_end, unless there is more to it. */
void fleet_tell_end(void *fleet, size_t host, struct message_end *e, const struct timing *t);

/* Calls back: fills in whom the event is about. */
void fleet_tell(struct ssx_fleet *f, size_t host, size_t item, struct ssx_fleet_event *event);

#endif
