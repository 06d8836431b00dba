/* A program for the tests of bastions (test_bastion.py): connections through one, without SSH inside.
 *
 *     bastion_probe [-F file] jump port megabytes
 *
 * Four connections to an echo server at that port of the bastion's loopback. Into the first goes what it takes, and
 * nothing is read from it. Meanwhile each of the others sends so many megabytes, and must get the very same back; then
 * the first one must, too. Says what it saw; exits with 0 or 1. */
#include "base/error.h"
#include "transport/bastion.h"
#include "transport/tunnel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE (64u << 10)
#define SIBLINGS 3

/* One connection: what was sent, and what came back. The bytes follow from their place. */
struct line { struct passage *passage; int fd; uint64_t sent, back, all; bool wrong; };

static unsigned char byte_at(uint64_t place) { return (unsigned char)((place * 2654435761u) >> 13); }

static bool send_some(struct line *l)
{
    unsigned char bytes[PIECE];
    size_t n = l->all - l->sent < sizeof bytes ? (size_t)(l->all - l->sent) : sizeof bytes;
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(l->sent + i);
    ssize_t wrote = n ? send(l->fd, bytes, n, MSG_NOSIGNAL) : -1;
    l->sent += wrote > 0 ? (uint64_t)wrote : 0;
    return wrote > 0;
}

static bool take_some(struct line *l)
{
    unsigned char bytes[PIECE];
    ssize_t n = recv(l->fd, bytes, sizeof bytes, 0);
    for (ssize_t i = 0; i < n; i++)
        l->wrong |= bytes[i] != byte_at(l->back + (uint64_t)i);
    l->back += n > 0 ? (uint64_t)n : 0;
    l->wrong |= n == 0;
    return n > 0;
}

/* Returns when all has come back, or nothing has moved for 20 s. */
static bool echo(struct line *l)
{
    while (l->back < l->all && !l->wrong) {
        struct pollfd fd = {l->fd, (short)(POLLIN | (l->sent < l->all ? POLLOUT : 0)), 0};
        if (poll(&fd, 1, 20000) <= 0)
            return false;
        if (fd.revents & POLLOUT)
            send_some(l);
        if (fd.revents & (POLLIN | POLLHUP))
            take_some(l);
    }
    return !l->wrong;
}

/* Until it has taken nothing for a second. */
static void stuff(struct line *l)
{
    struct pollfd fd = {l->fd, POLLOUT, 0};
    l->all = UINT64_MAX;
    while (poll(&fd, 1, 1000) > 0)
        send_some(l);
    l->all = l->sent;
}

static void *run_echo(void *line) { return echo(line) ? line : NULL; }

static int check(struct line *lines, uint64_t bytes)
{
    pthread_t threads[SIBLINGS];
    bool same = true;
    stuff(&lines[0]);
    printf("stuffed %llu\n", (unsigned long long)lines[0].sent);
    for (int i = 0; i < SIBLINGS; i++) {
        lines[i + 1].all = bytes;
        pthread_create(&threads[i], NULL, run_echo, &lines[i + 1]);
    }
    for (int i = 0; i < SIBLINGS; i++) {
        void *line;
        pthread_join(threads[i], &line);
        same &= line != NULL;
    }
    printf("siblings %s\n", same ? "same" : "different");
    bool first = echo(&lines[0]);
    printf("stuffed one %s\n", first ? "same" : "different");
    return same && first ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct transport_target target = {0};
    struct ssx_error err = {0};
    struct bastion *b = NULL;
    struct line lines[1 + SIBLINGS] = {0};
    int opened = 0, rc = 1;
    for (int c; (c = getopt(argc, argv, "F:")) != -1;)
        target.config_file = optarg;
    if (argc - optind != 3)
        return 1;
    struct bastions *all = bastions_new();
    if (bastion_find(&b, all, &target, argv[optind], &err) == 0) {
        while (opened <= SIBLINGS &&
               (lines[opened].fd = bastion_connect(b, &lines[opened].passage, &target, "127.0.0.1",
                                                   atoi(argv[optind + 1]), 10000, &err)) >= 0)
            opened++;
        if (opened > SIBLINGS)
            rc = check(lines, strtoull(argv[optind + 2], NULL, 10) << 20);
        for (int i = 0; i < opened; i++) {
            close(lines[i].fd);
            passage_close(lines[i].passage);
        }
        bastion_release(b);
    }
    if (err.code)
        printf("%s\n", err.text);
    bastions_free(all);
    return rc;
}
