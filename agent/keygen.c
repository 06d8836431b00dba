#include "keygen.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
#include "bundle/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000
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

/* Reads what it says until it ends. Returns whether it does: not if it says too much, or takes too long. */
static bool listen_to(struct buf *said, int fd)
{
    int64_t until_ms = clock_ms() + PATIENCE_MS;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (buf_length(said) < SAID_MAX && clock_ms() < until_ms) {
        unsigned char *at = poll(&p, 1, (int)(until_ms - clock_ms())) > 0 ? buf_reserve(said, 1024) : NULL;
        ssize_t n = at ? read(fd, at, 1024) : -1;
        if (n == 0 || (n < 0 && at && errno != EINTR))
            return n == 0;
        said->end += n > 0 ? (size_t)n : 0;
    }
    return false;
}

/* Returns its exit code, or -1 with err. */
static int run(struct buf *said, const char *const *words, struct span manifest, struct span signature, struct ssx_error *err)
{
    int pair[2] = {-1, -1}, status = -1, text = in_memory(manifest), armour = in_memory(signature), out = -1;
    pid_t pid = -1;
    if (text >= 0 && armour >= 0 && pipe2(pair, O_CLOEXEC) == 0 && (out = fcntl(pair[1], F_DUPFD_CLOEXEC, SIGNATURE_FD + 1)) >= 0)
        pid = start((char *const *)words, text, armour, out);
    if (pid < 0)
        error_system(err, "can't run %s", words[0]);
    fd_close(&out);
    fd_close(&pair[1]);
    if (pid > 0) {
        if (!listen_to(said, pair[0]))
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    fd_close(&pair[0]);
    fd_close(&text);
    fd_close(&armour);
    return pid < 0 ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* The first line of what it said. */
static void first_line(char *out, size_t size, const struct buf *said)
{
    const char *at = (const char *)buf_data(said);
    const char *end = buf_length(said) ? memchr(at, '\n', buf_length(said)) : NULL;
    text_escape(out, size, buf_length(said) ? at : "", end ? (size_t)(end - at) : buf_length(said));
}

static int refuse(const char *signers, const char *why, struct ssx_error *err)
{
    return error_set(err, SSX_ERROR_REFUSED, "the bundle's signature does not hold by %s%s%s", signers, *why ? ": " : "", why);
}

int keygen_verify(char *signer, size_t size, const char *signers, struct span manifest, struct span signature, struct ssx_error *err)
{
    const char *keygen = program();
    char line[512];
    struct signature s;
    struct buf said = {0};
    if (!keygen)
        return error_set(err, SSX_ERROR_REFUSED, "this node can't check signatures: it has no ssh-keygen (of OpenSSH 8.2 or later)");
    if (path_is_trusted(signers, err) || signature_read(&s, signature.at, signature.n, err))
        return -1;
    signature_dispose(&s);
    const char *find[] = {keygen, "-Y", "find-principals", "-s", SIGNATURE_FILE, "-f", signers, NULL};
    int code = run(&said, find, manifest, signature, err);
    first_line(signer, size, &said);
    buf_free(&said);
    if (code)
        return code < 0 ? -1 : refuse(signers, *signer ? signer : "it has no line with that key", err);
    const char *verify[] = {keygen, "-Y", "verify", "-n", SIGNATURE_NAMESPACE, "-s", SIGNATURE_FILE, "-f", signers, "-I", signer, NULL};
    code = run(&said, verify, manifest, signature, err);
    first_line(line, sizeof line, &said);
    buf_free(&said);
    return code < 0 ? -1 : code ? refuse(signers, line, err) : 0;
}
