/* The sender's half of the protocol, with no I/O of its own: bytes from the agent go in, messages come out, and bytes
 * for the agent wait to be sent.
 *
 *     client_receive(c, bytes, n, &err);                 what a transport read
 *     while (client_next(c, &message, &err) > 0) ...     what that means, to be handled before more is received
 *     at = client_outgoing(c, &n); client_sent(c, m);    what a transport should write
 *
 * One thread at a time. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H
#include "base/digest.h"
#include "client/bootstrap.h"
#include "wire/message.h"

#define CLIENT_WINDOW (1u << 20)     /* bytes of one call that may be under way to us */

struct client;

/* agent: what to send to a host that has none; NULL: the far program is the agent itself. Borrowed. Returns NULL
 * without memory. The greeting waits in client_outgoing. */
struct client *client_new(const struct agent_image *agent);
void client_free(struct client *c);

/* The agent shall end its calls when it has heard nothing for so long; to be said before it answers. */
void client_want_lease(struct client *c, uint64_t lease_ms);

/* What an OFFER asks (PROTOCOL.md). All borrowed until its END. */
struct client_object { struct digest digest; const void *bytes; size_t size; };
struct client_offer {
    struct message_order order;
    const struct client_object *objects; /* what the agent may ask for */
    size_t count;
};

/* The plugin of a type for one machine. */
struct client_variant {
    const char *machine;               /* as uname -m */
    struct digest digest;
    const void *object;
    size_t object_size;
};

struct client_request {
    const struct client_offer *offer;  /* not a call at all, but this; of the others nothing counts then. NULL: a call */
    const char *type;
    bool describe;                   /* not a call, but client_describe of the type */
    const void *state;               /* one msgpack value, copied */
    size_t state_size;
    const struct digest *digest;     /* the sender's plugin; NULL: none */
    const void *object;              /* its bytes, borrowed until the call's END */
    size_t object_size;
    const struct client_variant *variants; /* instead of that, where the agent is on such a machine; borrowed as it is */
    size_t variant_count;
    bool exact;
    uint64_t timeout_ms, grace_ms;   /* 0: no limit; 0: the default */
    bool input;
};

/* Opens a call. May be called at once; it travels when the agent is there. Returns 0 with *id, or -1. */
int client_call(struct client *c, uint32_t *id, const struct client_request *request, struct ssx_error *err);

/* Asks for the descriptor of one type, or of all (NULL). DESCRIBE messages come, then END. */
int client_describe(struct client *c, uint32_t *id, const char *type, struct ssx_error *err);

void client_cancel(struct client *c, uint32_t id);

/* How many bytes of input the call takes now; client_input sends at most that many of n, and returns how many.
 * client_input_end says that no more will come. */
size_t client_input_room(const struct client *c, uint32_t id);
size_t client_input(struct client *c, uint32_t id, const void *bytes, size_t n);
void client_input_end(struct client *c, uint32_t id);

/* Hands in bytes from the agent. Returns 0, or -1 without memory. */
int client_receive(struct client *c, const void *bytes, size_t n, struct ssx_error *err);

/* The next message for the owner: HELLO (the agent is there), OUTPUT, LOG, PROGRESS, ITEM, RESULT, STATE (the last
 * three whole: data.bytes is one scanned value), DESCRIBE, END (also `lost` and `unreachable`, after client_lost). What
 * it borrows is valid until the next call of client_next or client_receive. Returns 1, 0 for none, or -1 with err when
 * the agent broke the protocol or left: the owner then calls client_lost. */
int client_next(struct client *c, struct message *out, struct ssx_error *err);

/* The owner has dealt with n bytes of data of a call (message_cost of each message that client_next gave): the agent
 * may send as many again. */
void client_consumed(struct client *c, uint32_t id, size_t n);

/* The link is gone: each open call gets its END, `lost` if any of it was sent, else `unreachable`, with this message;
 * client_next delivers them. */
void client_lost(struct client *c, const char *why);

/* Asks the agent for a sign of life, once it is ready; nothing is delivered of the answer. */
void client_ping(struct client *c);

/* What waits to be sent; client_sent says how much of it was. */
const void *client_outgoing(struct client *c, size_t *n);
void client_sent(struct client *c, size_t n);

/* Whether the agent has said HELLO; how many calls are open; whether the agent had to be sent first. */
bool client_is_ready(const struct client *c);
size_t client_open_calls(const struct client *c);
bool client_sent_agent(const struct client *c);

/* Whether the agent waits for the call's plugin, or for more of it. */
bool client_sends_object(const struct client *c, uint32_t id);

/* Bytes of an open offer's objects that the agent has asked for until now, and how many of them have left. */
void client_upload(const struct client *c, uint32_t id, uint64_t *sent, uint64_t *asked);

/* What came before the marker, for -v. Valid until the client is freed. */
const char *client_noise(const struct client *c, size_t *n);

/* err for an end of stream: says what came instead of an agent, if none did. Returns -1. */
int client_ended(const struct client *c, struct ssx_error *err);

#endif
