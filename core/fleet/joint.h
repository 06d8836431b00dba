/* A joint: the two descriptors that a host's worker has as its stdin and stdout, where the program has handed over
 * such. The pump moves the bytes; nothing here waits. */
#ifndef FLEET_JOINT_H
#define FLEET_JOINT_H
#include "base/buf.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define JOINT_FDS 2

struct joint {
    int in, out;       /* owned; -1: not there yet, or no more */
    bool made;         /* they were handed over, or are not waited for any more */
    struct buf held;   /* what `out` has not taken yet: of one message at most, for no other is taken before it has */
};

/* One that is still to be made. */
void joint_init(struct joint *j);

/* Takes the descriptors over (-1: none). */
void joint_make(struct joint *j, int in, int out);

/* Nobody is waited for any more who should take output: what is held, and what comes, is dropped. */
void joint_hang_up(struct joint *j);

/* Closes both, and drops what is held. May be called again. */
void joint_close(struct joint *j);

/* Whether something is held. */
static inline bool joint_holds(const struct joint *j) { return buf_length(&j->held) > 0; }

/* The worker's next output: passed on, held, or, where nobody reads it any more, dropped. Returns how much of it is
 * done with, or -1 without memory. */
ssize_t joint_put(struct joint *j, const void *bytes, size_t n);

/* Passes on what is held. Returns how much of it is done with. */
size_t joint_flush(struct joint *j);

/* The worker's next input: at most `room` bytes. Returns how many; 0 where none is there now; -1 at its end, which `in`
 * is closed at. */
ssize_t joint_read(struct joint *j, void *out, size_t room);

/* What to wait for; at most JOINT_FDS entries. read: whether input is wanted. */
size_t joint_poll(const struct joint *j, bool read, struct pollfd *out);

#endif
