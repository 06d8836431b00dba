/* What a worker says of values is checked before it is passed on, piece by piece as it comes: a sender may take a
 * malformed value for the agent's fault and end the session, and with it the calls beside. */
#ifndef AGENT_VOUCH_H
#define AGENT_VOUCH_H
#include "wire/message.h"
#include "wire/value.h"

struct vouch {
    enum message_kind kind;                /* of the value that is under way; 0: none */
    bool had_result, had_state;
    size_t size;
    uint64_t left[VALUE_DEPTH_MAX + 1];    /* values still to come at each level */
    size_t depth, seen;                    /* as value_scan counts them */
    uint64_t skip;                         /* bytes of a token's body still to come */
    unsigned char head[5];                 /* a token's first byte and its length field */
    size_t head_n;
};

/* Takes the next ITEM, RESULT or STATE of a call. Returns 0, or -1 if the sender could not take it: not msgpack, over
 * the limits, pieces of two values mixed, a second result or state. */
int vouch_piece(struct vouch *v, const struct message *m);

#endif
