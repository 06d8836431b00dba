/* A lane from the agent's side: one process that serves the calls of a reusable type one after the other
 * (host_protocol.h). Its calls are known to be in order, and where the output of one ends is known to the byte; calls
 * that it has not begun can be taken back and given to another. */
#ifndef AGENT_LANE_H
#define AGENT_LANE_H
#include "job.h"

#define LANE_FDS 3                     /* the most entries lane_poll fills in */
#define LANE_SLOW_MS 10                /* a call that takes longer holds nobody up: those behind it go to another lane */
#define LANE_IDLE_MS 5000              /* a lane beside another one leaves after so long without a call */

struct lane_output {
    int fd;                            /* -1: closed */
    uint32_t turn;                     /* of the page: odd while it is read */
    uint64_t count, passed;            /* bytes read; of these given to a call */
    struct buf held;                   /* the others */
};

struct lane {
    struct lane *next;
    struct host *host;                 /* NULL once it has gone */
    uint32_t process;
    int control;
    struct lane_page *page;
    struct buf control_in, control_out;
    struct lane_output output[2];
    struct job_queue jobs;             /* given and not ended; all but the first are not begun, or begun without a word so far */
    uint32_t given, ended;             /* numbers of orders */
    uint32_t revoked, revocations;     /* the last that was; entries of the page's list */
    uint64_t stream_id;                /* whose state is on its way in pieces */
    struct buf *stream, taken;         /* that state, NULL: none; taken: of a job that was taken back meanwhile */
    size_t stream_sent;
    bool undecided;                    /* output is held, and control was not read since */
    bool has_end;                      /* of the first job, whose output ends here: */
    uint64_t end_at[2];
    unsigned signals;                  /* on their way to it */
    unsigned char seal[LANE_SEAL];
    bool sealed, lost;                 /* what stands in control_in follows a seal; follows something that makes no sense */
    bool killed, spoilt, left;         /* SIGKILL was sent; it gets no more calls; it has gone */
    struct host_report last;           /* how */
    int64_t head_ms;                   /* since when the first job is first */
    int64_t unload_ms;                 /* when those behind it are to go elsewhere */
    int64_t kill_ms, drain_ms;         /* 0: not set */
    int64_t used_ms;                   /* when its last call ended */
};

/* Starts one in a host that is up. Returns it, or NULL with errno. */
struct lane *lane_start(struct host *h);

/* Kills the process where it is still there, forgets it, and frees. It has no jobs. */
void lane_free(struct lane *l);

/* Tells it to leave. It has no jobs. */
void lane_retire(struct lane *l);

/* Frees its buffers as far as nothing is in them. */
void lane_tidy(struct lane *l);

/* Whether it takes one more call now; that call, which goes out with lane_flush. */
bool lane_takes(const struct lane *l, int64_t now_ms);
void lane_give(struct lane *l, struct job *j);
void lane_flush(struct lane *l);

/* Takes back what it has not begun behind the first, and puts it in front of this queue. */
void lane_unload(struct lane *l, struct job_queue *waiting, int64_t now_ms);

/* Ends one of its calls, sends it a signal where it runs; the former has its grace in its struct. */
void lane_end(struct lane *l, struct job *j, int64_t now_ms);
void lane_signal(struct lane *l, struct job *j, int signal_number);

/* The host reports that a signal has been sent, that the process has ended. */
void lane_signalled(struct lane *l);
void lane_left(struct lane *l, const struct host_report *report);

/* Whether it has gone, and all that it had to say was said. The job that ran then gets its end, the others go back to
 * the front of this queue. */
bool lane_is_over(const struct lane *l);
void lane_resolve(struct lane *l, struct job_queue *waiting);

/* Passes on what waits for credit, or for room in the session's queue. */
void lane_go_on(struct lane *l);

/* What to poll for (returns how many entries, at most LANE_FDS), and what to do about it. */
size_t lane_poll(const struct lane *l, struct pollfd *out);
void lane_handle(struct lane *l, const struct pollfd *fds, size_t n);

/* When lane_tick must be called next, in clock_ms; INT64_MAX: no matter. */
int64_t lane_next_ms(const struct lane *l);
void lane_tick(struct lane *l, int64_t now_ms);

/* Whether its first call is no longer the shortest kind, whether it takes long. */
bool lane_is_late(const struct lane *l, int64_t now_ms);
bool lane_is_slow(const struct lane *l, int64_t now_ms);
bool lane_is_stuck(const struct lane *l, int64_t now_ms);

#endif
