/* Whether a bundle's manifest is signed by somebody whom a file of this node names: OpenSSH's own ssh-keygen judges it.
 * The mathematics of ed25519 alone would make the agent larger by a ninth, and where a policy is a boundary there is an
 * sshd, and with it this program. It runs as a child of which the session's loop looks in, for the file of signers may
 * be large or slow to read. */
#ifndef AGENT_KEYGEN_H
#define AGENT_KEYGEN_H
#include "child.h"

#include "base/buf.h"
#include "wire/message.h"

#include <limits.h>

/* Zeroed: idle. It stays where it is until keygen_close. */
struct keygen {
    int text, armour;                  /* the manifest and the signature, in memory; -1 or 0: none */
    char signers[PATH_MAX];            /* the file that judges */
    char signer[256];                  /* who it was, by that file: its principals */
    bool named;                        /* signer is known: the signature itself is what is looked at now */
    struct child child;
    int said_fd;                       /* what it says; -1 or 0: nothing runs */
    struct buf said;
    int64_t until_ms;
};

/* Takes the two in. Returns 0, or -1 with err (SSX_ERROR_REFUSED): kinds of keys that sshexec doesn't take are refused
 * before ssh-keygen sees them. keygen_close in any case. */
int keygen_open(struct keygen *k, struct span manifest, struct span signature, struct ssx_error *err);

/* Begins to judge them by an allowed_signers file; any number of files, one after the other. Returns 0, or -1 with
 * err. */
int keygen_begin(struct keygen *k, struct child **children, const char *signers, struct ssx_error *err);

/* Looks what came of it. Returns 0 for nothing yet (more comes on said_fd, until until_ms), 1 where it holds, -1 with
 * err. */
int keygen_look(struct keygen *k, struct child **children, struct ssx_error *err);

/* Ends what runs, and frees. */
void keygen_close(struct keygen *k);

#endif
