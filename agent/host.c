#include "host.h"

#include "passing.h"

#include "base/error.h"
#include "base/io.h"
#include "base/random.h"
#include "base/text.h"
#include "base/tree.h"
#include "worker/descriptor.h"
#include "worker/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNALLING_MAX 32 /* with the requests for its processes, what its socket holds: a full one would lose them */
#define FORGOTTEN_MS 500 /* for a process that has closed its pipes and said END to be gone */

extern char **environ;

/* embed.S: the program of agent/worker-host. */
extern const unsigned char worker_host_begin[], worker_host_end[];

/* What a host gets is put onto descriptors 3 to 5 in the child: nothing that is passed may stand there itself. Takes fd
 * over. */
static int lift(int fd)
{
    int lifted = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HOST_PROGRAM_FD + 1);
    fd_close(&fd);
    return lifted;
}

/* The worker host's program as a file in memory: written once, executed for each plugin. Returns a descriptor or -1. */
static int program(struct ssx_error *err)
{
    static int fd = -1;
    if (fd >= 0)
        return fd;
    size_t size = (size_t)(worker_host_end - worker_host_begin);
    fd = lift(memfd_create("sshexec-worker-host", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0 || fd_write_all(fd, worker_host_begin, size) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)) {
        error_system(err, "can't make the worker host");
        fd_close(&fd);
    }
    return fd;
}

/* The host makes the directory itself, once it has loaded its plugin: until then it may be killed with nobody left to
 * remove it. */
static void name_temp(struct host *h)
{
    unsigned char random[8];
    char hex[2 * sizeof random + 1];
    const char *base = getenv("TMPDIR");
    random_bytes(random, sizeof random);
    text_hex(hex, random, sizeof random);
    if ((size_t)snprintf(h->temp, sizeof h->temp, "%s/sshexec-%s", base && base[0] == '/' ? base : "/tmp", hex) >= sizeof h->temp)
        snprintf(h->temp, sizeof h->temp, "/tmp/sshexec-%s", hex);
}

/* Handlers end with exec; only what is ignored would be inherited. */
static bool signal_is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

/* The program names glibc's loader. Where there is none, musl's runs it as well (agent/worker-host/fortified.c); that
 * is given it as a descriptor, for it opens the file itself. argv has room for one word before it. */
static int spawn_program(pid_t *pid, int host_program, posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, char **argv)
{
    char path[32], loader[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", host_program);
    int rc = posix_spawn(pid, path, actions, attributes, argv, environ);
    if (rc != ENOENT)
        return rc;
    snprintf(path, sizeof path, "/proc/self/fd/%d", HOST_PROGRAM_FD);
    snprintf(loader, sizeof loader, "/lib/ld-musl-%s.so.1", elf_machine_name(elf_own_machine()));
    posix_spawn_file_actions_adddup2(actions, host_program, HOST_PROGRAM_FD);
    argv[0] = path;
    argv[-1] = loader;
    return posix_spawn(pid, loader, actions, attributes, argv - 1, environ);
}

/* stderr stays the agent's: what the loader or a constructor says there reaches the user, and is not part of the
 * protocol. */
static int spawn(struct host *h, int host_program, int socket, const char *profile, bool prove)
{
    char *argv[] = {NULL,
                    (char *)"sshexec-worker-host",
                    (char *)profile,
                    h->image->type,
                    h->temp,
                    (char *)(prove ? "selftest" : NULL),
                    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int s = 1; s < 32; s++)
        if (signal_is_ignored(s))
            sigaddset(&defaults, s);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, socket, HOST_SOCKET_FD);
    posix_spawn_file_actions_adddup2(&actions, h->image->fd, HOST_PLUGIN_FD);
    int rc = spawn_program(&h->pid, host_program, &actions, &attributes, argv + 1);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    errno = rc;
    return rc ? -1 : 0;
}

struct host *host_start(struct image *image, bool prove, struct ssx_error *err)
{
    int pair[2] = {-1, -1}, host_program = program(err);
    struct host *h = host_program < 0 ? NULL : calloc(1, sizeof *h);
    if (!h) {
        error_set(err, SSX_ERROR_SYSTEM, "can't start a worker host: out of memory");
        return NULL;
    }
    h->image = image_hold(image);
    if (!(image->traits & TRAIT_SANDBOX_NONE))
        name_temp(h);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0)
        pair[1] = lift(pair[1]);
    if (image->fd <= HOST_PROGRAM_FD)
        image->fd = lift(image->fd);
    if (pair[1] < 0 || image->fd < 0 || spawn(h, host_program, pair[1], image->traits & TRAIT_SANDBOX_NONE ? "none" : "default", prove)) {
        error_system(err, "can't start a worker host");
        fd_close(&pair[0]);
        image_release(image);
        free(h);
        h = NULL;
    } else {
        h->socket = pair[0];
        fd_set_nonblocking(h->socket, true);
    }
    fd_close(&pair[1]);
    return h;
}

int host_run(struct host *h, uint32_t *process, const int fds[HOST_FDS])
{
    struct host_request request = {.op = HOST_RUN, .process = h->processes + 1, .lane = fds[HOST_FD_PAGE] >= 0};
    if (passing_send(h->socket, &request, sizeof request, fds, request.lane ? HOST_FDS : HOST_FDS - 1))
        return -1;
    *process = ++h->processes;
    h->live++;
    return 0;
}

int host_run_call(struct host *h, uint32_t *process, struct channels *io, bool input)
{
    int others[HOST_FDS] = {-1, -1, -1, -1, -1};
    int rc = channels_open(io, others, input) || host_run(h, process, others) ? -1 : 0;
    for (int i = 0; i < HOST_FDS; i++)
        fd_close(&others[i]);
    return rc;
}

void host_forget(struct host *h, uint32_t process)
{
    if (h->forgotten_count < PROCESSES_MAX) {
        h->forgotten[h->forgotten_count].process = process;
        h->forgotten[h->forgotten_count++].until_ms = clock_ms() + FORGOTTEN_MS;
    } else {
        host_signal(h, process, SIGKILL);
    }
}

int64_t host_tick(struct host *h, int64_t now_ms)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < h->forgotten_count; i++) {
        if (now_ms >= h->forgotten[i].until_ms) {
            host_signal(h, h->forgotten[i].process, SIGKILL);
            h->forgotten[i].until_ms = now_ms + FORGOTTEN_MS;
        }
        next = h->forgotten[i].until_ms < next ? h->forgotten[i].until_ms : next;
    }
    return next;
}

static void note_end(struct host *h, uint32_t process)
{
    h->live -= h->live > 0;
    for (size_t i = 0; i < h->forgotten_count; i++)
        if (h->forgotten[i].process == process) {
            h->forgotten[i] = h->forgotten[--h->forgotten_count];
            break;
        }
    if (h->ready && h->ready == process) /* something killed it */
        host_drop_ready(h);
}

void host_drop_ready(struct host *h)
{
    channels_close(&h->ready_io);
    h->ready = 0;
}

void host_make_ready(struct host *h)
{
    if (h->ready)
        return;
    if (host_run_call(h, &h->ready, &h->ready_io, h->image->traits & TRAIT_TAKES_INPUT))
        host_drop_ready(h);
}

int host_take_ready(struct host *h, uint32_t *process, struct channels *io)
{
    struct pollfd peer = {.fd = h->ready_io.control};
    if (!h->ready)
        return -1;
    *process = h->ready;
    *io = h->ready_io;
    h->ready = 0;
    if (poll(&peer, 1, 0) == 0)
        return 0;
    channels_close(io); /* it was killed meanwhile */
    return -1;
}

static void send_signals(struct host *h)
{
    for (; buf_length(&h->signals) && h->signalling < SIGNALLING_MAX; h->signalling++) {
        passing_send(h->socket, buf_data(&h->signals), sizeof(struct host_request), NULL, 0);
        buf_consume(&h->signals, sizeof(struct host_request));
    }
}

/* Lets go of a waiting signal. Returns whether there was one. */
static bool take_back(struct host *h, uint32_t process, int signal_number)
{
    struct host_request *at = (void *)buf_data(&h->signals), *end = at + buf_length(&h->signals) / sizeof *at;
    while (at < end && !(at->process == process && at->signal == signal_number))
        at++;
    if (at == end)
        return false;
    memmove(at, at + 1, (size_t)(end - at - 1) * sizeof *at);
    h->signals.end -= sizeof *at;
    return true;
}

bool host_signal(struct host *h, uint32_t process, int signal_number)
{
    struct host_request request = {.op = HOST_SIGNAL, .process = process, .signal = signal_number};
    bool replaces = take_back(h, process, signal_number); /* it keeps its place behind what came before it: CONT behind TSTP */
    bool added = buf_add(&h->signals, &request, sizeof request) == 0;
    send_signals(h);
    return added && !replaces;
}

int host_report(struct host *h, struct host_report *out)
{
    ssize_t n;
    do
        n = recv(h->socket, out, sizeof *out, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n != sizeof *out)
        return -1;
    out->reason[sizeof out->reason - 1] = out->text[sizeof out->text - 1] = 0;
    if (out->op == HOST_ENDED)
        note_end(h, out->process);
    if (out->op == HOST_SIGNALLED && h->signalling) {
        h->signalling--;
        send_signals(h);
    }
    return 1;
}

void host_kill(struct host *h)
{
    if (h->dead)
        return;
    kill(h->pid, SIGKILL);
    while (waitpid(h->pid, &h->status, 0) < 0 && errno == EINTR)
        ;
    h->dead = true;
}

void host_end(struct host *h)
{
    host_kill(h);
    fd_close(&h->socket);
    if (h->ready)
        channels_close(&h->ready_io);
    buf_free(&h->signals);
    if (h->temp[0])
        tree_remove(h->temp);
    image_release(h->image);
    free(h);
}
