/* One line of authorized_keys: a public key that may do one thing, however its holder asks. Reading the key is strict,
 * for what is not a key would be an option of sshd's. */
#ifndef TRANSPORT_AUTHORIZED_KEY_H
#define TRANSPORT_AUTHORIZED_KEY_H
#include "base/buf.h"
#include "transport/words.h"

#include <sshexec/error.h>

#define PUBLIC_KEY_MAX (16u << 10)     /* of a .pub file; RSA of 16,384 bits takes 3 KiB */

struct public_key {
    char type[64];                     /* "ssh-ed25519" */
    struct buf blob;                   /* base64 and a NUL */
    struct buf comment;                /* and a NUL; may be empty */
};

/* Reads the text of a .pub file: one key of a known type, its base64 well formed and of that type, nothing that drives
 * a terminal. name is for messages. Returns 0 (the caller frees the key), or -1 with err (SSX_ERROR_USAGE). */
int public_key_read(struct public_key *out, const char *text, size_t n, const char *name, struct ssx_error *err);
void public_key_free(struct public_key *k);

/* Adds a path of the host as a word for /bin/sh: absolute, or from the account's home ("~/..."). Returns 0, or -1 with
 * err where the path is neither, or where no quoting serves every login shell (control characters, a backslash, an
 * exclamation mark). what names it in messages. */
int forced_path(struct buf *out, const char *path, const char *what, struct ssx_error *err);

struct forced_command {
    const char *profile;               /* a file that /bin/sh sources before it starts the agent; NULL: none */
    const char *agent;
    const char *plugin_path, *store;   /* as the agent takes them, NULL: not given */
    const char *policy;                /* flags, each behind a space, of characters that need no quoting */
};

/* Adds what sshd is to run in place of anything that the key's holder asks for. It takes away SSH_ORIGINAL_COMMAND
 * before anything else, and looks at it nowhere. Any login shell reads it alike. Returns 0 or -1. */
int forced_command(struct buf *out, const struct forced_command *c, struct ssx_error *err);

/* Part of every forced_command, and of no other: by this a line is known as one that `sshexec authorize` wrote. */
#define FORCED_COMMAND_MARK "exec /bin/sh -c 'unset SSH_ORIGINAL_COMMAND; "

/* Adds the line, without a newline: restrict, from="..." (NULL: none), command="...", the key. Returns 0 or -1. */
int authorized_key_line(struct buf *out, const struct public_key *k, const char *from, const char *command, struct ssx_error *err);

#endif
