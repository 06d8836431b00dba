#include "transport/fifo.h"

#include "base/io.h"
#include "base/random.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The reader first: a writer finds one then, and a reader that doesn't block needs no writer. Returns 0, or -1 with
 * errno. */
static int open_ends(const char *path, int *reader, int *writer)
{
    *reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    *writer = -1;
    if (*reader >= 0)
        *writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return *writer < 0 || fd_set_nonblocking(*reader, false) ? -1 : 0;
}

struct place { char dir[PATH_MAX], path[PATH_MAX]; };
enum { PLACES = 3 };

/* Where it could be, best first; those that can't be used are "". */
static void find_places(struct place *out)
{
    const char *const parents[PLACES] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    unsigned char random[8];
    char name[2 * sizeof random + 1];
    random_bytes(random, sizeof random);
    text_hex(name, random, sizeof random);
    for (int i = 0; i < PLACES; i++) {
        bool usable = parents[i] && parents[i][0] == '/' && strlen(parents[i]) < PATH_MAX - 64;
        out[i].dir[0] = 0;
        if (!usable)
            continue;
        snprintf(out[i].dir, sizeof out[i].dir, "%s/sshexec-fifo-%s", parents[i], name);
        snprintf(out[i].path, sizeof out[i].path, "%s/sshexec-fifo-%s/in", parents[i], name);
    }
}

static int open_in(const struct place *place, int *reader, int *writer)
{
    if (mkdir(place->dir, 0700))
        return -1;
    int rc = mkfifo(place->path, 0600) ? -1 : open_ends(place->path, reader, writer);
    int saved = errno;
    unlink(place->path);
    rmdir(place->dir);
    errno = saved;
    return rc;
}

/* What passes from the maker: the two ends beside an error number, which is 0. */
union ends { struct cmsghdr header; char space[CMSG_SPACE(2 * sizeof(int))]; };

/* In the maker, a child of a process that may have threads: system calls only. It leaves the process group, and holds
 * back all signals, as its parent does. */
static void make(const struct place *places, int channel)
{
    union ends ends = {.header = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    int problem, fds[2] = {-1, -1}, rc = -1;
    struct iovec bytes = {&problem, sizeof problem};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    setsid();
    for (int i = 0; rc && i < PLACES; i++)
        if (places[i].dir[0])
            rc = open_in(&places[i], &fds[0], &fds[1]);
    problem = rc ? errno : 0;
    if (!rc) {
        memcpy(CMSG_DATA(&ends.header), fds, sizeof fds);
        message.msg_control = ends.space;
        message.msg_controllen = sizeof ends.space;
    }
    sendmsg(channel, &message, MSG_NOSIGNAL);
    _exit(0);
}

static int take_ends(int channel, int *reader, int *writer)
{
    union ends ends = {0};
    int problem = EPIPE, fds[2];
    struct iovec bytes = {&problem, sizeof problem};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = ends.space, .msg_controllen = sizeof ends.space};
    ssize_t n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    if (n == (ssize_t)sizeof problem && problem == 0 && message.msg_controllen == CMSG_SPACE(sizeof fds)) {
        memcpy(fds, CMSG_DATA(&ends.header), sizeof fds);
        *reader = fds[0];
        *writer = fds[1];
        return 0;
    }
    errno = problem ? problem : EMFILE;
    return -1;
}

int fifo_open(int *reader, int *writer)
{
    struct place places[PLACES];
    int channel[2], rc = -1;
    sigset_t all, before;
    *reader = *writer = -1;
    find_places(places);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel))
        return -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t maker = fork();
    if (maker == 0)
        make(places, channel[1]);
    fd_close(&channel[1]);
    if (maker > 0) {
        rc = take_ends(channel[0], reader, writer);
        int saved = errno;
        waitpid(maker, NULL, 0);
        errno = saved;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    fd_close(&channel[0]);
    return rc;
}

ssize_t fifo_write(int fd, const void *bytes, size_t n)
{
    static const struct timespec now = {0, 0};
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    ssize_t wrote = write(fd, bytes, n);
    int saved = errno;
    if (wrote < 0 && saved == EPIPE && !was_pending) /* the signal of this very write, which is this thread's */
        while (sigtimedwait(&pipe_only, NULL, &now) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return wrote;
}
