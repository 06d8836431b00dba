/* A job is one call on this node, from its CALL to its END: its plugin, its process, its pipes, its windows, its
 * deadline. */
#ifndef AGENT_JOB_H
#define AGENT_JOB_H
#include "channels.h"
#include "host.h"
#include "job_queue.h"
#include "plugins.h"
#include "vouch.h"

#include "base/buf.h"
#include "bundle/upload.h"
#include "base/text.h"
#include "wire/message.h"

#include <poll.h>
#include <stdbool.h>

#define AGENT_WINDOW (256u << 10)      /* bytes of one call's input that may be under way to us */
#define OUT_HIGH (256u << 10)          /* with more than this waiting for the sender, workers are not read */
#define CONTROL_FRAME_MAX (DATA_MAX + 1024) /* the largest a worker host makes */
#define DRAIN_MS 500                   /* a process that is gone leaves its pipes open for so long at most, if something else holds them */
#define JOB_REPORT_MS 2000             /* after SIGKILL, for the host to say that the process has gone */
#define JOB_FDS 4                      /* the most entries job_poll fills in */

struct lane;

struct job {
    struct job *next, *before;         /* all of the runner's, in the order in which they came */
    struct job *same;                  /* in the runner's table of ids */
    struct job *ahead, *behind;        /* in its queue */
    struct job_queue *queue;           /* where it stands; NULL: nowhere */
    struct job_queue *done;            /* where it goes with its END, borrowed */
    uint32_t id;
    struct buf *out;                   /* the session's outgoing frames, borrowed */

    /* what was asked */
    char type[TYPE_NAME_MAX + 2];
    struct message_call call;          /* its spans are not valid after CALL was handled, but for type */
    struct buf state;
    size_t *states, charged;           /* bytes of states of all jobs, borrowed; what this one adds */
    struct upload upload;
    bool needs_object, asked;          /* its object is to come; NEED was sent for it */

    /* where it runs */
    enum {
        JOB_GATHERING,                 /* state or object incomplete */
        JOB_WAITING,                   /* for its host, or for a process */
        JOB_GIVEN,                     /* to a lane */
        JOB_RUNNING,                   /* in a process of its own */
        JOB_LEFT,                      /* which has gone */
        JOB_DONE,                      /* END sent */
    } stage;
    struct image *image;               /* held */
    struct host *host;
    uint32_t process;                  /* of its own */
    struct lane *lane;                 /* JOB_GIVEN: where, and as which order */
    uint32_t order;
    unsigned moves;                    /* lanes that died before they began it */
    struct channels io;
    struct buf control_in, control_out, input_queue;
    size_t state_sent;
    bool input_ended;

    /* flow: what we may send, what the sender may, and what of the latter we have used up since the last CREDIT */
    size_t window, input_window, input_used;

    /* how it goes */
    int64_t started_us, deadline_ms, kill_ms, drain_ms; /* 0: not set */
    bool ending, killed;               /* SIGTERM was sent, SIGKILL was sent */
    bool broken;                       /* what came over its control socket made no sense */
    struct vouch vouch;
    enum ssx_outcome forced;           /* SSX_OUTCOME_OK: nothing but the worker decides */
    bool has_end;
    bool why_known;                    /* the host said in `text` why the process has gone */
    struct message_end end;            /* the worker's word; its message is in text */
    char text[SSX_ERROR_TEXT];
    struct { int32_t status; uint64_t user_us, sys_us, rss_kb; } usage;
    uint64_t out_bytes, err_bytes;
    bool truncated;
};

/* done, states: borrowed. */
struct job *job_new(const struct message *call, size_t sender_window, struct buf *out, struct job_queue *done, size_t *states);
void job_free(struct job *j);

/* Starts the process in its host, which is up, and puts the job into this queue. Where that host turns out to have
 * gone, the job goes on waiting and the host is marked as down. */
void job_start(struct job *j, struct host *h, struct job_queue *running);

/* The order for its process or lane: CALL with the state's first piece, whose length is returned; job_put_state adds
 * the next ones, from `sent` on. */
size_t job_put_order(struct job *j, struct buf *out);
size_t job_put_state(uint32_t id, const struct buf *state, size_t sent, struct buf *out);

/* Passes a data frame of its worker on, where it fits into the window. */
enum job_pass { JOB_PASSED, JOB_NO_ROOM, JOB_NONSENSE };
enum job_pass job_pass(struct job *j, const struct message *m, const void *frame, size_t length);

/* Passes on what its worker wrote, which fits. */
void job_pass_output(struct job *j, unsigned stream, const void *bytes, size_t n);

/* Takes the worker's END. */
void job_take_end(struct job *j, const struct message *m);

/* Sends END, as the worker said or as things stand. */
void job_finish(struct job *j);

/* Whether its host doesn't say what became of a process that was killed long ago. */
bool job_is_stuck(const struct job *j, int64_t now_ms);

/* The process has ended, as the host reports. */
void job_left(struct job *j, const struct host_report *report);

/* Sends END (refused, or as forced) for a job without a process. */
void job_refuse(struct job *j, const char *reason, const char *message);

/* Ends it for this reason (TIMEOUT, CANCELLED): SIGTERM now, SIGKILL after its grace; one that has not begun never
 * will. */
void job_end(struct job *j, enum ssx_outcome why, int64_t now_ms);
void job_signal(struct job *j, int signal_number);

/* Notes how its process ended. */
void job_note_usage(struct job *j, const struct host_report *report);

/* INPUT, CREDIT of the sender. Returns 0, or -1 with err where it broke the protocol. */
int job_input(struct job *j, const struct message *m, struct ssx_error *err);
void job_credit(struct job *j, uint64_t bytes);

/* What to poll for (at most JOB_FDS entries; returns how many), and what to do about it. */
size_t job_poll(const struct job *j, struct pollfd *out);
void job_handle(struct job *j, const struct pollfd *fds, size_t n);

/* When job_tick must be called next, in clock_ms; INT64_MAX: no matter. */
int64_t job_next_ms(const struct job *j);
void job_tick(struct job *j, int64_t now_ms);

#endif
