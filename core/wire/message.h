/* Frames and messages of PROTOCOL.md: one struct a message, one pair of functions that turns it into a frame and
 * back. */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H
#include "base/buf.h"
#include "base/digest.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 1

#define FRAME_HEADER 4
#define FRAME_MAX (1u << 20)
#define FRAME_MAX_BEFORE_HELLO 4096u
#define DATA_MAX 65536u                /* bytes of data in one data frame */
#define CHUNK_MAX (512u << 10)
#define OBJECT_MAX (256u << 20)
#define OBJECTS_MAX 64                 /* digests in one OFFER or NEED */

enum message_kind {
    MESSAGE_HELLO = 1, MESSAGE_CALL, MESSAGE_INPUT, MESSAGE_CREDIT, MESSAGE_CANCEL, MESSAGE_SIGNAL, MESSAGE_PING, MESSAGE_PONG,
    MESSAGE_OUTPUT, MESSAGE_LOG, MESSAGE_PROGRESS, MESSAGE_ITEM, MESSAGE_RESULT, MESSAGE_STATE, MESSAGE_END,
    MESSAGE_OFFER, MESSAGE_NEED, MESSAGE_CHUNK, MESSAGE_DESCRIBE, MESSAGE_ATTACH, MESSAGE_BYE,
    MESSAGE_KINDS,                     /* one more than the last */
};

enum message_party { FROM_SENDER = 1, FROM_AGENT = 2 };

/* Text and bytes are borrowed: from the frame when decoded, from the caller when encoded. A zeroed span is empty. */
struct span { const void *at; size_t n; };
struct span span_text(const char *text);
bool span_is(struct span s, const char *text);
/* A NUL-ended copy into out (size bytes), cut where it is too long. Returns out. */
char *span_copy(char *out, size_t size, struct span s);

struct message_hello {
    uint64_t min, max;
    struct span build, os, arch, libc;
    struct span policy;                /* of the agent, as flags: for people */
    uint64_t window, calls, state;
    uint64_t lease_ms;                 /* of the sender; 0: none */
};

struct message_call {
    struct span type;
    bool has_object, exact;
    struct digest digest;
    uint64_t object_size;
    uint64_t state_size;
    struct span state;                 /* the first piece */
    uint64_t timeout_ms;               /* 0: none */
    uint64_t grace_ms;
    bool input;
};
#define GRACE_MS_DEFAULT 1000u
#define GRACE_MS_MAX 60000u
#define TIMEOUT_MS_MAX (INT64_MAX / 1000) /* so that it can be counted in microseconds */

struct message_end {
    enum ssx_outcome outcome;
    uint64_t code, signal;
    struct span reason, message, sandbox;
    bool has_digest;
    struct digest digest;
    uint64_t wall_us, user_us, sys_us, rss_kb, out, err;
    bool truncated;
};

struct message_describe {
    struct span type;                  /* from the sender: empty for all */
    struct digest digest;
    struct span where, note, problem;
};

struct message_object { struct digest digest; uint64_t size; }; /* NEED: no size */

/* What an OFFER wants done with a bundle; `what` empty: nothing was said. */
struct message_order {
    struct span what, manifest, signature, words;
    struct span by;                    /* who sends it, as the sender says */
    bool has_bundle, downgrade;
    struct digest bundle;              /* of a manifest that was prepared */
    uint64_t generation;
};
struct message_objects {
    size_t count;
    const struct message_object *list; /* to be encoded; borrowed */
    struct span packed;                /* decoded: what message_next_object takes from */
    struct message_order order;        /* OFFER */
};

struct message {
    enum message_kind kind;
    uint32_t id;
    union {
        struct message_hello hello;
        struct message_call call;
        struct { struct span bytes; bool more; uint64_t stream; } data; /* INPUT OUTPUT ITEM RESULT STATE */
        uint64_t credit;
        uint64_t token;                /* PING PONG */
        struct span text;              /* SIGNAL: name; ATTACH: job; BYE: reason */
        struct { uint64_t level; struct span text; } log;
        struct { uint64_t done, total; struct span text; } progress;
        struct message_end end;
        struct message_objects objects; /* OFFER NEED */
        struct { struct digest digest; struct span bytes; bool more; } chunk;
        struct message_describe describe;
    };
};

/* Adds the frame of a message to out. Memory running out shows in out->failed. */
void message_encode(struct buf *out, const struct message *m, enum message_party from);

/* Looks for one frame at the start of n bytes. Returns its whole length with header once all of it is there, 0 if more
 * bytes are needed, or -1 with err for a length of 0 or above `cap` (FRAME_MAX, or FRAME_MAX_BEFORE_HELLO). */
long frame_length(const void *bytes, size_t n, size_t cap, struct ssx_error *err);

/* Judges and decodes one frame (with its header) in the order of PROTOCOL.md, section 2. *out borrows from the frame.
 * Returns 0, or -1 with err (SSX_ERROR_PROTOCOL). */
int message_decode(struct message *out, const void *frame, size_t length, enum message_party from, struct ssx_error *err);

/* Takes the next object of a decoded OFFER or NEED. Returns false when there is none. */
bool message_next_object(struct message *m, struct message_object *out);

/* What a data frame costs of the receiver's window; 0 for other kinds. */
size_t message_cost(const struct message *m);

const char *message_name(enum message_kind kind);

#endif
