/* One worker on many hosts at once: what `sshexec run TYPE -w SET` uses. Each host runs it once, or items are dealt
 * over the hosts, each of which is one run on whichever host is free.
 *
 *     struct ssx_fleet_options o = ssx_fleet_defaults();
 *     o.on_event = tell;                                  SSX_FLEET_OUTPUT, SSX_FLEET_RESULT ... SSX_FLEET_END, of each host
 *     if (ssx_fleet_open(&fleet, "facts", NULL, 0, &o, &err) == 0) {
 *         for (i = 0; i < count; i++)
 *             ssx_fleet_add(fleet, names[i], NULL, 0, NULL, &err);
 *         if (ssx_fleet_start(fleet, &err) == 0)
 *             while (ssx_fleet_step(fleet, -1) > 0)
 *                 ;
 *         ssx_fleet_close(fleet);
 *     }
 *
 * Every host ends with exactly one SSX_FLEET_END, whatever becomes of it, and after it nothing more comes from it. A
 * host that says more than the program takes is made to wait; nothing that waits for the program grows beyond some MiB,
 * however many hosts there are.
 *
 * Where items were added by ssx_fleet_deal, hosts have no run of their own. A host takes the next item whenever it has
 * room for one, so a faster one takes more; its session stays open for all of them. Each item ends with exactly one
 * SSX_FLEET_DEALT, and each host, which may have had many items or none, with its SSX_FLEET_END. An item whose host
 * could not finish it is given back (SSX_FLEET_RETURNED) and goes to another: where it was never sent; where the host
 * refused it, and takes nothing else; and, for types that declare themselves idempotent, where the link broke while it
 * ran. Once three hosts have failed under an item it ends as the last of them said. Items that no host is left for end
 * as `unreachable`.
 *
 * Where the options say so, each host's worker converses with somebody of its own: its stdin and its stdout are
 * descriptors, pipes or sockets, that ssx_fleet_join hands over once the host has begun (SSX_FLEET_BEGUN). The fleet's
 * threads move the bytes, within the call's window in both directions: a worker that does not read makes its writer
 * wait, a reader that does not read makes its worker wait, and neither of them delays another host.
 *
 * Hosts may be asked for something else than a run: which plugins they have (ssx_fleet_open_describe), or about bundles
 * (<sshexec/bundle.h>).
 *
 * Names, errors and lifetimes are those of <sshexec/client.h>. A fleet belongs to one thread at a time, which is the
 * one that is called back, from within ssx_fleet_step; threads of its own do the rest. They handle no signal. Where
 * more sessions are wanted than the soft limit of `ulimit -n` allows, ssx_fleet_start raises it for the process, up to
 * the hard one. */
#ifndef SSHEXEC_FLEET_H
#define SSHEXEC_FLEET_H
#include <sshexec/client.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ssx_fleet;
struct ssx_bundle_answer; /* <sshexec/bundle.h> */

enum ssx_fleet_event_kind {
    SSX_FLEET_OUTPUT = 1,   /* stream (SSX_STDOUT, SSX_STDERR), bytes, n */
    SSX_FLEET_LOG = 2,      /* level (SSX_LOG_ of worker.h: 0 to 3), text */
    SSX_FLEET_PROGRESS = 3, /* done, total (0: unknown), text */
    SSX_FLEET_ITEM = 4,     /* bytes, n: one msgpack value */
    SSX_FLEET_RESULT = 5,   /* the same */
    SSX_FLEET_STATE = 6,    /* the same: the state that came back */
    SSX_FLEET_NOISE = 7,    /* bytes, n: what the host, or the ssh that leads there, says beside the worker */
    SSX_FLEET_NOTE = 8,     /* level (1; 2: more), text: how the host is being reached. Only where `notes` is set */
    SSX_FLEET_END = 9,      /* ending, timing: the host's last one */
    SSX_FLEET_DEALT = 10,   /* ending, timing: the item's last one. host: where it ran; SSX_FLEET_NONE (name and context
                               NULL) if it came to none */
    SSX_FLEET_RETURNED = 11,  /* text: why. What came of the item until now counts no more: another host will get it */
    SSX_FLEET_BEGUN = 12,     /* the host's agent has answered, its call begins: once, before all but notes and noise.
                                 Only where `joined` is set */
    SSX_FLEET_DESCRIBED = 13, /* plugin: one that the host has. Only of ssx_fleet_open_describe */
};

#define SSX_FLEET_NONE ((size_t)-1) /* no item; no host */

/* Where a host's time went, in microseconds; 0: it did not come to that, or a child process did it unseen. Later
 * versions append. */
struct ssx_fleet_timing {
    uint64_t wait_us;        /* in line, and between tries */
    uint64_t look_us;        /* the ssh configuration, known_hosts, keys */
    uint64_t resolve_us, connect_us, exchange_us, auth_us;
    uint64_t agent_us;       /* until the agent answered; it may have been brought first */
    uint64_t upload_us;      /* of the plugin, where the host lacked it */
    uint64_t load_us;        /* the call's way there and back, and loading the plugin */
    uint64_t run_us;         /* the worker */
    uint64_t drain_us;       /* until the program had taken all that came before the end */
    uint64_t total_us;       /* from ssx_fleet_start to the end's arrival; drain_us is not in it */
    unsigned tries;          /* more than 1: the host hung up on logins before its greeting, as a busy sshd does */
};

/* What a host says of one of its plugins; texts are never NULL. Of several of one name the first is the one that a call
 * would run. Later versions append. */
struct ssx_fleet_plugin {
    const char *type;
    const char *digest;      /* SHA-256 of its file, in hexadecimal */
    const char *where;       /* a path on the host, for people */
    const char *problem;     /* why it can't be used; what follows is empty then. "": it can */
    const char *version, *doc; /* its own words */
    const char *schema;      /* the digest of its fields: where that is the same, so are they */
    const void *note;        /* the whole of its descriptor, note_size bytes (sdk/ABI.md, section 2); checked */
    size_t note_size;
};

/* All of it is borrowed during the callback. Texts come from the host, but for notes: anything but NUL may be in them.
 * Later versions append. */
struct ssx_fleet_event {
    enum ssx_fleet_event_kind kind;
    size_t host;             /* its number: how many were added before it */
    const char *name;        /* as it was added; NULL: this machine */
    void *context;           /* likewise */
    int stream;
    int level;
    const void *bytes;
    size_t n;
    const char *text;
    uint64_t done, total;
    const struct ssx_ending *ending;
    const struct ssx_fleet_timing *timing;
    size_t item;             /* which of those that are dealt this is about: how many were added before it; SSX_FLEET_NONE: none */
    const struct ssx_fleet_plugin *plugin;
    const struct ssx_bundle_answer *answer; /* with a RESULT, where something about bundles was asked */
};

/* How a fleet runs. Start from ssx_fleet_defaults(); later versions append. What is zero is not given. */
struct ssx_fleet_options {
    size_t size;             /* of this struct: set by ssx_fleet_defaults */
    const struct ssx_session_options
        *session; /* how to reach hosts; NULL: the defaults. Borrowed until ssx_fleet_close, texts too. Its callbacks
                     and interrupt_fd are not used: a fleet asks nobody */
    size_t fanout;           /* sessions open at once; 0: SSX_FLEET_FANOUT */
    uint64_t timeout_ms;     /* of a call, counted on the host; 0: no limit */
    uint64_t grace_ms;       /* from SIGTERM to SIGKILL; 0: 1000. At most 60000 */
    uint64_t deadline_ms;    /* of the whole run: what runs then ends as `timeout`, what was not reached as `unreachable`; 0: no limit */
    int input_fd; /* a regular file, or a memfd, whose whole content each worker reads as its stdin; borrowed until
                     ssx_fleet_close; 0 or less: none */
    bool notes;              /* SSX_FLEET_NOTE is wanted */
    void *context;           /* handed to on_event */
    void (*on_event)(void *context, const struct ssx_fleet_event *event);
    size_t per_host;         /* items that a host works on at once; 0: 1. At most SSX_FLEET_PER_HOST_MAX, and what its agent takes */
    const char *by;          /* who a deploy says it comes from, 1 to 127 printable characters of ASCII, no blank; NULL:
                                user@host of this process. Nobody checks it */
    unsigned joined;         /* SSX_FLEET_JOIN_INPUT | SSX_FLEET_JOIN_OUTPUT: what ssx_fleet_join hands over for each
                                host's worker. Such a fleet deals no items */
};

#define SSX_FLEET_FANOUT 64
#define SSX_FLEET_PER_HOST_MAX 1000
#define SSX_FLEET_JOIN_INPUT 1u  /* its stdin */
#define SSX_FLEET_JOIN_OUTPUT 2u /* its stdout: no SSX_FLEET_OUTPUT comes of that */

static inline struct ssx_fleet_options ssx_fleet_defaults(void)
{
    struct ssx_fleet_options o;
    memset(&o, 0, sizeof o);
    o.size = sizeof o;
    return o;
}

/* Makes a fleet for one type, found as by ssx_run_start, and a state for all hosts that are added without one of their
 * own (one msgpack value of n bytes, copied; NULL: no field is set). Returns 0: the caller owns *out and closes it. Or
 * -1 with *out NULL: SSX_ERROR_USAGE (options), SSX_ERROR_REFUSED, SSX_ERROR_UNKNOWN_TYPE (not a name at all),
 * SSX_ERROR_SYSTEM. */
SSX_API int ssx_fleet_open(struct ssx_fleet **out, const char *type, const void *state, size_t n,
                           const struct ssx_fleet_options *options, struct ssx_error *err);

/* Makes a fleet whose hosts run nothing, but say which plugins they have: of one type (a name), or all (NULL). Each
 * plugin is an SSX_FLEET_DESCRIBED; then the host ends as `ok`, or as `refused` with the reason "unknown-type" where it
 * has none of that name. Nothing travels to it but the agent, where it lacks that. Of the options, timeout_ms, input_fd
 * and per_host do not count. Returns 0: the caller owns *out and closes it. Or -1 with *out NULL: SSX_ERROR_USAGE
 * (options), SSX_ERROR_UNKNOWN_TYPE (not a name), SSX_ERROR_SYSTEM. */
SSX_API int ssx_fleet_open_describe(struct ssx_fleet **out, const char *type, const struct ssx_fleet_options *options,
                                    struct ssx_error *err);

/* Adds a host, before the start: "node1", "user@node1:2222"; or this machine (NULL), through a local agent as
 * ssx_session_open. state: its own, copied; NULL: that of the fleet. Returns 0, or -1: SSX_ERROR_USAGE (the fleet has
 * been started, or has a state where its hosts run nothing), SSX_ERROR_SYSTEM. */
SSX_API int ssx_fleet_add(struct ssx_fleet *fleet, const char *host, const void *state, size_t n, void *context, struct ssx_error *err);

/* Adds an item to be dealt, before the start: one msgpack map of n bytes, copied. Its fields replace those of the state
 * of the host that gets it. Returns 0, or -1: SSX_ERROR_USAGE (the fleet has been started, or its hosts run nothing),
 * SSX_ERROR_REFUSED (it is no map), SSX_ERROR_SYSTEM. */
SSX_API int ssx_fleet_deal(struct ssx_fleet *fleet, const void *fields, size_t n, struct ssx_error *err);

/* Begins. Returns 0, or -1: SSX_ERROR_USAGE (no host, or it was started before), SSX_ERROR_SYSTEM (no threads, no
 * descriptors). */
SSX_API int ssx_fleet_start(struct ssx_fleet *fleet, struct ssx_error *err);

/* Calls back for what has come, having waited for it until timeout_ms have passed (0: not at all; -1: for ever) or a
 * signal was handled. Now and then it returns before having told all, for the program's own loop. Returns 1 while there
 * are hosts or items that have not ended, else 0. */
SSX_API int ssx_fleet_step(struct ssx_fleet *fleet, int timeout_ms);

/* Joins the worker of a host (its number) to descriptors of the program's, whose other ends belong to who converses
 * with it: the worker reads what comes from `in`, until its end of file, and `out` takes its stdout. -1: none; then the
 * worker's input is at its end, or its stdout is dropped. Pipes or sockets, one descriptor each way; they are made
 * non-blocking. Once for each host, after its SSX_FLEET_BEGUN; until then the worker waits. May be called from a
 * callback.
 * Returns 0: they are the fleet's, which closes `in` at its end, and both before the host's end is told. `out` has then
 * taken all that the worker said, unless the call was cancelled or the link broke. One who has closed the other end
 * hinders nobody: what is for it is dropped.
 * Or -1, and they stay the caller's: SSX_ERROR_USAGE (the host has not begun, has ended, or was joined before; the
 * options do not say so; no pipe or socket), SSX_ERROR_SYSTEM. */
SSX_API int ssx_fleet_join(struct ssx_fleet *fleet, size_t host, int in, int out, struct ssx_error *err);

/* How many bytes have gone from such descriptors to workers, and from workers to such descriptors, until now: of all
 * hosts together. */
SSX_API void ssx_fleet_moved(const struct ssx_fleet *fleet, uint64_t *in, uint64_t *out);

/* A descriptor for the program's own event loop: readable (in poll, epoll, select) whenever ssx_fleet_step has
 * something to tell. The fleet's: never read, write or close it. -1 before the start. */
SSX_API int ssx_fleet_fd(const struct ssx_fleet *fleet);

/* Ends everything: no further host is begun with, those that are being reached are given up, workers get SIGTERM and,
 * after the grace time, SIGKILL. All hosts still end one by one, by ssx_fleet_step. May be called from a callback, and
 * again. */
SSX_API void ssx_fleet_cancel(struct ssx_fleet *fleet);

/* Begins with no further host or item: those that wait for their turn end as `cancelled`, those that are being reached
 * or run go on. May be called from a callback, and again. */
SSX_API void ssx_fleet_stop(struct ssx_fleet *fleet);

enum ssx_fleet_place { SSX_FLEET_WAITING = 0, SSX_FLEET_OPENING = 1, SSX_FLEET_RUNNING = 2, SSX_FLEET_ENDED = 3 };
#define SSX_FLEET_PLACES 4

/* How many hosts are in each place, how many items, and where a host is. Its end may not have been told yet. */
SSX_API void ssx_fleet_count(struct ssx_fleet *fleet, size_t counts[SSX_FLEET_PLACES]);
SSX_API void ssx_fleet_count_items(struct ssx_fleet *fleet, size_t counts[SSX_FLEET_PLACES]);
SSX_API enum ssx_fleet_place ssx_fleet_where(struct ssx_fleet *fleet, size_t host);

/* How many sessions may be open at once; fewer than was asked for where the process's descriptors allow no more. */
SSX_API size_t ssx_fleet_fanout(const struct ssx_fleet *fleet);

/* Cancels what still runs, waits for all sessions to close (grace time and 2.5 s at most), and frees everything. No
 * callback comes any more. NULL is fine. Not from a callback. */
SSX_API void ssx_fleet_close(struct ssx_fleet *fleet);

#ifdef __cplusplus
}
#endif
#endif
