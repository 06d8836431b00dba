/* Outcomes in words, and the one table of exit codes (DESIGN D4). */
#ifndef WIRE_OUTCOME_H
#define WIRE_OUTCOME_H
#include <sshexec/error.h>

enum { /* the exit codes that are promises */
    EXIT_TIMEOUT = 124, EXIT_USAGE = 125, EXIT_REFUSED = 126, EXIT_UNKNOWN_TYPE = 127, EXIT_SIGNAL = 128, EXIT_INTERRUPTED = 130,
    EXIT_UNREACHABLE = 255, EXIT_WORKER_MAX = 123,
};

const char *outcome_name(enum ssx_outcome outcome);

/* The exit code for a call that ended so: code is the worker's own, signal what killed it, reason the word of END
 * refused ("" for none). */
int outcome_exit_code(enum ssx_outcome outcome, unsigned code, unsigned signal, const char *reason);

/* The exit code for an error before or beside a call. */
int error_exit_code(enum ssx_error_code code);

#endif
