/* sshexec bundle sign: a signature over the manifest, made by ssh-keygen: it knows encrypted keys, ssh-agent, security
 * keys and who to ask for what they need. We check what it made. */
#include "bundle.h"

#include "interrupt.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/new_file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define TOLD_AGAIN_MS 50
/* What ssh-keygen says and then goes on working is for the user now ("Confirm user presence"); what it says last is why
 * it failed. */
#define LAST_WORDS_MS 100

extern char **environ;

/* Starts ssh-keygen with these as stdin, stdout and stderr; it asks its questions on the terminal. Signals are its own:
 * a Ctrl-C reaches both. */
static int start(pid_t *pid, const char *key, int in, int out, int said, struct ssx_error *err)
{
    const char *argv[] = {"ssh-keygen", "-q", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", key, NULL};
    const int from[] = {in, out, said};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = posix_spawn_file_actions_adddup2(&actions, from[i], i);
    if (rc == 0)
        rc = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)(const void *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    errno = rc;
    return rc ? error_system(err, "can't run ssh-keygen") : 0;
}

/* What ssh-keygen has as stderr: it asks for a security key to be touched only where that is a terminal, so it gets one
 * if we have one; not ours, for what it says last is said by us. said[0] is read from, said[1] is for it. Returns 0, or
 * -1 with errno. */
static int open_ears(int said[2])
{
    char name[64];
    struct termios raw;
    if (!isatty(STDERR_FILENO))
        return pipe2(said, O_CLOEXEC) || fd_set_nonblocking(said[0], true) ? -1 : 0;
    said[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (said[0] < 0 || grantpt(said[0]) || unlockpt(said[0]) || ptsname_r(said[0], name, sizeof name))
        return -1;
    said[1] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (said[1] < 0 || tcgetattr(said[1], &raw))
        return -1;
    cfmakeraw(&raw); /* its bytes as they are */
    return tcsetattr(said[1], TCSANOW, &raw);
}

/* Why it failed, in one line: its last words, without the question that it asks there where it has no terminal. */
static int failed(const char *key, const struct buf *said, struct ssx_error *err)
{
    static const char question[] = "Enter passphrase: ";
    char why[512];
    const char *at = (const char *)buf_data(said);
    size_t n = buf_length(said);
    while (n && (at[n - 1] == '\n' || at[n - 1] == '\r'))
        n--;
    if (n >= sizeof question - 1 && memcmp(at, question, sizeof question - 1) == 0) {
        at += sizeof question - 1;
        n -= sizeof question - 1;
    }
    text_escape(why, sizeof why, n ? at : "", n);
    return error_set(err, SSX_ERROR_USAGE, "can't sign with %s: %s (-k takes an ed25519 private key, or a public one whose private "
                     "half is in ssh-agent)", key, *why ? why : "ssh-keygen failed and does not say why");
}

static void show(struct buf *said)
{
    (void)!fd_write_all(STDERR_FILENO, buf_data(said), buf_length(said));
    buf_consume(said, buf_length(said));
}

/* A question ends no line; where there is no terminal it stands here, and nobody is going to answer it. */
static bool ends_line(const struct buf *said)
{
    return buf_length(said) && buf_data(said)[buf_length(said) - 1] == '\n';
}

/* Adds what there is to read now. */
static void take_words(struct buf *said, int fd)
{
    char bytes[512];
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
        buf_add(said, bytes, (size_t)n);
}

/* Until it has gone. What it says ends up in said, but for what the user was shown. A Ctrl-C that reaches ssh-keygen
 * just before it reads a passphrase gets lost there: so it is told until it has gone. It puts the terminal back as it
 * was. */
static void follow(struct buf *said, pid_t pid, int said_fd, int interrupt_fd)
{
    int child = pidfd_open(pid, 0);
    struct pollfd fds[] = {{child, POLLIN, 0}, {said_fd, POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    while (child >= 0 && !fds[0].revents) {
        int wait_ms = interrupt_signal() ? TOLD_AGAIN_MS : ends_line(said) ? LAST_WORDS_MS : -1;
        int events = poll(fds, interrupt_signal() ? 2 : 3, wait_ms);
        take_words(said, said_fd);
        if (fds[1].revents & POLLHUP)
            fds[1].fd = -1;
        if (interrupt_signal() && !fds[0].revents)
            kill(pid, SIGTERM);
        else if (events == 0 && ends_line(said))
            show(said);
    }
    fd_close(&child);
}

static int await(pid_t pid, const char *key, int said_fd, int interrupt_fd, struct ssx_error *err)
{
    int status = 0, rc = 0;
    struct buf said = {0};
    follow(&said, pid, said_fd, interrupt_fd);
    while (rc == 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            rc = error_system(err, "can't wait for ssh-keygen");
    take_words(&said, said_fd);
    if (rc == 0 && interrupt_signal())
        rc = error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
    else if (rc == 0 && status)
        rc = failed(key, &said, err);
    else
        show(&said);
    buf_free(&said);
    return rc;
}

/* Through files in memory, so that neither side waits for the other. */
static int make_signature(struct buf *out, const char *key, const struct buf *manifest, int interrupt_fd, struct ssx_error *err)
{
    pid_t pid;
    int in = memfd_create("manifest", MFD_CLOEXEC), made = memfd_create("signature", MFD_CLOEXEC);
    int said[2] = {-1, -1}, rc = -1;
    if (in < 0 || made < 0 || open_ears(said) || fd_write_all(in, buf_data(manifest), buf_length(manifest)) ||
        lseek(in, 0, SEEK_SET))
        error_system(err, "can't sign");
    else if (access(key, R_OK))
        error_set(err, SSX_ERROR_USAGE, "can't read the key %s: %s", key, strerror(errno));
    else if (start(&pid, key, in, made, said[1], err) == 0) {
        fd_close(&said[1]);
        rc = await(pid, key, said[0], interrupt_fd, err) ||
             (lseek(made, 0, SEEK_SET) && error_system(err, "can't sign")) ||
             fd_read_all(out, made, SIGNATURE_MAX, "the signature", err) ? -1 : 0;
    }
    fd_close(&in);
    fd_close(&made);
    fd_close(&said[0]);
    fd_close(&said[1]);
    return rc;
}

/* What goes into the bundle was judged as its readers will. Says by which key it is. */
static int check(char key[SIGNATURE_KEY_NAME], const char **kind, const struct buf *text, const struct buf *manifest, struct ssx_error *err)
{
    struct signature s;
    if (signature_read(&s, buf_data(text), buf_length(text), err))
        return -1;
    int rc = signature_verify(&s, buf_data(manifest), buf_length(manifest), err);
    signature_key_name(&s, key);
    *kind = signature_key_kind(&s);
    signature_dispose(&s);
    return rc;
}

static int copy_object(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err)
{
    (void)m;
    (void)v;
    return bundle_writer_add(user, image, n, err);
}

/* The same bundle with this signature. */
static int rewrite(struct bundle *b, const struct bundle_words *w, const char *to, const struct buf *signature,
                   struct ssx_error *err)
{
    struct new_file file;
    struct bundle_writer *writer;
    if (new_file_open(&file, to, err))
        return -1;
    int rc = bundle_writer_open(&writer, file.fd, bundle_manifest(b), bundle_manifest_text(b), signature, err);
    if (rc == 0) {
        rc = bundle_each(b, w->files[0], w->interrupt_fd, copy_object, writer, err) || bundle_writer_end(writer, err)
             ? -1 : 0;
        bundle_writer_close(writer);
    }
    if (rc == 0)
        return new_file_keep(&file, 0644, err);
    new_file_drop(&file);
    return -1;
}

int bundle_sign(const struct bundle_words *w, struct ssx_error *err)
{
    struct bundle *b;
    struct buf signature = {0};
    char key[SIGNATURE_KEY_NAME];
    const char *kind, *from = w->files[0], *to = w->output ? w->output : from;
    if (!w->key == !w->signature)
        return error_set(err, SSX_ERROR_USAGE, "bundle sign needs a key (-k KEYFILE), or a signature (--signature FILE)");
    if (bundle_open(&b, from, err))
        return -1;
    int rc = (w->key ? make_signature(&signature, w->key, bundle_manifest_text(b), w->interrupt_fd, err)
              : bundle_read_file(&signature, w->signature, SIGNATURE_MAX, err)) ||
             check(key, &kind, &signature, bundle_manifest_text(b), err) || rewrite(b, w, to, &signature, err) ? -1 : 0;
    if (rc == 0)
        printf("%s: signed with %s %s\n", to, kind, key);
    buf_free(&signature);
    bundle_close(b);
    return rc;
}
