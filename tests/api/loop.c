/* A session in somebody else's event loop: nothing but its descriptor says when to step. */
#include "api.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static size_t ended, received;
static void count_end(void *context, struct ssx_run *run)
{
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ended++;
    (void)context;
}

static void count_output(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    (void)context, (void)run, (void)stream, (void)bytes;
    received += n;
}

/* One turn of the loop. The descriptor tells in time, or the case has failed: a step that was never called for would
 * hang a program. */
static void turn(int fd, struct ssx_session *s)
{
    struct ssx_error err = {0};
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 30000) == 1);
    int rc = ssx_session_step(s, 0, &err);
    CHECK(rc == 0 || rc == SSX_AGAIN);
}

static void runs_in_a_foreign_loop(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    static struct ssx_run *runs[60];
    int fd = ssx_session_fd(s);
    CHECK(fd >= 0 && fd == ssx_session_fd(s));
    o.on_end = count_end;
    o.on_output = count_output;
    for (int i = 0; i < 60; i++)
        runs[i] = i % 20 ? run_json(s, "echo", "{\"value\":1}", &o) : run_json(s, "flood", "{\"bytes\":7000000}", &o);
    while (ended < 60)
        turn(fd, s);
    CHECK(received == 21000000);
    for (int i = 0; i < 60; i++)
        ssx_run_free(runs[i]);
    ssx_session_close(s);
}

/* What is queued between steps makes the descriptor readable; an idle session leaves it quiet. */
static void the_descriptor_sleeps_and_wakes(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    struct pollfd p = {ssx_session_fd(s), POLLIN, 0};
    o.on_end = count_end;
    while (ssx_session_step(s, 100, &err) == 0)
        ;
    CHECK(poll(&p, 1, 0) == 0);
    for (int i = 1; i <= 3; i++) {
        struct ssx_run *run = run_json(s, "hello", NULL, &o);
        while (ended < (size_t)i)
            turn(p.fd, s);
        ssx_run_free(run);
    }
    while (ssx_session_step(s, 100, &err) == 0)
        ;
    CHECK(poll(&p, 1, 0) == 0);
    ssx_session_close(s);
}

/* Pulled and written, both only by looking, after each step. */
static void pulling_and_writing_in_a_foreign_loop(void)
{
    enum { SIZE = 4000000 };
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    static char block[50000], piece[50000];
    size_t given = 0, got = 0;
    o.input = true;
    o.pull = SSX_PULL_STDOUT;
    struct ssx_run *run = run_shell(s, "cat", &o);
    int fd = ssx_session_fd(s), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0); /* a loop of epoll takes it as one of poll does */
    while (got < SIZE) {
        ssize_t n, wrote = SSX_AGAIN;
        if (given < SIZE && (wrote = ssx_run_write(run, block, SIZE - given < sizeof block ? SIZE - given : sizeof block, 0, &err)) > 0)
            given += (size_t)wrote;
        if (given == SIZE)
            ssx_run_write_end(run);
        for (; (n = ssx_run_read(run, SSX_STDOUT, piece, sizeof piece, 0, &err)) > 0; got += (size_t)n)
            ;
        CHECK(n == SSX_AGAIN || (n == 0 && got == SIZE));
        if (wrote <= 0 && got < SIZE) {
            CHECK(epoll_wait(epoll, &event, 1, 30000) == 1);
            CHECK(ssx_session_step(s, 0, &err) != -1);
        }
    }
    close(epoll);
    ssx_run_free(run);
    ssx_session_close(s);
}

const struct api_case loop_cases[] = {
    {"runs_in_a_foreign_loop", runs_in_a_foreign_loop}, {"the_descriptor_sleeps_and_wakes", the_descriptor_sleeps_and_wakes},
    {"pulling_and_writing_in_a_foreign_loop", pulling_and_writing_in_a_foreign_loop}, {NULL, NULL},
};
