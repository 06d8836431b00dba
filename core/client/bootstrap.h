/* How a session with a host begins: the shell line that finds or stores an agent there, and the greeting of
 * PROTOCOL.md, section 1. No I/O. */
#ifndef CLIENT_BOOTSTRAP_H
#define CLIENT_BOOTSTRAP_H
#include "base/buf.h"
#include "base/digest.h"

#include <sshexec/error.h>
#include <stdbool.h>

/* An agent that this sender could send, and those for other machines: the images are borrowed and outlive the
 * client. */
struct agent_image {
    struct agent_image *next;        /* for another machine; NULL: no more */
    const void *bytes;
    size_t size;
    const void *packed;              /* the same through gzip, for hosts that can unpack it */
    size_t packed_size;
    char digest[DIGEST_HEX + 1];     /* of the plain image */
    char machine[32];                /* as uname -m: "x86_64" */
    char flaw[256];                  /* why it can't be sent; empty: it can */
};

enum bootstrap_mode {
    BOOTSTRAP_CACHE,                 /* the host's cache, or store it there */
    BOOTSTRAP_NEVER,                 /* the host's cache or an agent in its PATH; bring nothing */
    BOOTSTRAP_EPHEMERAL,             /* bring it, and leave no file behind */
};

/* The one for a machine, NULL where there is none. */
const struct agent_image *agent_for(const struct agent_image *agents, const char *machine);

/* Adds shell words, ended by "; ", that set b to the digest of the agent for the machine that runs them, l to its size
 * and w to its packed one; b is "none" where there is no such agent. With agents for one machine only, a host of that
 * kind is spared a process. */
int bootstrap_choose(struct buf *out, const struct agent_image *agents);

/* Adds the shell line (NUL-ended) that starts an agent in this way, or says why it can't. */
int bootstrap_command(struct buf *out, const struct agent_image *agents, enum bootstrap_mode mode);

/* Adds the shell line (NUL-ended) that removes all that bootstraps and agents of this user have left on a host. It
 * prints a line for each thing, with this nonce: "sshexec-clean 1 NONCE gone PATH", "... kept PATH: REASON", and "...
 * done" as the last. */
int bootstrap_clean_command(struct buf *out, const char *nonce);

#define NONCE_HEX 32
#define NOISE_MAX (64u << 10)        /* what a login shell may print before the marker */

/* Adds the greeting line for a nonce (NONCE_HEX digits). */
int greeting_add(struct buf *out, const char *nonce);

enum greeting_answer {
    GREETING_MORE,                   /* not there yet */
    GREETING_MARKER,                 /* the agent is there; frames follow */
    GREETING_NEED,                   /* the host has no such agent: machine is filled in */
    GREETING_BROKEN,                 /* err is set */
};

struct greeting {
    size_t noise;                    /* bytes before the answer */
    size_t length;                   /* bytes of the answer, behind the noise */
    char kernel[32], machine[32];    /* GREETING_NEED */
    bool gzip;                       /* GREETING_NEED: the host unpacks it */
};

/* Looks for the answer in what has come so far. With GREETING_BROKEN, err says what stood in the way (noise over
 * NOISE_MAX, a changed marker, sshexec-fail and its reason). */
enum greeting_answer greeting_find(struct greeting *out, const char *nonce, const void *bytes, size_t n, struct ssx_error *err);

/* err for a session that ended before its marker: quotes the end of what came instead. Returns -1. */
int greeting_never_came(const void *bytes, size_t n, struct ssx_error *err);

#endif
