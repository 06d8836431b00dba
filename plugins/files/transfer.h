/* A transfer of files: what its two halves, the giver (giver.h) and the taker (taker.h), share. The plugin `put` is a
 * taker and the plugin `get` a giver; the other half runs in `sshexec put` and `sshexec get`. They see each other
 * through two byte streams only (stream.h). */
#ifndef FILES_TRANSFER_H
#define FILES_TRANSFER_H
#include "sha256.h"

#include <stdbool.h>
#include <stdint.h>

struct tally {
    uint64_t files;       /* that are now in place, the skipped ones not counted */
    uint64_t skipped;     /* that were there already, byte for byte */
    uint64_t directories, links;
    uint64_t bytes;       /* that travelled */
    uint64_t kept;        /* that need not travel, being there from a transfer that was cut, or whole */
    uint64_t problems;    /* what the giver couldn't give */
};

/* One file that has been given or taken. Borrowed. */
struct transferred { const char *name; uint64_t size, bytes; unsigned char digest[SHA256_SIZE]; };

/* What a half says while it runs; none is NULL. */
struct observer {
    void *user;
    void (*warn)(void *user, const char *text);
    void (*progress)(void *user, uint64_t done, uint64_t total, const char *name); /* total 0: done counts files */
    void (*file)(void *user, const struct transferred *t);
    bool (*stopped)(void *user);  /* whether to leave now: asked before each wait */
};

/* The mode bits that travel. Owners don't, so the set-id bits would mean another owner than they did. */
#define MODE_BITS 01777

#define DEPTH_MAX 256        /* directories below each other */
#define BATCH_FILES 256      /* files that are announced, and asked for, together */
#define BATCH_DIRECTORIES 256 /* directories entered between them: the taker may hold one open for each */
#define NAME_BYTES 255
#define PATH_BYTES 4096      /* of a path in a message; a longer one is cut */

/* What a file is called while it is not whole: PARTIAL_PREFIX, then what partial_name adds. */
#define PARTIAL_PREFIX ".sshexec-part-"

#endif
