/* The limit to compare with: one process that does with libssh what `ssh HOST COMMAND` does, and nothing else.
 *     bare_libssh ADDRESS[,ADDRESS...] PORT USER KEYFILE KNOWN_HOSTS COMMAND    exits with the command's status, the worst of several;
 *                                                                               then eight threads take one address after the other
 *     bare_libssh ADDRESS PORT USER KEYFILE KNOWN_HOSTS            does what a line on stdin says, and answers with one number:
 *         warm COUNT PAUSE          64 bytes to cat and back, with a pause (in microseconds) before each: the median, in microseconds
 *         up BYTES 0 · down BYTES 0 to cat > /dev/null, from head /dev/zero: megabytes a second
 * Acknowledges at once (TCP_QUICKACK), without which sshd waits 40 ms after the login. */
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
#include <time.h>
#include <unistd.h>

#define PIECE (64u << 10)
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

static void start(const char *command)
{
    channel = ssh_channel_new(session);
    must(channel && until_done(open_step, NULL) == SSH_OK, "channel");
    must(until_done(exec_step, command) == SSH_OK, "exec");
}

static int finish(void)
{
    int status; /* comes after the end of output */
    while ((status = ssh_channel_get_exit_status(channel)) == -1 && !ssh_channel_is_closed(channel))
        wait_for_peer();
    ssh_channel_free(channel);
    return status;
}

/* Reads what there is, or waits. Returns how much it was. */
static size_t read_some(void *at, size_t n)
{
    int got = ssh_channel_read_nonblocking(channel, at, (uint32_t)n, 0);
    if (got <= 0 && !ssh_channel_is_eof(channel))
        wait_for_peer();
    return got > 0 ? (size_t)got : 0;
}

static int run(const char *command)
{
    char piece[4096];
    start(command);
    while (!ssh_channel_is_eof(channel)) {
        size_t n = read_some(piece, sizeof piece);
        must(write(STDOUT_FILENO, piece, n) == (ssize_t)n, "write");
    }
    return finish();
}

/* --- one session, many measurements --- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* No more than 64 KiB at once, and only while none waits (FACTS of libssh: the rest would be buffered without
 * bound). */
static void write_all(const char *at, size_t n)
{
    while (n) {
        int wrote = ssh_get_poll_flags(session) & SSH_WRITE_PENDING ? 0 : ssh_channel_write(channel, at, (uint32_t)(n < PIECE ? n : PIECE));
        must(wrote >= 0 || wrote == SSH_AGAIN, "write");
        if (wrote <= 0) {
            wait_for_peer();
            ssh_channel_poll(channel, 0); /* lets libssh read and write */
            continue;
        }
        at += wrote;
        n -= (size_t)wrote;
    }
}

static double warm(size_t count, unsigned pause_us)
{
    char there[64], back[64];
    double *took = calloc(count, sizeof *took);
    memset(there, 'x', sizeof there);
    start("cat");
    for (size_t i = 0; i < count; i++) {
        if (pause_us)
            usleep(pause_us);
        double began = now_us();
        write_all(there, sizeof there);
        for (size_t got = 0; got < sizeof back;)
            got += read_some(back + got, sizeof back - got);
        took[i] = now_us() - began;
        must(memcmp(there, back, sizeof there) == 0, "echo");
    }
    ssh_channel_send_eof(channel);
    finish();
    qsort(took, count, sizeof *took, by_size);
    double median = took[count / 2];
    free(took);
    return median;
}

static double up(size_t size)
{
    static char piece[PIECE];
    double began = now_us();
    start("cat > /dev/null");
    for (size_t left = size, n; left; left -= n) {
        n = left < PIECE ? left : PIECE;
        write_all(piece, n);
    }
    ssh_channel_send_eof(channel);
    must(finish() == 0, "cat");
    return (double)size / (now_us() - began);
}

static double down(size_t size)
{
    static char piece[PIECE];
    char command[64];
    size_t got = 0;
    double began = now_us();
    snprintf(command, sizeof command, "head -c %zu /dev/zero", size);
    start(command);
    while (!ssh_channel_is_eof(channel))
        got += read_some(piece, sizeof piece);
    must(finish() == 0 && got == size, "head");
    return (double)size / (now_us() - began);
}

static void obey_lines(void)
{
    char word[16];
    size_t n;
    unsigned pause_us;
    puts("ready");
    fflush(stdout);
    while (scanf("%15s %zu %u", word, &n, &pause_us) == 3) {
        must(strcmp(word, "warm") == 0 || strcmp(word, "up") == 0 || strcmp(word, "down") == 0, word);
        printf("%.3f\n", word[0] == 'w' ? warm(n, pause_us) : word[0] == 'u' ? up(n) : down(n));
        fflush(stdout);
    }
}

/* --- one session each --- */

static int visit(const char *address, char **argv)
{
    int status = 0;
    session = ssh_new();
    dial(address, argv[2]);
    log_in(address, argv);
    if (argv[6])
        status = run(argv[6]);
    else
        obey_lines();
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
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: bare_libssh ADDRESS[,ADDRESS...] PORT USER KEYFILE KNOWN_HOSTS [COMMAND]\n");
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
