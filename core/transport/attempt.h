/* How one opening of a transport went, for those who open many at once: they hold it back where too many others are
 * logging in, share what all of them read, try again by themselves, and want to know where the time went. */
#ifndef TRANSPORT_ATTEMPT_H
#define TRANSPORT_ATTEMPT_H
#include <stdbool.h>
#include <stdint.h>

struct common;

/* Zeroed but for the first three. */
struct transport_attempt {
    struct common *common;          /* common.h: what the openings of a run share; NULL: nothing */
    /* Asked before anything is connected: may a login at this place ("host:port", or the host's text where nobody
     * looked) begin now, by way of this bastion ("": none)? NULL: always. Called from the thread that opens. */
    bool (*admit)(void *ctx, const char *place, const char *bastion);
    void *ctx;
    bool deferred;                  /* admit said no: nothing was tried, and the error means nothing */
    bool worth_retrying; /* hung up on before the host's greeting, which a busy sshd does at random: nothing was sent.
                            There was one try only */
    int timeout_ms;                 /* what connecting might take at most; 0: not known here */
    int64_t look_us, resolve_us, connect_us, exchange_us, auth_us,
        start_us; /* look: the ssh configuration; start: until the command was started. 0: did not come so far, or a
                     child did it */
};

#endif
