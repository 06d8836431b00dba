/* A program for the tests of core/transport: relays stdin and stdout to a command on a host, through transport_open.
 *
 *     transport_probe [-F file] [-p port] [-l user] [-i key]... [-o option]... [-t auto|libssh|ssh] [-c connect_ms]
 *                     [-a answers] [-v] [-T] [-e] host command
 *     transport_probe -L program argument...          a local child instead
 *
 * -e only says which transport would be taken, and why. -a gives the answers to questions, one a line. -T prints microseconds on
 * stderr. It exits with the command's status, or 255. */
#include "base/error.h"
#include "base/io.h"
#include "transport/ask.h"
#include "transport/route.h"
#include "transport/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256u << 10)

static int interrupt_pipe[2];
static const char *answers;
static bool timing;
static int64_t started;

static void on_interrupt(int number)
{
    (void)number;
    if (write(interrupt_pipe[1], "x", 1) < 0)
        return;
}


static int answer(void *ctx, const char *prompt, bool echo, char *out, size_t size)
{
    (void)ctx;
    fprintf(stderr, "asked(%s): %s\n", echo ? "echo" : "hidden", prompt);
    size_t n = strcspn(answers, "\n");
    if (!*answers || n >= size)
        return -1;
    memcpy(out, answers, n);
    out[n] = 0;
    answers += n + (answers[n] == '\n');
    return 0;
}

static void lap(const char *what)
{
    if (timing)
        fprintf(stderr, "time: %s %lld us\n", what, (long long)(clock_us() - started));
}

static void show(void *ctx, int level, const char *text)
{
    (void)ctx;
    fprintf(stderr, "v%d: %s\n", level, text);
    lap("so far");
}

/* One direction of stdin: a buffer that is filled from fd 0 and emptied into the transport. */
struct input { char bytes[CHUNK]; size_t start, end; bool ended, closed; };

static int feed(struct transport *t, struct input *in, struct ssx_error *err)
{
    while (in->start < in->end) {
        int64_t before = clock_us();
        ssize_t n = transport_write(t, in->bytes + in->start, in->end - in->start, err);
        int64_t took = clock_us() - before;
        if (took > 200000)
            fprintf(stderr, "froze: transport_write took %lld us\n", (long long)took);
        if (n == TRANSPORT_AGAIN)
            return 0;
        if (n < 0)
            return -1;
        in->start += (size_t)n;
    }
    if (in->ended && !in->closed) {
        transport_close_write(t);
        in->closed = true;
    }
    return 0;
}

static void refill(struct input *in)
{
    ssize_t n = read(0, in->bytes, sizeof in->bytes);
    in->start = 0;
    in->end = n > 0 ? (size_t)n : 0;
    in->ended = n <= 0;
}

/* Returns 1 at the end of the stream, 0 when there is no more now, -1. */
static int drain(struct transport *t, enum transport_stream stream, struct ssx_error *err)
{
    static char bytes[CHUNK];
    for (;;) {
        ssize_t n = transport_read(t, stream, bytes, sizeof bytes, err);
        if (n == TRANSPORT_AGAIN)
            return 0;
        if (n <= 0)
            return n < 0 ? -1 : 1;
        static bool first = true;
        if (first)
            lap("first byte");
        first = false;
        if (fd_write_all(stream == TRANSPORT_STDOUT ? 1 : 2, bytes, (size_t)n))
            return -1;
    }
}

/* Each socket of a transport must be non-blocking, whatever its library did to it: a send would freeze on a full
 * one. */
static void check_nonblocking(const struct pollfd *fds, size_t n)
{
    struct stat st;
    for (size_t i = 0; i < n; i++)
        if (!fstat(fds[i].fd, &st) && S_ISSOCK(st.st_mode) && !(fcntl(fds[i].fd, F_GETFL) & O_NONBLOCK))
            fprintf(stderr, "froze: socket %d blocks\n", fds[i].fd);
}

static int relay(struct transport *t, struct ssx_error *err)
{
    static struct input in;
    bool out_ended = false, err_ended = false;
    for (;;) {
        if (feed(t, &in, err))
            return -1;
        if (!out_ended) {
            int rc = drain(t, TRANSPORT_STDOUT, err);
            if (rc < 0)
                return -1;
            out_ended = rc;
        }
        if (!err_ended) {
            int rc = drain(t, TRANSPORT_STDERR, err);
            if (rc < 0)
                return -1;
            err_ended = rc;
        }
        if (out_ended && err_ended && transport_exit_status(t) >= 0)
            return 0;
        struct pollfd fds[TRANSPORT_FDS + 2];
        size_t n = transport_poll(t, in.start < in.end, fds);
        check_nonblocking(fds, n);
        fds[n] = (struct pollfd){interrupt_pipe[0], POLLIN, 0};
        fds[n + 1] = (struct pollfd){in.start == in.end && !in.ended ? 0 : -1, POLLIN, 0};
        int ready = poll(fds, (nfds_t)n + 2, 5000);
        if (ready < 0 && errno != EINTR)
            return error_system(err, "poll");
        if (!ready)
            fprintf(stderr, "slept: nothing to do for 5 s\n");
        if (fds[n].revents)
            return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
        if (fds[n + 1].revents)
            refill(&in);
    }
}

static int explain(const struct transport_target *target)
{
    struct ssx_error err = {0};
    struct route route;
    if (route_find(&route, target, &err)) {
        fprintf(stderr, "error %d: %s\n", (int)err.code, err.text);
        return 255;
    }
    printf("%s: %s\n", route.libssh ? "libssh" : "ssh", route.why);
    return 0;
}

static int finish(struct transport *t, int rc, const struct ssx_error *err)
{
    int status = rc ? 255 : transport_exit_status(t);
    if (rc)
        fprintf(stderr, "error %d: %s\n", (int)err->code, err->text);
    lap("end");
    transport_free(t);
    lap("freed");
    return status;
}

int main(int argc, char **argv)
{
    const char *identities[16] = {0}, *options[64] = {0};
    struct transport_target target = {.identities = identities, .options = options};
    struct ssx_error err = {0};
    struct transport *t = NULL;
    size_t identity_count = 0, option_count = 0;
    bool only_explain = false, local = false;
    started = clock_us();
    if (pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK))
        return 255;
    signal(SIGINT, on_interrupt);
    target.interrupt_fd = interrupt_pipe[0];
    for (int c; (c = getopt(argc, argv, "+F:p:l:i:o:t:c:a:vVeLT")) != -1;) {
        switch (c) {
        case 'F': target.config_file = optarg; break;
        case 'p': target.port = optarg; break;
        case 'l': target.login = optarg; break;
        case 'i': identities[identity_count++ % 15] = optarg; break;
        case 'o': options[option_count++ % 63] = optarg; break;
        case 't':
            target.mode = !strcmp(optarg, "ssh") ? TRANSPORT_SSH : !strcmp(optarg, "libssh") ? TRANSPORT_LIBSSH : TRANSPORT_AUTO;
            break;
        case 'c': target.connect_timeout_ms = atoi(optarg); break;
        case 'a': answers = optarg; target.ask = answer; break;
        case 'v': target.log = show; break;
        case 'e': only_explain = true; break;
        case 'L': local = true; break;
        case 'T': timing = true; break;
        default: return 255;
        }
    }
    if (argc - optind < (local || only_explain ? 1 : 2))
        return 255;
    target.host = argv[optind];
    if (only_explain)
        return explain(&target);
    int rc = local ? spawn_open(&t, "local", (const char *const *)(const void *)&argv[optind], &err)
                   : transport_open(&t, &target, argv[optind + 1], &err);
    lap("open");
    if (rc) {
        fprintf(stderr, "error %d: %s\n", (int)err.code, err.text);
        return 255;
    }
    return finish(t, relay(t, &err), &err);
}
