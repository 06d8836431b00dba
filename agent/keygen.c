#include "keygen.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
#include "bundle/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000 /* of each of the two steps */
#define SAID_MAX 4096
#define SIGNATURE_FD 3
#define SIGNATURE_FILE "/dev/fd/3"

/* Fixed places: who sends must have no say in which program this is. */
static const char *program(void)
{
    static const char *const places[] = {"/usr/bin/ssh-keygen", "/usr/local/bin/ssh-keygen", "/bin/ssh-keygen"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

/* Bytes as a file to be read from its start. Above the numbers that a child gets them under. */
static int in_memory(struct span bytes)
{
    int fd = memfd_create("ssh-keygen", MFD_CLOEXEC), high = -1;
    if (fd >= 0 && fd_write_all(fd, bytes.at, bytes.n) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        high = fcntl(fd, F_DUPFD_CLOEXEC, SIGNATURE_FD + 1);
    fd_close(&fd);
    return high;
}

static pid_t start(char *const *argv, int manifest, int signature, int said)
{
    char *environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid = -1;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&actions, manifest, 0);
    posix_spawn_file_actions_adddup2(&actions, said, 1);
    posix_spawn_file_actions_adddup2(&actions, said, 2);
    posix_spawn_file_actions_adddup2(&actions, signature, SIGNATURE_FD);
    errno = posix_spawn(&pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return errno ? -1 : pid;
}

/* Runs one of its commands. */
static int run(struct keygen *k, struct child **children, const char *const *words, struct ssx_error *err)
{
    int pair[2] = {-1, -1}, out = -1;
    pid_t pid = -1;
    if (lseek(k->text, 0, SEEK_SET) == 0 && pipe2(pair, O_CLOEXEC) == 0 && (out = fcntl(pair[1], F_DUPFD_CLOEXEC, SIGNATURE_FD + 1)) >= 0)
        pid = start((char *const *)words, k->text, k->armour, out);
    if (pid < 0)
        error_system(err, "can't run %s", words[0]);
    fd_close(&out);
    fd_close(&pair[1]);
    if (pid < 0) {
        fd_close(&pair[0]);
        return -1;
    }
    child_watch(children, &k->child, pid);
    k->said_fd = pair[0];
    k->until_ms = clock_ms() + PATIENCE_MS;
    fd_set_nonblocking(k->said_fd, true);
    return 0;
}

/* Reads what it says. Returns 0 for more to come, 1 once it has ended, -1 where it says too much or takes too long. */
static int listen_to(struct keygen *k)
{
    for (;;) {
        unsigned char *at = buf_reserve(&k->said, 1024);
        ssize_t n = at ? read(k->said_fd, at, 1024) : -1;
        if (n == 0)
            return 1;
        if (n < 0 && at && errno == EAGAIN)
            return clock_ms() < k->until_ms ? 0 : -1;
        if (n < 0 && (!at || errno != EINTR))
            return -1;
        k->said.end += n > 0 ? (size_t)n : 0;
        if (buf_length(&k->said) > SAID_MAX)
            return -1;
    }
}

/* The first line of what it said. */
static void first_line(char *out, size_t size, const struct buf *said)
{
    const char *at = (const char *)buf_data(said);
    const char *end = buf_length(said) ? memchr(at, '\n', buf_length(said)) : NULL;
    text_escape(out, size, buf_length(said) ? at : "", end ? (size_t)(end - at) : buf_length(said));
}

static int refuse(const struct keygen *k, const char *why, struct ssx_error *err)
{
    return error_set(err, SSX_ERROR_REFUSED, "the bundle's signature does not hold by %s%s%s", k->signers, *why ? ": " : "", why);
}

int keygen_open(struct keygen *k, struct span manifest, struct span signature, struct ssx_error *err)
{
    struct signature s;
    *k = (struct keygen){.text = -1, .armour = -1, .said_fd = -1};
    if (!program())
        return error_set(err, SSX_ERROR_REFUSED, "this node can't check signatures: it has no ssh-keygen (of OpenSSH 8.2 or later)");
    if (signature_read(&s, signature.at, signature.n, err))
        return -1;
    signature_dispose(&s);
    k->text = in_memory(manifest);
    k->armour = in_memory(signature);
    return k->text < 0 || k->armour < 0 ? error_system(err, "can't keep a signature in memory") : 0;
}

int keygen_begin(struct keygen *k, struct child **children, const char *signers, struct ssx_error *err)
{
    const char *find[] = {program(), "-Y", "find-principals", "-s", SIGNATURE_FILE, "-f", k->signers, NULL};
    k->named = false;
    if ((size_t)snprintf(k->signers, sizeof k->signers, "%s", signers) >= sizeof k->signers || !find[0])
        return error_set(err, SSX_ERROR_REFUSED,
                         "can't check a signature by %.64s...: the path is too long, or ssh-keygen has gone", signers);
    return path_is_trusted(signers, err) ? -1 : run(k, children, find, err);
}

static int next_step(struct keygen *k, struct child **children, int code, struct ssx_error *err)
{
    char line[512];
    first_line(line, sizeof line, &k->said);
    buf_free(&k->said);
    if (code || k->named)
        return code ? refuse(k, *line || k->named ? line : "it has no line with that key", err) : 1;
    const char *verify[] = {program(),      "-Y", "verify",   "-n", SIGNATURE_NAMESPACE, "-s",
                            SIGNATURE_FILE, "-f", k->signers, "-I", k->signer,           NULL};
    snprintf(k->signer, sizeof k->signer, "%.*s", (int)sizeof k->signer - 1, line);
    k->named = true;
    return verify[0] ? run(k, children, verify, err) : refuse(k, "ssh-keygen has gone", err);
}

int keygen_look(struct keygen *k, struct child **children, struct ssx_error *err)
{
    int rc = listen_to(k);
    if (rc == 0)
        return 0;
    int status = child_end(&k->child, rc < 0 ? SIGKILL : 0);
    fd_close(&k->said_fd);
    return next_step(k, children, WIFEXITED(status) ? WEXITSTATUS(status) : 255, err);
}

void keygen_close(struct keygen *k)
{
    child_end(&k->child, SIGKILL);
    int *const fds[] = {&k->text, &k->armour, &k->said_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (*fds[i] > 0)
            fd_close(fds[i]);
    buf_free(&k->said);
    *k = (struct keygen){.text = -1, .armour = -1, .said_fd = -1};
}
