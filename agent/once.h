/* sshexec-agent --once: one workload on stdin, run as a plain Unix program runs: output on stdout and stderr, the
 * result behind it, an exit code. */
#ifndef AGENT_ONCE_H
#define AGENT_ONCE_H
#include "plugins.h"

#include <stdbool.h>

struct once_options {
    const char *result_file;           /* where the result goes, whatever the type shows; NULL: */
    int result_fd;                     /* there; -1: to stdout, where the type shows one */
    bool no_result;
};

/* Returns the exit code (wire/outcome.h). Where nobody reads stdout any more it dies of SIGPIPE instead, as filters
 * do. */
int once_run(struct plugins *plugins, const struct once_options *options);

#endif
