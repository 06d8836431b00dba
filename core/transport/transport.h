/* A transport is a byte pipe to a program that is started at the other end: an agent, or the shell line that finds one.
 *
 * Two backends make one: libssh in this process (libssh.h), and any command with a stdin and a stdout (spawn.h): the
 * system ssh, a local agent, a template of the user's. Opening blocks (resolve, connect, key exchange, authentication),
 * with a deadline and a way to interrupt it; after that nothing here blocks, and the owner's poll loop drives it. A
 * transport belongs to one thread at a time. Knows bytes only, no message. */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H
#include <sshexec/error.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct transport;
struct buf;

enum transport_stream { TRANSPORT_STDOUT, TRANSPORT_STDERR };

#define TRANSPORT_AGAIN (-2) /* nothing can move now: poll first */
#define TRANSPORT_FDS 4      /* the most descriptors that transport_poll names (3), and one more for who watches over it */

/* Reads at most n bytes of what the far program wrote. Returns how many, 0 at the end of that stream, TRANSPORT_AGAIN,
 * or -1 with err set (SSX_ERROR_UNREACHABLE) when the link broke. */
ssize_t transport_read(struct transport *t, enum transport_stream stream, void *out, size_t n, struct ssx_error *err);

/* Writes what it can. Returns how many bytes it took (fewer than n is normal), TRANSPORT_AGAIN, or -1 with err set. A
 * reader that has gone away is an error, never a SIGPIPE. */
ssize_t transport_write(struct transport *t, const void *bytes, size_t n, struct ssx_error *err);

/* Appends to out what has come from one stream, until nothing more is there (0) or it ends (0, and *ended). Returns -1
 * with err set when the link broke, or when more than limit bytes have come, or memory is out (SSX_ERROR_SYSTEM). */
int transport_collect(struct transport *t, enum transport_stream stream, struct buf *out, size_t limit, bool *ended, struct ssx_error *err);

/* No more will be written; the far program reads an end of file once all before has arrived. */
void transport_close_write(struct transport *t);

/* Fills in what to poll for: always for reading, for writing too when the caller has bytes to send or the transport
 * itself holds some. Call it anew before each poll; it may name a descriptor that is ready at once, where bytes wait in
 * a library's memory. Whatever poll then reports, and on whichever entry: read both streams until TRANSPORT_AGAIN,
 * which is also what sends the bytes that the transport holds. Returns how many entries (fewer than TRANSPORT_FDS; 0
 * once a child's streams have ended and it has been waited for). */
size_t transport_poll(struct transport *t, bool want_write, struct pollfd *out);

/* Once stdout has ended: the far program's exit status (0-255; 128 + n for a signal), or -1 where it isn't known yet
 * (poll and ask again, for a while: a host may never tell). */
int transport_exit_status(struct transport *t);

/* "libssh", "ssh", "local", "fifo", a template's name: which backend this is, for people. */
const char *transport_name(const struct transport *t);

/* How often the far side's silence is to be broken by a question, in ms (0: never), and how many of those in a row may
 * go without an answer: what ssh's configuration says, where no ssh does it. */
int transport_alive(const struct transport *t, int *most);

/* Closes and frees. A child process gets end of file, SIGTERM after 200 ms, SIGKILL 1,000 later; it is reaped. NULL is
 * fine. */
void transport_free(struct transport *t);

/* --- for backends --- */
struct transport_backend {
    const char *name;
    ssize_t (*read)(struct transport *, enum transport_stream, void *, size_t, struct ssx_error *);
    ssize_t (*write)(struct transport *, const void *, size_t, struct ssx_error *);
    void (*close_write)(struct transport *);
    size_t (*poll)(struct transport *, bool want_write, struct pollfd *);
    int (*exit_status)(struct transport *);
    void (*free)(struct transport *);
};
struct transport { /* the first member of each backend's own struct */
    const struct transport_backend *backend;
    int alive_ms, alive_max; /* transport_alive */
};

#endif
