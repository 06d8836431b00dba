/* A call in one process of its own, sshexec-worker-run, which a debugger can look into; not in this one, where no
 * plugin's code ever runs. */
#ifndef SSHEXEC_IN_PROCESS_H
#define SSHEXEC_IN_PROCESS_H
#include "base/buf.h"
#include "types.h"
#include "wire/message.h"

struct in_process {
    const struct type *type;
    const char *const *tool;           /* the words in front: a debugger's; NULL-ended, may be empty */
    const char *what;                  /* "call" or "selftest" */
    const struct buf *state;
    long timeout_ms;                   /* told to the worker; nothing ends it, for a person may be thinking */
    /* LOG, PROGRESS, ITEM, STATE, RESULT (these three whole) and END of each run that a debugger starts. What it
     * returns makes no difference: the program goes on. */
    int (*take)(void *user, const struct message *m);
    void *user;
    int status;                        /* out: of the first program, as waitpid gives it */
    bool ended;                        /* out: an END came */
};

/* Runs it on this program's stdin, stdout and stderr until the first program ends. SIGINT and SIGQUIT are that
 * program's meanwhile. Returns 0, or -1 with err. */
int in_process_run(struct in_process *p, struct ssx_error *err);

#endif
