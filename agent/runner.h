/* Calls in motion: jobs, the worker hosts they run in, the processes below those, and the signals that tell of them. A
 * session drives one, and so does --once. */
#ifndef AGENT_RUNNER_H
#define AGENT_RUNNER_H
#include "child.h"
#include "job.h"
#include "lane.h"

#define CALLS_MAX 1024        /* jobs open at once, which the owner sees to: room for what travels while calls run and end */
#define LANES_MAX 8           /* of one plugin */
#define HOSTS_MAX 16          /* worker hosts kept; beyond that the one longest idle goes */
#define LEAVE_MS 1000         /* the most that a worker's grace may take once nobody is there for it */
#define OWN_FDS 6             /* entries of the owner's in a struct polling: its two, and one a deploy */

struct runner {
    struct plugins *plugins;
    int signals;
    int stop_signal;                   /* the first of SIGTERM, SIGINT, SIGHUP that came; 0: none */
    unsigned stops;                    /* how many of them came */
    struct job *first, *last;          /* all jobs, in the order in which they came */
    struct job *by_id[CALLS_MAX];      /* the same, by id modulo CALLS_MAX */
    size_t open;                       /* their number */
    size_t states;                     /* bytes of states, those still to come included */
    struct job_queue running, done;    /* in processes of their own; with END sent */
    struct lane *lanes;
    struct host *hosts;
    struct child *children;            /* the session's own, beside the hosts */
    int64_t deadline_ms;               /* no job's is earlier */
    int64_t hosts_ms;                  /* when a host must be seen to */
    struct {                           /* what was found for the last call: those that ask for the same soon after get the same */
        struct image *image;           /* held; NULL: nothing */
        struct message_call call;      /* its type is the image's */
        int64_t until_ms;
    } recent;
};

struct polling {
    struct pollfd fds[OWN_FDS + 1 + HOSTS_MAX * 2 + PROCESSES_MAX * JOB_FDS];
    size_t n;
    size_t signals, hosts, jobs;       /* where the runner's own entries begin */
    size_t ends[PROCESSES_MAX];        /* where those of each running job end, then those of each lane */
};

/* Blocks SIGCHLD and those stop signals that aren't ignored (nohup), ignores SIGPIPE, and adopts the orphans of what
 * will run. */
void runner_open(struct runner *r, struct plugins *plugins);

/* Kills all hosts and what they forked, down to the last orphan, and frees the jobs. The signals stay blocked. */
void runner_close(struct runner *r);

/* Opens a job for a CALL; its frames go to out. It starts once its plugin, its state and a host are there, or has ended
 * already (refused), and belongs to r. Where job->needs_object is set it waits for its object. Returns NULL without
 * memory. */
struct job *runner_call(struct runner *r, const struct message *call, size_t window, struct buf *out);

/* As plugins_make_room, but hosts that no call uses go as well. */
int runner_make_room(struct runner *r, uint64_t bytes, struct ssx_error *err);

/* To be called when a part of what a job waits for has come: more of its state, its image. */
void runner_try(struct runner *r, struct job *j);

struct job *runner_find(const struct runner *r, uint32_t id);

/* Whether any of them is in a process. */
bool runner_is_busy(const struct runner *r);

/* What jobs say goes there from now on. */
void runner_redirect(struct runner *r, struct buf *out);

/* Cancels every job, the grace of each cut to what is left until `latest_ms`. */
void runner_cancel(struct runner *r, int64_t latest_ms);

/* One turn: the owner empties the polling (n = 0) and adds its own entries; runner_poll adds the rest; polling_wait
 * waits until one is ready, a job's time has come or `until_ms` has (INT64_MAX: no matter); runner_handle deals with
 * what is ready, runner_tick with time, and frees the jobs that are done. */
size_t polling_add(struct polling *p, int fd, short events);
void runner_poll(const struct runner *r, struct polling *p);
void polling_wait(struct polling *p, const struct runner *r, int64_t until_ms);
void runner_handle(struct runner *r, const struct polling *p);
void runner_tick(struct runner *r);

/* To be called when nothing else is to be done: makes processes ready for calls to come. */
void runner_look_ahead(struct runner *r);

/* Gives back memory that is of no use while no call is open. */
void runner_tidy(struct runner *r);

#endif
