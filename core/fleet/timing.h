/* Where a host's time went, in microseconds; 0 for what it did not come to, or what a child process did unseen. */
#ifndef FLEET_TIMING_H
#define FLEET_TIMING_H
#include <stdint.h>

struct timing {
    int64_t wait_us;     /* in line: until its turn came, with the pauses between tries */
    int64_t look_us;     /* its ssh configuration, known_hosts and keys */
    int64_t resolve_us, connect_us, exchange_us, auth_us;
    int64_t agent_us;    /* from there to the agent's answer: channel, shell, perhaps the agent's upload */
    int64_t upload_us;   /* of the plugin, where the host lacked it */
    int64_t load_us;     /* from the whole call being sent to its end, less run_us: the way there and back, and loading the plugin */
    int64_t run_us;      /* the worker's own wall time, as its agent took it */
    int64_t drain_us;    /* from the end's arrival to the program being told: it was busy with what came before */
    int64_t total_us;    /* from the start of the run */
    unsigned tries;
};

#endif
