/* A job is one call on this node, from its CALL to its END: its plugin, its process, its pipes, its windows, its deadline. */
#ifndef AGENT_JOB_H
#define AGENT_JOB_H
#include "host.h"
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
#define JOB_REPORT_MS 2000             /* after SIGKILL, for the host to say that the process has gone */
#define JOB_FDS 4                      /* the most entries job_poll fills in */

struct job {
    struct job *next;
    uint32_t id;
    struct buf *out;                   /* the session's outgoing frames, borrowed */

    /* what was asked */
    char type[TYPE_NAME_MAX + 2];
    struct message_call call;          /* its spans are not valid after CALL was handled, but for type */
    struct buf state;
    struct upload upload;
    bool needs_object;                 /* NEED was sent, or the object is on its way */

    /* where it runs */
    enum { JOB_GATHERING, JOB_WAITING, JOB_RUNNING, JOB_LEFT, JOB_DONE } stage; /* state or object incomplete; for the host; process there; process gone; END sent */
    struct image *image;               /* held */
    struct host *host;
    int control, input, output, error; /* our ends, -1 when closed */
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
    struct message_end end;            /* the worker's word; its message is in text */
    char text[SSX_ERROR_TEXT];
    struct host_report usage;
    uint64_t out_bytes, err_bytes;
    bool truncated;
};

struct job *job_new(const struct message *call, size_t sender_window, struct buf *out);
void job_free(struct job *j);

/* Starts the process in its host, which is up. Where that host turns out to have gone, the job goes on waiting and the host is marked as down. */
void job_start(struct job *j, struct host *h);

/* Whether its host doesn't say what became of a process that was killed long ago. */
bool job_is_stuck(const struct job *j, int64_t now_ms);

/* The process has ended, as the host reports. */
void job_left(struct job *j, const struct host_report *report);

/* Sends END (refused, or as forced) for a job without a process. */
void job_refuse(struct job *j, const char *reason, const char *message);

/* Ends it for this reason (TIMEOUT, CANCELLED): SIGTERM now, SIGKILL after its grace. */
void job_end(struct job *j, enum ssx_outcome why, int64_t now_ms);

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
