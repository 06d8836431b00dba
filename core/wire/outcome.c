#include "wire/outcome.h"

#include <string.h>

const char *outcome_name(enum ssx_outcome outcome)
{
    static const char *const names[SSX_OUTCOMES] = {"ok", "failed", "crashed", "timeout", "cancelled", "refused", "unreachable", "lost"};
    return (unsigned)outcome < SSX_OUTCOMES ? names[outcome] : "unknown";
}

int outcome_exit_code(enum ssx_outcome outcome, unsigned code, unsigned signal, const char *reason)
{
    switch (outcome) {
    case SSX_OUTCOME_OK: return 0;
    case SSX_OUTCOME_FAILED: return code == 0 ? 1 : code > EXIT_WORKER_MAX ? EXIT_WORKER_MAX : (int)code;
    case SSX_OUTCOME_CRASHED: return EXIT_SIGNAL + (int)(signal & 127); /* 128: left by exit, no signal */
    case SSX_OUTCOME_TIMEOUT: return EXIT_TIMEOUT;
    case SSX_OUTCOME_CANCELLED: return EXIT_INTERRUPTED;
    case SSX_OUTCOME_REFUSED: return strcmp(reason, "unknown-type") == 0 ? EXIT_UNKNOWN_TYPE : EXIT_REFUSED;
    case SSX_OUTCOME_UNREACHABLE: case SSX_OUTCOME_LOST: return EXIT_UNREACHABLE;
    }
    return EXIT_USAGE;
}

int error_exit_code(enum ssx_error_code code)
{
    switch (code) {
    case SSX_ERROR_NONE: return 0;
    case SSX_ERROR_SYSTEM: case SSX_ERROR_USAGE: return EXIT_USAGE;
    case SSX_ERROR_REFUSED: return EXIT_REFUSED;
    case SSX_ERROR_UNKNOWN_TYPE: return EXIT_UNKNOWN_TYPE;
    case SSX_ERROR_UNREACHABLE: case SSX_ERROR_PROTOCOL: return EXIT_UNREACHABLE;
    case SSX_ERROR_INTERRUPTED: return EXIT_INTERRUPTED;
    }
    return EXIT_USAGE;
}
