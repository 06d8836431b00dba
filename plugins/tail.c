/* tail: the last lines of a file, and with `follow` what is added to it from then on, until the call is cancelled:
 * through rotation (another file has the name now) and truncation. */
#include <sshexec/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TAIL(F)                                                                    \
    F(str,  path,   required,       "the file")                                    \
    F(u32,  lines,  default(10),    "how many of its last lines to begin with")    \
    F(bool, follow, default(false), "go on with what is added, until cancelled")
SSX_STRUCT(tail, TAIL)

#define TAIL_RESULT(F)                                                             \
    F(u64, lines,     required, "lines that were sent")                            \
    F(u64, bytes,     required, "bytes that were sent")                            \
    F(u32, rotations, required, "how often another file had the name")             \
    F(u32, truncations, required, "how often the file had become shorter")
SSX_STRUCT(tail_result, TAIL_RESULT)

enum { PIECE = 64 << 10, LOOK_MS = 500 }; /* a network's file system tells no one of changes made elsewhere: look so often */

struct follower {
    struct ssx_call *call;
    const char *path;
    struct tail_result *out;
    int fd, events;              /* the file; inotify, or -1 */
    off_t at;                    /* what was sent ends here */
    char bytes[PIECE];
};

/* As system calls: glibc 2.33 gave fstat and stat new symbols, and this runs on older nodes. */
static int status_of(int fd, struct stat *out) { return (int)syscall(SYS_fstat, fd, out); }
static int status_at(const char *path, struct stat *out) { return (int)syscall(SYS_newfstatat, AT_FDCWD, path, out, 0); }

static int fail_errno(const struct follower *f, const char *what)
{
    return ssx_fail(f->call, 1, "can't %s %s: %s", what, f->path, strerror(errno));
}

static int open_file(struct follower *f)
{
    struct stat st;
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f->fd < 0 || status_of(f->fd, &st))
        return fail_errno(f, "read");
    if (!S_ISREG(st.st_mode))
        return ssx_fail(f->call, 1, "%s is not a plain file", f->path);
    f->at = st.st_size;
    return 0;
}

/* Where the last n lines begin: read backwards, so that the rest of a large file costs nothing. A last line without its
 * newline counts. */
static int find_lines(struct follower *f, uint32_t lines)
{
    off_t end = f->at;
    uint64_t newlines = 0;
    if (lines == 0)
        return 0;
    for (off_t from = end; from > 0;) {
        size_t n = from < PIECE ? (size_t)from : PIECE;
        from -= (off_t)n;
        if (pread(f->fd, f->bytes, n, from) != (ssize_t)n)
            return fail_errno(f, "read");
        for (size_t i = n; i-- > 0;) {
            bool last = from + (off_t)i + 1 == end;
            if (f->bytes[i] == '\n' && !last && ++newlines == lines) {
                f->at = from + (off_t)i + 1;
                return 0;
            }
        }
    }
    f->at = 0;
    return 0;
}

/* Returns 0, or -1 when nobody takes it. */
static int send_bytes(struct follower *f, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t wrote = write(STDOUT_FILENO, f->bytes + done, n - done);
        if (wrote < 0 && (errno != EINTR || ssx_cancelled(f->call)))
            return -1;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    for (const char *at = f->bytes; (at = memchr(at, '\n', (size_t)(f->bytes + n - at))); at++)
        f->out->lines++;
    f->out->bytes += n;
    f->at += (off_t)n;
    return 0;
}

/* All that is there now. Returns 0, or -1 when it should end. */
static int send_new(struct follower *f)
{
    ssize_t n;
    while (!ssx_cancelled(f->call) && (n = pread(f->fd, f->bytes, sizeof f->bytes, f->at)) != 0) {
        if (n < 0)
            return fail_errno(f, "read");
        if (send_bytes(f, (size_t)n))
            return -1;
    }
    return 0;
}

/* Whether the name has another file by now, or the file has become shorter: both are then begun anew. A name that is
 * gone may come back. */
static void look_again(struct follower *f)
{
    struct stat mine, named;
    if (status_of(f->fd, &mine))
        return;
    if (status_at(f->path, &named) == 0 && S_ISREG(named.st_mode) && (named.st_ino != mine.st_ino || named.st_dev != mine.st_dev)) {
        int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            return;
        send_new(f); /* what the old one got last */
        close(f->fd);
        f->fd = fd;
        f->at = 0;
        f->out->rotations++;
        ssx_log(f->call, SSX_LOG_INFO, "%s is another file now", f->path);
    } else if (mine.st_size < f->at) {
        f->at = 0;
        f->out->truncations++;
        ssx_log(f->call, SSX_LOG_INFO, "%s was cut to %lld bytes", f->path, (long long)mine.st_size);
    }
}

/* The file for what is added, its directory for a new file of the name. */
static void watch(struct follower *f)
{
    char *above = ssx_strdup(f->call, f->path), *slash = strrchr(above, '/');
    f->events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (slash)
        slash[slash == above] = '\0';
    if (f->events < 0)
        return;
    inotify_add_watch(f->events, slash ? above : ".", IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    inotify_add_watch(f->events, f->path, IN_MODIFY | IN_ATTRIB);
}

static void wait_for_news(struct follower *f)
{
    struct pollfd fd = {.fd = f->events, .events = POLLIN};
    char events[4096];
    if (poll(&fd, 1, LOOK_MS) > 0)
        while (read(f->events, events, sizeof events) > 0)
            ;
}

static int follow(struct follower *f)
{
    uint32_t rotations = 0;
    watch(f);
    while (send_new(f) == 0) {
        if (ssx_cancelled(f->call))
            return 0;
        wait_for_news(f);
        look_again(f);
        if (f->out->rotations != rotations && f->events >= 0) {
            inotify_add_watch(f->events, f->path, IN_MODIFY | IN_ATTRIB);
            rotations = f->out->rotations;
        }
    }
    return 1;
}

static int tail_run(struct ssx_call *call, const struct tail *in, struct tail_result *out)
{
    struct follower *f = ssx_alloc(call, sizeof *f);
    f->call = call;
    f->path = in->path;
    f->out = out;
    f->events = -1;
    ssx_cancelled(call); /* from here on a cancel is a flag, so that the result says how far it got */
    int rc = open_file(f);
    if (rc == 0)
        rc = find_lines(f, in->lines);
    if (rc == 0)
        rc = in->follow ? follow(f) : send_new(f) ? 1 : 0;
    return rc;
}
SSX_WORKER("tail", "1.0", "the last lines of a file, and what is added to it", tail, tail_result, SSX_IDEMPOTENT | SSX_SHOWS_OUTPUT,
           tail_run)
