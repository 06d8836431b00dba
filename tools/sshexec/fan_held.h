/* Ends of hosts that are told later: once somebody has gone who still has to do with the host. */
#ifndef SSHEXEC_FAN_HELD_H
#define SSHEXEC_FAN_HELD_H
#include <sshexec/fleet.h>

/* Zeroed: none. */
struct fan_held {
    struct held {
        struct held *next;
        struct ssx_fleet_event event; /* an SSX_FLEET_END, all of it owned but for name and context */
        struct ssx_ending ending;
        struct ssx_fleet_timing timing;
        char texts[];
    } *first;
};

/* Keeps a copy of the event, an SSX_FLEET_END. Returns 0, or -1 without memory. */
int fan_held_keep(struct fan_held *h, const struct ssx_fleet_event *e);

/* Takes one out for which `due` holds; the caller frees it. NULL: there is none. */
struct held *fan_held_take(struct fan_held *h, bool (*due)(void *user, size_t host), void *user);

#endif
