/* A short script of /bin/sh, run on a host by the user's ordinary login, and what it says: for what has to be done
 * there before, or without, an agent. */
#ifndef SSHEXEC_HOST_SCRIPT_H
#define SSHEXEC_HOST_SCRIPT_H
#include "settings.h"

#include "base/buf.h"

#include <sshexec/error.h>
#include <stddef.h>

struct host_script {
    char nonce[NONCE_HEX + 1];
    struct buf said;                   /* all of its stdout; the lines that are meant for us stand somewhere in it */
    struct buf warned;                 /* all of its stderr */
};

/* Runs it on a host, or on this machine (host NULL); it travels on stdin, so no login shell reads it, and it starts
 * once it has come whole. In the script `say WORD TEXT` sends a line, and `fail TEXT` ends it with an error. Returns 0
 * once it has come to its end, or -1 with err. The caller frees h either way. */
int host_script_run(struct host_script *h, const struct settings *s, const char *host, const char *script,
                    int interrupt_fd, struct ssx_error *err);

/* The TEXT of the nth line (from 0) that was said with that word; NULL: there is none. */
const char *host_script_said(const struct host_script *h, const char *word, size_t nth, size_t *n);

void host_script_free(struct host_script *h);

#endif
