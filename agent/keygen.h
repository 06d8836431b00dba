/* Whether a bundle's manifest is signed by somebody whom a file of this node names: OpenSSH's own ssh-keygen judges it. The mathematics
 * of ed25519 alone would make the agent larger by a ninth, and where a policy is a boundary there is an sshd, and with it this program. */
#ifndef AGENT_KEYGEN_H
#define AGENT_KEYGEN_H
#include "wire/message.h"

/* signers: an allowed_signers file. Returns 0 with who it was (the file's principals), or -1 with err (SSX_ERROR_REFUSED). Kinds of keys
 * that sshexec doesn't take are refused before ssh-keygen sees them. Takes some milliseconds, and 10 s at most. */
int keygen_verify(char *signer, size_t size, const char *signers, struct span manifest, struct span signature, struct ssx_error *err);

#endif
