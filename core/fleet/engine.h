/* Many hosts at once: one call on each, or items dealt over them; a bounded number of sessions open, every host and
 * every item with exactly one end.
 *
 * Threads: a crew opens sessions (resolve, connect, key exchange, authentication, or starting ssh), pumps move those
 * that are open, a conductor decides who is next, another crew closes. The program's own thread gets all that hosts
 * say, by callbacks out of engine_work: it may take its time, for hosts that say more than it takes are made to
 * wait. */
#ifndef FLEET_ENGINE_H
#define FLEET_ENGINE_H
#include "client/bootstrap.h"
#include "client/client.h"
#include "fleet/timing.h"
#include "transport/target.h"

#include <sshexec/fleet.h>

struct engine;

#define ENGINE_NONE ((size_t)-1) /* in place of a host's number, or an item's */

/* What a program is told, in its own thread. Texts and bytes are borrowed during the callback. */
struct engine_listener {
    void *user;
    /* HELLO, OUTPUT, LOG, PROGRESS, ITEM, RESULT, STATE of a host's call; DESCRIBE, where that is asked for. */
    void (*on_message)(void *user, size_t host, const struct message *m);
    /* The host's last word, once for each host. e may be changed. */
    void (*on_end)(void *user, size_t host, struct message_end *e, const struct timing *t);
    /* What the host, or the ssh that leads there, says beside the protocol; NULL: dropped. */
    void (*on_stderr)(void *user, size_t host, const void *bytes, size_t n);
    /* How a host is being reached: what -v (level 1) and -vv (2) show; NULL: dropped. */
    void (*on_note)(void *user, size_t host, int level, const char *text);
    /* Where items are dealt: what their calls say; the last word of each, and which host had it (ENGINE_NONE: none);
     * and that the host did not come to an end with it, so that what it said of it counts no more, for another will get
     * it. */
    void (*on_item_message)(void *user, size_t host, size_t item, const struct message *m);
    void (*on_item_end)(void *user, size_t host, size_t item, struct message_end *e, const struct timing *t);
    void (*on_item_return)(void *user, size_t host, size_t item, const char *why);
};

/* All borrowed until engine_free. */
struct engine_options {
    struct transport_target target; /* how to reach hosts; host, interrupt_fd, log and attempt are the engine's. ask is
                                       not used: a fleet asks nobody */
    const char *const *local_argv;         /* what a host without a name is, as link_open_local; NULL: no exception */
    const struct agent_image *agent;       /* what to send to hosts that have none */
    enum bootstrap_mode bootstrap;
    struct client_request call;            /* state and state_size are the hosts' own where they have any; input is set by input_fd */
    int input_fd;                          /* a regular file, or a memfd, whose content each worker gets as its input; -1: none */
    bool joins_in, joins_out; /* each host's worker has its input, its output, by a descriptor of its own: engine_join.
                                 Not where items are dealt */
    size_t per_host;                       /* items that a host has at once; 0: 1 */
    bool idempotent;                       /* an item that may have run may run again */
    size_t fanout;                         /* sessions that may be open at once; 0: ENGINE_FANOUT */
    int64_t deadline_ms;                   /* the longest that all of it may take; 0: no limit */
    size_t pumps;                          /* threads that move sessions, 1 to 4; 0: as many as suit the machine */
    struct engine_listener listener;
};

#define ENGINE_FANOUT SSX_FLEET_FANOUT

/* Returns 0 or -1. */
int engine_new(struct engine **out, const struct engine_options *options, struct ssx_error *err);

/* Adds a host before the start: its text (NULL: this machine), its own state (n bytes, borrowed until engine_free;
 * NULL: that of the call). Its number is how many were added before. Returns 0, or -1 without memory. */
int engine_add(struct engine *e, const char *host, const void *state, size_t n, struct ssx_error *err);

/* Adds an item before the start, a msgpack map of n bytes: its fields replace those of the state of the host that gets
 * it. From then on hosts have no call of their own. Returns 0, or -1 with err (REFUSED: it is no map; SYSTEM). */
int engine_deal(struct engine *e, const void *fields, size_t n, struct ssx_error *err);

/* Begins. *fanout (may be NULL) is how many sessions the process's file descriptors allow, where that is fewer than was
 * asked for, else what was asked for. Returns 0 or -1 (SYSTEM: no threads). */
int engine_start(struct engine *e, size_t *fanout, struct ssx_error *err);

/* Readable when engine_work has something to tell. */
int engine_fd(const struct engine *e);

/* Tells what there is to tell, after waiting for it for at most timeout_ms (-1: no limit; 0: not at all); now and then
 * it returns before having told all. Returns how many hosts and items have not ended yet. */
size_t engine_work(struct engine *e, int timeout_ms);

/* Ends everything: no host is begun with any more, those that are being opened are given up, running workers get
 * SIGTERM and, after the grace time, SIGKILL. Each still ends in its own way, as `cancelled` where that came first. May
 * be called again, and from a callback. */
void engine_cancel(struct engine *e);

/* Begins with no further host or item: those that wait for their turn end as `cancelled`, the others go on. From any
 * callback, and again. */
void engine_stop(struct engine *e);

/* How many hosts are where. */
struct engine_count { size_t waiting, opening, running, ended; };
struct engine_count engine_count(struct engine *e);

/* How many items are where; opening: 0. */
struct engine_count engine_count_items(struct engine *e);

/* In which of these a host is now. */
enum engine_place { ENGINE_WAITING, ENGINE_OPENING, ENGINE_RUNNING, ENGINE_ENDED };
enum engine_place engine_where(struct engine *e, size_t host);

/* Hands over descriptors for a host that has said HELLO, and has not ended: what its worker reads, and what takes its
 * stdout (-1: none; then it gets no input, and its output is dropped). Each is the engine's then, which closes it once
 * it is of no use any more. Returns 0, or -1 with err (USAGE: now is not the time); then they stay the caller's. In the
 * program's thread. */
int engine_join(struct engine *e, size_t host, int in, int out, struct ssx_error *err);

/* How many bytes have gone through such descriptors until now, of all hosts. */
void engine_moved(const struct engine *e, uint64_t *in, uint64_t *out);

/* Of the objects of an offer: bytes that a host has asked for until now, and how many of them have left. */
void engine_upload(const struct engine *e, size_t host, uint64_t *sent, uint64_t *asked);

/* As it was added. */
const char *engine_host(const struct engine *e, size_t host);

/* Cancels what still runs, and waits until every thread and child has ended. NULL is fine. */
void engine_free(struct engine *e);

#endif
