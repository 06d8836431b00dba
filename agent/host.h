/* A worker host from the agent's side: the process that has loaded one plugin and forks the processes of its calls
 * (host_protocol.h). */
#ifndef AGENT_HOST_H
#define AGENT_HOST_H
#include "host_protocol.h"
#include "channels.h"
#include "job_queue.h"
#include "plugins.h"

#include <sys/types.h>

#define PROCESSES_MAX 64               /* of calls at once; more calls wait */

struct host {
    struct host *next;
    struct image *image;               /* held */
    pid_t pid;
    bool dead;                         /* reaped, with this status */
    int status;
    int socket;
    char temp[64];                     /* its calls' temporary directories are in here; "" for none */
    enum { HOST_LOADING, HOST_UP, HOST_DOWN } state; /* DOWN: no more calls for this one; it is about to leave */
    struct job_queue waiting;          /* calls that wait for it, or for a process of it */
    size_t calls;                      /* that have it as their host */
    uint32_t processes;                /* numbers given so far */
    size_t live;                       /* processes that it has not reported as ended */
    struct { uint32_t process; int64_t until_ms; } forgotten[PROCESSES_MAX];
    size_t forgotten_count;
    bool used;                         /* a call has taken a process for itself, so that the next one may want one too */
    uint32_t ready;                    /* a process that waits for a call; 0: none */
    struct channels ready_io;          /* its channels */
    unsigned signalling;               /* signals that it was sent and has not reported */
    struct buf signals;                /* host_requests of those that wait for that */
    int64_t used_ms;                   /* when its last call ended */
    char sandbox[160];                 /* the protection achieved */
};

/* Starts a host for an image. Returns it, or NULL with err set. prove: one that only loads the plugin and has it test
 * itself, reports, and leaves. */
struct host *host_start(struct image *image, bool prove, struct ssx_error *err);

/* Asks it for a process (a lane where a page is among the descriptors, else fds[HOST_FD_PAGE] is -1) that works on
 * these descriptors, in the order of host_run_fd; they stay the caller's. Returns 0 with *process, the number for it,
 * or -1 with errno (EPIPE: the host has gone). */
int host_run(struct host *h, uint32_t *process, const int fds[HOST_FDS]);

/* The same for one call, with channels made for it, which are the caller's in any case. */
int host_run_call(struct host *h, uint32_t *process, struct channels *io, bool input);

/* A call's process has said that it is done: it is forgotten, and killed where it hasn't gone soon after (host_tick,
 * which returns when it must be called next, in clock_ms). */
void host_forget(struct host *h, uint32_t process);
int64_t host_tick(struct host *h, int64_t now_ms);

/* Makes a process ready for the next call of its type, if none is; lets it go; hands it out. The last returns 0, or -1
 * where there is none. */
void host_make_ready(struct host *h);
void host_drop_ready(struct host *h);
int host_take_ready(struct host *h, uint32_t *process, struct channels *io);

/* To a process and its group. Returns whether one more HOST_SIGNALLED will come for it: not where an equal one was
 * still waiting to be sent, which this one replaces. */
bool host_signal(struct host *h, uint32_t process, int signal_number);

/* Reads one report; one of a process that ended is noted. Returns 1, 0 if there is none now, or -1 when the host has
 * gone or sent nonsense. */
int host_report(struct host *h, struct host_report *out);

/* Kills and reaps it, unless it is dead already. */
void host_kill(struct host *h);

/* The same; then removes its temporary directory, closes, and frees. */
void host_end(struct host *h);

#endif
