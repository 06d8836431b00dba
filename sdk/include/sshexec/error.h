/* Errors and outcomes: what every call of the library can report, and how a call on a host can end.
 *
 * Convention of the whole tree: a function returns 0 (or a useful non-negative number) on success and -1 on failure,
 * and fills the caller's `struct ssx_error` where one was given (NULL: not interested). The first error wins: a struct
 * that already holds one is left alone. Nothing is printed, nothing is remembered elsewhere. */
#ifndef SSHEXEC_ERROR_H
#define SSHEXEC_ERROR_H

#define SSX_API __attribute__((visibility("default"))) /* what the library exports */

#ifdef __cplusplus
extern "C" {
#endif

/* How a call ended. The numbers travel (PROTOCOL.md, END), but for the last two, which only a sender can know. */
enum ssx_outcome {
    SSX_OUTCOME_OK = 0,
    SSX_OUTCOME_FAILED = 1,      /* the worker said so */
    SSX_OUTCOME_CRASHED = 2,     /* killed by a signal, or left without returning from run */
    SSX_OUTCOME_TIMEOUT = 3,     /* its deadline passed */
    SSX_OUTCOME_CANCELLED = 4,
    SSX_OUTCOME_REFUSED = 5,     /* policy, schema, ABI, bad state: nothing ran */
    SSX_OUTCOME_UNREACHABLE = 6, /* never sent */
    SSX_OUTCOME_LOST = 7,        /* the link broke after it was sent: it may have run */
};
#define SSX_OUTCOMES 8

/* Why a function failed; each maps to one exit code of the command line. */
enum ssx_error_code {
    SSX_ERROR_NONE = 0,
    SSX_ERROR_SYSTEM = 1,       /* a system call or memory: 125 */
    SSX_ERROR_USAGE = 2,        /* the caller's words, a configuration file: 125 */
    SSX_ERROR_REFUSED = 3,      /* schema, ABI, policy, not a plugin: 126 */
    SSX_ERROR_UNKNOWN_TYPE = 4, /* no plugin of that name: 127 */
    SSX_ERROR_UNREACHABLE = 5,  /* no connection, no agent: 255 */
    SSX_ERROR_PROTOCOL = 6,     /* the other end broke the protocol: 255 */
    SSX_ERROR_INTERRUPTED = 7,  /* the caller asked to stop: 130 */
};

#define SSX_ERROR_TEXT 1024 /* longest message, with its NUL; longer ones are cut */

struct ssx_error {
    enum ssx_error_code code;
    char text[SSX_ERROR_TEXT]; /* one line, lower case, no newline: what was tried, on what, why it failed, what to do */
};

#ifdef __cplusplus
}
#endif
#endif
