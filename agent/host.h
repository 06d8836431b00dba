/* A worker host from the agent's side: the process that has loaded one plugin and forks the processes of its calls (host_protocol.h). */
#ifndef AGENT_HOST_H
#define AGENT_HOST_H
#include "host_protocol.h"
#include "job_queue.h"
#include "plugins.h"

#include <sys/types.h>

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
    int64_t used_ms;                   /* when its last call ended */
    char sandbox[160];                 /* the protection achieved */
};

/* Starts a host for an image. Returns it, or NULL with err set. */
struct host *host_start(struct image *image, struct ssx_error *err);

/* Asks it for a process (a lane where a page is among the descriptors, else fds[HOST_FD_PAGE] is -1) that works on these descriptors, in the order of host_run_fd; they stay the
 * caller's. Returns 0 with *process, the number for it, or -1 with errno (EPIPE: the host has gone). */
int host_run(struct host *h, uint32_t *process, const int fds[HOST_FDS]);

/* To a process and its group. HOST_SIGNALLED will come. */
void host_signal(struct host *h, uint32_t process, int signal_number);

/* Reads one report. Returns 1, 0 if there is none now, or -1 when the host has gone or sent nonsense. */
int host_report(struct host *h, struct host_report *out);

/* Kills and reaps it, unless it is dead already. */
void host_kill(struct host *h);

/* The same; then removes its temporary directory, closes, and frees. */
void host_end(struct host *h);

#endif
