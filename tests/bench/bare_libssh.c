/* The limit to compare with: one process that does with libssh what `ssh HOST COMMAND` does, and nothing else.
 *     bare_libssh ADDRESS[,ADDRESS...] PORT USER KEYFILE KNOWN_HOSTS COMMAND
 * Several addresses: eight threads take one after the other. Exits with the command's status. Acknowledges at once (TCP_QUICKACK), without which sshd waits 40 ms after the login. */
#include <arpa/inet.h>
#include <libssh/libssh.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 8

static _Thread_local ssh_session session;
static _Thread_local ssh_channel channel;
static _Thread_local int fd;

static void must(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "bare_libssh: %s: %s\n", what, ssh_get_error(session));
    exit(255);
}
/* Every wait comes after this: the kernel forgets TCP_QUICKACK after some packets. */
static void wait_for_peer(void)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    if (ssh_get_poll_flags(session) & SSH_WRITE_PENDING)
        wanted.events |= POLLOUT;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
    poll(&wanted, 1, -1);
}

/* A step is a call that doesn't block. SSH_AGAIN: again once there is news. */
typedef int step(const void *with);

static int connect_step(const void *with) { (void)with; return ssh_connect(session); }
static int login_step(const void *key)
{
    int rc = ssh_userauth_publickey(session, NULL, (ssh_key)(uintptr_t)key);
    return rc == SSH_AUTH_AGAIN ? SSH_AGAIN : rc;
}
static int open_step(const void *with) { (void)with; return ssh_channel_open_session(channel); }
static int exec_step(const void *command) { return ssh_channel_request_exec(channel, command); }

static int until_done(step *next, const void *with)
{
    int rc;
    while ((rc = next(with)) == SSH_AGAIN)
        wait_for_peer();
    return rc;
}

static void dial(const char *address, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(inet_pton(AF_INET, address, &to.sin_addr) == 1, "address");
    must(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void log_in(const char *address, char **argv)
{
    int port = atoi(argv[2]);
    ssh_options_set(session, SSH_OPTIONS_FD, &fd);
    ssh_options_set(session, SSH_OPTIONS_HOST, address);
    ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    ssh_options_set(session, SSH_OPTIONS_USER, argv[3]);
    ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, argv[5]);
    ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &(bool){false});
    ssh_set_blocking(session, 0);
    must(until_done(connect_step, NULL) == SSH_OK, "connect");
    must(ssh_session_is_known_server(session) == SSH_KNOWN_HOSTS_OK, "host key");
    ssh_key key;
    must(ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) == SSH_OK, "key");
    must(until_done(login_step, key) == SSH_AUTH_SUCCESS, "login");
    ssh_key_free(key);
}

static int run(const char *command)
{
    char piece[4096];
    channel = ssh_channel_new(session);
    must(channel && until_done(open_step, NULL) == SSH_OK, "channel");
    must(until_done(exec_step, command) == SSH_OK, "exec");
    while (!ssh_channel_is_eof(channel)) {
        int n = ssh_channel_read_nonblocking(channel, piece, sizeof piece, 0);
        if (n > 0)
            must(write(STDOUT_FILENO, piece, (size_t)n) == n, "write");
        else if (!ssh_channel_is_eof(channel))
            wait_for_peer();
    }
    int status; /* comes after the end of output */
    while ((status = ssh_channel_get_exit_status(channel)) == -1 && !ssh_channel_is_closed(channel))
        wait_for_peer();
    ssh_channel_free(channel);
    return status;
}

static int visit(const char *address, char **argv)
{
    session = ssh_new();
    dial(address, argv[2]);
    log_in(address, argv);
    int status = run(argv[6]);
    ssh_disconnect(session);
    ssh_free(session);
    return status;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *left;    /* of the addresses */
static int worst;

static void *take(void *argv)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        char *address = strsep(&left, ",");
        pthread_mutex_unlock(&lock);
        if (!address)
            return NULL;
        int status = visit(address, argv);
        pthread_mutex_lock(&lock);
        worst = status > worst ? status : worst;
        pthread_mutex_unlock(&lock);
    }
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    if (argc != 7) {
        fprintf(stderr, "usage: bare_libssh ADDRESS PORT USER KEYFILE KNOWN_HOSTS COMMAND\n");
        return 125;
    }
    if (!strchr(argv[1], ','))
        return visit(argv[1], argv);
    left = argv[1];
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, take, argv) == 0, "thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return worst;
}
