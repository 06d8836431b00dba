/* What the agent and a worker host say to each other, over one SOCK_SEQPACKET socket: fixed structs, one a packet. Both
 * are of one build and on one machine. The agent still checks what comes back, because a plugin's constructors ran in
 * the host.
 *
 * A host is started with descriptor 3 as this socket and 4 as the plugin's image, and arguments: name, profile, type,
 * temporary directory (of the host's own, "" for none), and "selftest" for one that only loads the plugin, has it test
 * itself, reports READY or FAILED, and leaves. Else it forks a process for each HOST_RUN: for one call, or (a lane) for
 * one call after the other. Calls themselves go over a socket that each process has, which carries frames of
 * PROTOCOL.md: CALL and STATE down; LOG, PROGRESS, ITEM, RESULT, STATE, END up. On this way, CALL's timeout_ms is the
 * moment (in clock_ms) when time is up. A lane's END counts in `out` and `err` what the process has written in all its
 * calls so far. The first thing that a lane gets is a seal, LANE_SEAL random bytes, which it puts before each answer
 * (RESULT, STATE, END): a worker that writes to the socket spoils its own call, but can't end it, nor swallow another
 * one's frames. */
#ifndef AGENT_HOST_PROTOCOL_H
#define AGENT_HOST_PROTOCOL_H
#include <stdatomic.h>
#include <stdint.h>

#define HOST_SOCKET_FD 3
#define HOST_PLUGIN_FD 4
#define HOST_PROGRAM_FD 5 /* where musl's loader finds the host's own program; it closes that */

/* Order of the descriptors sent with HOST_RUN; the last for lanes only. */
enum host_run_fd { HOST_FD_CONTROL, HOST_FD_STDIN, HOST_FD_STDOUT, HOST_FD_STDERR, HOST_FD_PAGE, HOST_FDS };

struct host_request {
    enum { HOST_RUN = 1, HOST_SIGNAL } op;
    uint32_t process;                  /* the agent's number for it, never used twice */
    uint32_t lane;                     /* HOST_RUN: not 0: a lane */
    int32_t signal;                    /* HOST_SIGNAL: to the process's group */
};

struct host_report {
    enum { HOST_READY = 1, HOST_FAILED, HOST_ENDED, HOST_SIGNALLED } op;
    uint32_t process;                  /* HOST_ENDED; HOST_SIGNALLED: the signal is on its way to it, or it has gone */
    int32_t status;                    /* HOST_ENDED: as waitpid gives it */
    uint64_t user_us, sys_us, rss_kb;  /* HOST_ENDED */
    char reason[16];                   /* HOST_FAILED: the word for END refused */
    char text[480];                    /* HOST_FAILED, HOST_ENDED: why; HOST_READY: the protection achieved */
};

/* Memory that a lane shares with the agent, so that neither needs a system call to know what the other is about. Orders
 * are counted from 1. The plugin can write to it as well: the agent believes nothing here that could hurt another
 * lane. */
#define LANE_DEPTH 256                 /* orders given to a lane at once */
#define LANE_SEAL 16
struct lane_page {
    _Atomic uint32_t running;          /* the lane: 2 * n + 1 while order n runs, 2 * n after it */
    _Atomic uint32_t hold;             /* not 0: no order begins; a futex. The agent sets it to signal the one that runs, the lane after a
                                        * call that said more than the smallest window; the agent alone clears it */
    _Atomic uint32_t revoked_count;    /* the agent: orders that are to be passed over */
    _Atomic uint32_t revoked[LANE_DEPTH];
    struct {                           /* the agent: bytes read of stdout and stderr so far; `turn` is odd while it reads */
        _Atomic uint32_t turn;
        _Atomic uint64_t count;
    } read[2];
};

#endif
