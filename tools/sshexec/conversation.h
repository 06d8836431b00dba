/* One call from the opening of its link to its END: the loop that every command which makes a call runs, with a
 * descriptor as the worker's input and Ctrl-C as its end. */
#ifndef SSHEXEC_CONVERSATION_H
#define SSHEXEC_CONVERSATION_H
#include "reach.h"
#include "types.h"

struct conversation {
    const struct settings *settings;
    struct reach *reach;
    const struct type *type;
    int interrupt_fd;                /* of interrupt_watch */
    int input_fd;                    /* what the worker reads; -1: nothing */
    /* Shows a message of the call, END too. Returns 0, or -1 when nobody takes the output any more: the call is then
     * cancelled. */
    int (*show)(void *user, const struct message *m);
    void *user;

    /* what came of it */
    int output_error;                /* why show said so; 0: it didn't */
    enum ssx_outcome outcome;

    /* its own */
    uint32_t call;
    int64_t give_up_ms;              /* after a cancel; 0: not cancelled */
    int interrupts;                  /* of which the loop has taken note */
    bool done;
    int code;
};

/* Opens the reach; host NULL: this machine. Returns 0, or the exit code after it was said (with --json as the call's
 * END) why there is no call. */
int conversation_open(struct conversation *c, const char *host);

/* Makes the call with this state and sees it through. Returns the exit code; where the call could not be made, it was
 * said on stderr. */
int conversation_hold(struct conversation *c, const void *state, size_t state_size);

#endif
