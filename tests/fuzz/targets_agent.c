/* An agent's session, in this process: calls, uploads and bundles of a hostile sender, with a store of its own and no
 * plugin that could run. */
#include "targets.h"

#include "session.h"

#include "base/buf.h"
#include "base/tree.h"
#include "wire/message.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NONCE "0123456789abcdef0123456789abcdef"
#define PIECE 4096     /* what comes at once */
#define TURNS 24       /* of the session's loop behind all that: PINGs, for a step of what is under way each */

static void put(int fd, const struct buf *b, size_t at, size_t n)
{
    must(send(fd, buf_data(b) + at, n, 0) == (ssize_t)n);
}

static void put_message(int fd, struct buf *b, const struct message *m)
{
    message_encode(b, m, FROM_SENDER);
    put(fd, b, 0, buf_length(b));
    buf_free(b);
}

/* All of it waits in the socket before the session begins: a packet a turn of its loop, and then the end. */
static int conversation(const void *bytes, size_t n)
{
    const struct message hello = {.kind = MESSAGE_HELLO, .hello = {.min = 1, .max = 1, .window = DATA_MAX}};
    struct buf b = {0};
    int fds[2], room = 4 << 20;
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    must(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
    must(buf_add_text(&b, "sshexec 1 " NONCE "\n") == 0);
    put_message(fds[1], &b, &hello);
    must(buf_add(&b, bytes, n) == 0);
    for (size_t at = 0; at < n; at += PIECE)
        put(fds[1], &b, at, n - at < PIECE ? n - at : PIECE);
    buf_free(&b);
    for (unsigned i = 0; i < TURNS; i++)
        put_message(fds[1], &b, &(struct message){.kind = MESSAGE_PING, .token = i});
    close(fds[1]);
    return fds[0];
}

/* What the agent said: frames that a sender takes, and at most one END for an id, with nothing behind it. */
static void check_answers(int out)
{
    static const char marker[] = "sshexec-agent 1 " NONCE "\r\n\0\xff";
    static unsigned char ended[1 << 16];
    off_t size = lseek(out, 0, SEEK_END);
    unsigned char *at = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, out, 0);
    size_t n = (size_t)size - (sizeof marker - 1);
    struct message m;
    must(at != MAP_FAILED && size >= (off_t)sizeof marker && memcmp(at, marker, sizeof marker - 1) == 0);
    memset(ended, 0, sizeof ended);
    for (const unsigned char *from = at + sizeof marker - 1; n;) {
        long length = frame_length(from, n, FRAME_MAX, NULL);
        must(length > 0 && message_decode(&m, from, (size_t)length, FROM_AGENT, NULL) == 0);
        must(!m.id || m.id >= sizeof ended || !ended[m.id]);
        if (m.id < sizeof ended)
            ended[m.id] = m.kind == MESSAGE_END;
        from += length;
        n -= (size_t)length;
    }
    munmap(at, (size_t)size);
}

void run_agent(const void *bytes, size_t n)
{
    char store[64];
    struct plugins plugins = {.libc = "2.36"};
    sigset_t before;
    int in = conversation(bytes, n), out = memfd_create("answers", MFD_CLOEXEC);
    snprintf(store, sizeof store, "%s/store", fuzz_place());
    sigprocmask(SIG_SETMASK, NULL, &before); /* the session keeps signals for itself */
    store_open(&plugins.store, store);
    must(out >= 0 && registry_open(&plugins.registry, NULL, NULL, NULL) == 0);
    session_serve(&plugins, in, out);
    plugins_close(&plugins);
    sigprocmask(SIG_SETMASK, &before, NULL);
    check_answers(out);
    close(in);
    close(out);
    if (access(store, F_OK) == 0)
        must(tree_remove(store) == 0);
}
