/* Calling workers from a program: a session with a host, and runs of workers on it.
 *
 *     struct ssx_error err = {SSX_ERROR_NONE, ""};
 *     struct ssx_session *session;
 *     struct ssx_run *run;
 *     if (ssx_session_open(&session, "node1", NULL, &err) == 0) {
 *         if (ssx_run_start_as(&run, session, "hello", hello, &in, NULL, &err) == 0) {
 *             if (ssx_run_wait(run, -1, &err) == 0 && ssx_run_outcome(run) == SSX_OUTCOME_OK)
 *                 ssx_run_result_as(run, hello_result, &out, &err);
 *             ssx_run_free(run);
 *         }
 *         ssx_session_close(session);
 *     }
 *
 * Names are ssx_OBJECT_VERB. What a function makes comes first in its arguments, an error last; every function takes
 * NULL for an error that nobody wants to read. Functions return 0 (or a useful number) on success, -1 with the error on
 * failure, and those that wait return SSX_AGAIN when the time is over first. Strings and bytes are borrowed from the
 * caller during the call only, unless it says otherwise.
 *
 * Threads: a session and its runs belong to one thread at a time; different sessions may be used by different threads
 * at once. Callbacks run in the thread that uses the session, from within a function that waits or steps. In a callback
 * everything may be called but ssx_session_close and what would wait: runs may be started, cancelled and freed, the one
 * that calls back too.
 *
 * The library prints nothing, handles no signal and raises none (SIGPIPE too), keeps nothing between sessions, and
 * never ends the process. Its descriptors close on exec. libsshexec(3) has more. */
#ifndef SSHEXEC_CLIENT_H
#define SSHEXEC_CLIENT_H
#include <sshexec/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ssx_session;
struct ssx_run;
struct ssx_schema; /* <sshexec/worker.h>: what SSX_STRUCT makes */

#define SSX_AGAIN (-2)        /* nothing (more) can be done now; not an error, and err is left alone */
#define SSX_WINDOW 1048576u   /* bytes of one run that its host sends ahead of what the program has taken */

/* ---- Sessions ------------------------------------------------------------------------------------------------------------ */

enum ssx_bootstrap {
    SSX_BOOTSTRAP_KEEP = 0,      /* a host that lacks the agent gets it once, in its cache */
    SSX_BOOTSTRAP_NEVER = 1,     /* an agent that is there already, or none */
    SSX_BOOTSTRAP_EPHEMERAL = 2, /* the agent is brought each time, and leaves no file behind */
};

/* How to reach a host. Start from ssx_session_defaults(); later versions append. All texts are borrowed while
 * ssx_session_open runs, and no longer. */
struct ssx_session_options {
    size_t size;                      /* of this struct: set by ssx_session_defaults */
    /* as ssh means them */
    const char *config_file;          /* -F; NULL: the user's and the system's */
    const char *login;                /* -l */
    int port;                         /* -p; 0: not given */
    const char *const *identities;    /* -i, ended by NULL; or NULL */
    const char *const *options;       /* -o, "Key=value" each, ended by NULL; or NULL */
    /* the way there */
    const char *transport;            /* NULL or "auto", "libssh", "ssh", "fifo": as `sshexec run --transport` */
    const char *transport_command;    /* NULL, or a command line that gives a byte pipe, in place of ssh: "docker exec -i %h %c" */
    const char *become;               /* NULL, or the user to become by sudo on arrival */
    int connect_timeout_ms;           /* 0: ssh's ConnectTimeout, or 15 s */
    enum ssx_bootstrap bootstrap;
    /* this end's own parts */
    const char *agent_file;           /* NULL: the installed agent. FILE.gz, the same packed, must lie beside it, but for a local session */
    const char *plugin_path;          /* directories of plugins, colon-separated, before the usual ones; NULL: only those */
    /* the program's say in it */
    int interrupt_fd;                 /* once this is readable, what waits fails with SSX_ERROR_INTERRUPTED; 0 or less: none */
    void *context;                    /* handed to the three below */
    /* Answers a question (a password, a passphrase, whether to trust a host key): one line into answer (size bytes with
     * its NUL). Returns 0, or -1: no answer. NULL: nobody is there to be asked, and no terminal is touched. Where the
     * system ssh carries the session and this is set, ssh asks on the process's terminal by itself. */
    int (*on_question)(void *context, const char *prompt, bool echo, char *answer, size_t size);
    void (*on_log)(void *context, int level, const char *text);              /* 1: which way and why; 2: more. Safe for a terminal */
    void (*on_stderr)(void *context, const void *bytes, size_t n);           /* what the host says beside the protocol; NULL: dropped */
    /* Signs of life, for a network that may go away without a word. The host ends the session's runs when it has heard
     * nothing from this end for so long, and they are `lost` here when this end has heard nothing from the host. They
     * are given while the session is stepped or waited for: a program that is stopped, or busy elsewhere, lets the
     * lease run out. 0: no lease, for Ctrl-Z must not kill a worker. */
    int lease_ms;
};

static inline struct ssx_session_options ssx_session_defaults(void)
{
    struct ssx_session_options o;
    memset(&o, 0, sizeof o);
    o.size = sizeof o;
    return o;
}

/* Opens a session with a host ("node1", "user@node1:2222"; its ssh configuration counts), or with this machine (host
 * NULL, through a local agent). options may be NULL. Waits until the agent there has answered; it is sent first where
 * the host lacks it. Returns 0: the caller owns *out and closes it. Or -1 with *out NULL: SSX_ERROR_UNREACHABLE,
 * SSX_ERROR_PROTOCOL, SSX_ERROR_USAGE (options, a configuration), SSX_ERROR_INTERRUPTED, SSX_ERROR_SYSTEM. */
SSX_API int ssx_session_open(struct ssx_session **out, const char *host, const struct ssx_session_options *options, struct ssx_error *err);

/* Closes the session; the host ends what still runs. Runs that have not ended become `lost`, without a callback; runs
 * stay readable until they are freed, before or after this. A child process (the system ssh, a local agent) is waited
 * for: at most 1.2 s. NULL is fine. Not from a callback. */
SSX_API void ssx_session_close(struct ssx_session *session);

/* Moves what can be moved: sends, receives, calls back. Waits for that until timeout_ms have passed (0: not at all; -1:
 * for ever). Returns 0 when something happened, SSX_AGAIN when nothing did, or -1 when the session is over: its runs
 * have ended by then, as `lost` or `unreachable`. Also -1: SSX_ERROR_INTERRUPTED; SSX_ERROR_USAGE from a callback. */
SSX_API int ssx_session_step(struct ssx_session *session, int timeout_ms, struct ssx_error *err);

/* A descriptor for the program's own event loop: readable (in poll, epoll, select) whenever ssx_session_step has
 * something to do. It is the session's: never read, write or close it. -1 when none can be made. Step until SSX_AGAIN,
 * or once a round: it stays readable while there is more. */
SSX_API int ssx_session_fd(struct ssx_session *session);

/* Waits until every run has ended that has not been freed. Returns 0; SSX_AGAIN when timeout_ms passed first; -1 as
 * ssx_session_step, but for a session that is over, where all runs have ended. */
SSX_API int ssx_session_wait(struct ssx_session *session, int timeout_ms, struct ssx_error *err);

/* How many runs have not ended yet, the freed ones apart. */
SSX_API size_t ssx_session_running(const struct ssx_session *session);

/* "libssh", "ssh", "fifo", "local", "command": what carries the session. Static. */
SSX_API const char *ssx_session_transport(const struct ssx_session *session);

/* ---- Runs: one call of one worker each ------------------------------------------------------------------------------------ */

#define SSX_STDOUT 1
#define SSX_STDERR 2

/* What the program takes by ssx_run_read and ssx_run_next_item, at its own pace. */
#define SSX_PULL_STDOUT 1u
#define SSX_PULL_STDERR 2u
#define SSX_PULL_ITEMS  4u

/* How a run goes. Start from ssx_run_defaults(); later versions append. What a run says has one of three ways: pulled,
 * called back, or, where neither is asked for, dropped. What is called back or dropped never holds the worker up. What
 * is pulled does: once SSX_WINDOW bytes of a run wait to be taken, its worker waits, and no other run does. So take all
 * that you have asked for. */
struct ssx_run_options {
    size_t size;                      /* of this struct: set by ssx_run_defaults */
    uint64_t timeout_ms;              /* the deadline, counted on the host from the worker's start; 0: none */
    uint64_t grace_ms;                /* from SIGTERM to SIGKILL, at a cancel or the deadline; 0: 1000. At most 60000 */
    bool input;                       /* ssx_run_write will give the worker's stdin; else it is empty */
    unsigned pull;                    /* SSX_PULL_ words, ORed */
    void *context;                    /* handed to the callbacks, and by ssx_run_context */
    /* Bytes and texts are borrowed during the callback. Texts come from the host: anything but NUL may be in them. */
    void (*on_output)(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n); /* SSX_STDOUT, SSX_STDERR */
    void (*on_log)(void *context, struct ssx_run *run, int level, const char *text);                /* SSX_LOG_ of worker.h: 0 to 3 */
    void (*on_progress)(void *context, struct ssx_run *run, uint64_t done, uint64_t total, const char *text);
    void (*on_item)(void *context, struct ssx_run *run, const void *msgpack, size_t n);             /* see ssx_run_item_as */
    void (*on_state)(void *context, struct ssx_run *run, const void *msgpack, size_t n);            /* the state that came back */
    void (*on_end)(void *context, struct ssx_run *run);                                             /* the last one, once */
};

static inline struct ssx_run_options ssx_run_defaults(void)
{
    struct ssx_run_options o;
    memset(&o, 0, sizeof o);
    o.size = sizeof o;
    return o;
}

/* Starts a run of a type ("hello": what the host has under that name, or else this end's plugin) or of exactly one
 * plugin file (a name with a slash: "./hello.so"). state: one msgpack value of n bytes, copied; NULL: no field is set.
 * It travels with the next step or wait. Any number of runs may be under way; they end in any order. A plugin of this
 * end is read once a session.
 *
 * Returns 0: the caller owns *out and frees it. Or -1 with *out NULL, and nothing was sent: SSX_ERROR_REFUSED (not a
 * plugin, an untrusted file, a state that is too large or none), SSX_ERROR_UNKNOWN_TYPE (not a name at all),
 * SSX_ERROR_USAGE (options, a file that can't be read), SSX_ERROR_UNREACHABLE (the session is over), SSX_ERROR_SYSTEM.
 * A type that neither end has makes a run that ends as `refused`. Where the agent takes no more calls at once, a run
 * waits its turn here, in order. */
SSX_API int ssx_run_start(struct ssx_run **out, struct ssx_session *session, const char *type, const void *state, size_t n,
                          const struct ssx_run_options *options, struct ssx_error *err);

/* The same with the worker's own struct: `in` is a const struct t *, of a list that both ends include (with
 * SSX_NO_NOTES here; start from t_ssx_defaults). Fields that equal their default do not travel. -1 with
 * SSX_ERROR_REFUSED also where a field is out of its range. */
#define ssx_run_start_as(out, session, type, t, in, options, err) \
    ssx_run_start_struct((out), (session), (type), t##_ssx(), 1 ? (in) : (const struct t *)NULL, (options), (err))
SSX_API int ssx_run_start_struct(struct ssx_run **out, struct ssx_session *session, const char *type, const struct ssx_schema *schema,
                                 const void *in, const struct ssx_run_options *options, struct ssx_error *err);

/* Frees a run, and all that was borrowed from it. One that has not ended is cancelled; no callback comes any more. NULL
 * is fine. */
SSX_API void ssx_run_free(struct ssx_run *run);

/* Asks the host to end the run: SIGTERM, SIGKILL after the grace time. It still ends by itself, as `cancelled` where
 * that came first. What was to be pulled and has come stays to be taken; what comes later is dropped. */
SSX_API void ssx_run_cancel(struct ssx_run *run);

/* Waits until the run has ended, and moves all runs of the session meanwhile. Returns 0, whatever the outcome;
 * SSX_AGAIN when timeout_ms (-1: no limit) passed first; -1: SSX_ERROR_INTERRUPTED, SSX_ERROR_USAGE from a callback. */
SSX_API int ssx_run_wait(struct ssx_run *run, int timeout_ms, struct ssx_error *err);

/* The session (NULL once it is closed) and the context that the run was started with. */
SSX_API struct ssx_session *ssx_run_session(const struct ssx_run *run);
SSX_API void *ssx_run_context(const struct ssx_run *run);

/* ---- Input: for runs with `input` ----------------------------------------------------------------------------------------- */

/* Gives the worker bytes for its stdin: as many as fit into its window. Waits until some do, timeout_ms at most (0: not
 * at all). Returns how many of n were taken, copied; SSX_AGAIN when none; -1 where none will be taken any more: the run
 * has ended or its input has, or it was started without (SSX_ERROR_USAGE); or interrupted. */
SSX_API ssize_t ssx_run_write(struct ssx_run *run, const void *bytes, size_t n, int timeout_ms, struct ssx_error *err);

/* The worker reads an end of file once it has read what was written. Harmless when repeated, or too late. */
SSX_API void ssx_run_write_end(struct ssx_run *run);

/* ---- Pulling --------------------------------------------------------------------------------------------------------------- */

/* Takes at most n bytes of a stream that the run was started to pull, and gives the host as much room again. Waits
 * until there are some, timeout_ms at most (0: not at all, -1: for ever). Returns how many; 0 at the end of the stream;
 * SSX_AGAIN when none came in time; -1: SSX_ERROR_USAGE (a stream that is not pulled, or a wait in a callback),
 * SSX_ERROR_INTERRUPTED. */
SSX_API ssize_t ssx_run_read(struct ssx_run *run, int stream, void *out, size_t n, int timeout_ms, struct ssx_error *err);

/* Takes the next item. Returns 1 with one msgpack value, borrowed until the next one is asked for or the run is freed;
 * 0 after the last; SSX_AGAIN and -1 as ssx_run_read. */
SSX_API int ssx_run_next_item(struct ssx_run *run, const void **msgpack, size_t *n, int timeout_ms, struct ssx_error *err);

/* Decodes an item, pulled or called back, into the struct t at `out`. What it points to is valid until the next item of
 * the run is decoded, or the run is freed. Returns 0, or -1: SSX_ERROR_REFUSED names the field that does not fit. */
#define ssx_run_item_as(run, t, out, msgpack, n, err) \
    ssx_run_item_struct((run), t##_ssx(), 1 ? (out) : (struct t *)NULL, (msgpack), (n), (err))
SSX_API int ssx_run_item_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, const void *msgpack, size_t n,
                                struct ssx_error *err);

/* ---- How a run ended ------------------------------------------------------------------------------------------------------ */

/* An enum ssx_outcome; -1 while the run has not ended. */
SSX_API int ssx_run_outcome(const struct ssx_run *run);

/* The exit code that `sshexec run` would have: 0 for ok, the worker's own, 124 to 127, 128 + n, 255; -1 while it has
 * not ended. */
SSX_API int ssx_run_exit_code(const struct ssx_run *run);

/* All that is known of the end; later versions append. Texts are never NULL; "" is: not said. */
struct ssx_ending {
    enum ssx_outcome outcome;
    int exit_code;                    /* ssx_run_exit_code */
    unsigned code;                    /* failed: the worker's own; crashed: what it left with by exit */
    unsigned signal;                  /* crashed: what killed it */
    const char *reason;               /* refused: a word of PROTOCOL.md, "unknown-type" */
    const char *message;              /* the worker's or the agent's own, as it came */
    const char *text;                 /* the whole in one line for a person, safe for a terminal: "failed: no such file" */
    const char *digest;               /* the SHA-256 of the plugin that ran, in hexadecimal; "": nothing ran */
    const char *sandbox;              /* the protection achieved */
    uint64_t wall_us, user_us, sys_us, rss_kb;
    uint64_t out, err;                /* bytes of stdout and stderr that were sent */
    bool truncated;                   /* output was lost: something kept it open after the worker had ended */
};

/* Borrowed until the run is freed; NULL while it has not ended. */
SSX_API const struct ssx_ending *ssx_run_ending(const struct ssx_run *run);

/* The result, one msgpack value, borrowed until the run is freed; NULL with *n = 0 where there is none (yet). A worker
 * that did not end as ok may have sent one all the same. */
SSX_API const void *ssx_run_result(const struct ssx_run *run, size_t *n);

/* The state that the worker gave back, if its type does that; as ssx_run_result. */
SSX_API const void *ssx_run_state(const struct ssx_run *run, size_t *n);

/* The same as the struct t at `out`, checked as any bytes from outside. What it points to is the run's, until that is
 * freed. Returns 0;
 * -1: SSX_ERROR_REFUSED, there is none, or a field does not fit. */
#define ssx_run_result_as(run, t, out, err) ssx_run_result_struct((run), t##_ssx(), 1 ? (out) : (struct t *)NULL, (err))
#define ssx_run_state_as(run, t, out, err)  ssx_run_state_struct((run), t##_ssx(), 1 ? (out) : (struct t *)NULL, (err))
SSX_API int ssx_run_result_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, struct ssx_error *err);
SSX_API int ssx_run_state_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, struct ssx_error *err);

/* ---- Values as JSON --------------------------------------------------------------------------------------------------------- */

/* One JSON text of `length` bytes as one msgpack value. Returns 0: the caller frees *out by ssx_value_free; or -1 with
 * *out NULL, and err naming line and column. */
SSX_API int ssx_value_from_json(void **out, size_t *n, const char *json, size_t length, struct ssx_error *err);

/* One msgpack value as a line of JSON, NUL-ended (PROTOCOL.md's forms for what JSON lacks). Fields that a type calls
 * secret are shown: this knows no type. Returns 0: the caller frees *out by ssx_value_free; or -1 with *out NULL for
 * what is no value. */
SSX_API int ssx_value_to_json(char **out, const void *msgpack, size_t n, struct ssx_error *err);

SSX_API void ssx_value_free(void *value);

/* ---- Names and codes -------------------------------------------------------------------------------------------------------- */

/* "ok", "failed", ...; "unknown" for what is none. Static. */
SSX_API const char *ssx_outcome_name(enum ssx_outcome outcome);

/* The exit code of `sshexec` for an error: 0 for none, 125 to 127, 130, 255. */
SSX_API int ssx_error_exit_code(enum ssx_error_code code);

#ifdef __cplusplus
}
#endif
#endif
