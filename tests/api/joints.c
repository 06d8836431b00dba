/* Hosts of a fleet whose workers converse by descriptors of their own. */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sshexec/fleet.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOSTS = 2 };
struct talk {
    struct ssx_fleet *fleet;
    int to[HOSTS], from[HOSTS];           /* our ends; -1: closed */
    int outcome[HOSTS], begun[HOSTS]; /* outcome -1: it has not ended */
    bool late;                            /* join nothing when a host begins */
};

static void join(struct talk *t, size_t host)
{
    struct ssx_error err = {0};
    int in[2], out[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) == 0);
    MUST(ssx_fleet_join(t->fleet, host, in[0], out[0], &err));
    t->to[host] = in[1];
    t->from[host] = out[1];
    fcntl(t->to[host], F_SETFL, O_NONBLOCK);
    fcntl(t->from[host], F_SETFL, O_NONBLOCK);
}

static void tell(void *context, const struct ssx_fleet_event *e)
{
    struct talk *t = context;
    CHECK(e->host < HOSTS && t->outcome[e->host] == -1);
    CHECK(e->kind != SSX_FLEET_OUTPUT || e->stream == SSX_STDERR);
    if (e->kind == SSX_FLEET_BEGUN) {
        CHECK(t->begun[e->host]++ == 0);
        if (!t->late)
            join(t, e->host);
    }
    if (e->kind == SSX_FLEET_END)
        t->outcome[e->host] = (int)e->ending->outcome;
}

static void open_talk(struct talk *t, struct ssx_session_options *session, const char *const commands[HOSTS])
{
    static const char *const far[] = {"node1", "node2"}, *const near[] = {"one", "two"};
    struct ssx_error err = {0};
    struct ssx_fleet_options o = ssx_fleet_defaults();
    *session = place.options;
    if (!place.host)
        session->transport_command = "env H=%h %c";
    o.session = session;
    o.context = t;
    o.on_event = tell;
    o.joined = SSX_FLEET_JOIN_INPUT | SSX_FLEET_JOIN_OUTPUT;
    MUST(ssx_fleet_open(&t->fleet, "exec", NULL, 0, &o, &err));
    for (int i = 0; i < HOSTS; i++) {
        char json[256];
        void *state;
        size_t n;
        snprintf(json, sizeof json, "{\"cmd\":\"%s\"}", commands[i]);
        MUST(ssx_value_from_json(&state, &n, json, strlen(json), &err));
        MUST(ssx_fleet_add(t->fleet, place.host ? far[i] : near[i], state, n, NULL, &err));
        ssx_value_free(state);
        t->to[i] = t->from[i] = t->outcome[i] = -1;
    }
    CHECK(ssx_fleet_join(t->fleet, 0, -1, -1, &err) == -1 && err.code == SSX_ERROR_USAGE);
    err = (struct ssx_error){0};
    MUST(ssx_fleet_start(t->fleet, &err));
}

/* Moves the fleet until something can be done with the descriptor, or the host has ended (fd -1: only that). */
static void await_host(struct talk *t, int host, int fd, short events)
{
    short came = 0;
    while (!came && t->outcome[host] == -1) {
        struct pollfd fds[] = {{ssx_fleet_fd(t->fleet), POLLIN, 0}, {fd, events, 0}};
        CHECK(poll(fds, 2, 60000) > 0);
        ssx_fleet_step(t->fleet, 0);
        came = fds[1].revents;
    }
}

static void await_begun(struct talk *t)
{
    while (!t->begun[0] || !t->begun[1])
        CHECK(ssx_fleet_step(t->fleet, 60000) == 1);
}

static void say(struct talk *t, int host, const char *line)
{
    CHECK(write(t->to[host], line, strlen(line)) == (ssize_t)strlen(line));
}

static void expect(struct talk *t, int host, const char *line)
{
    char text[64];
    size_t n = 0;
    while (n < strlen(line)) {
        ssize_t got = read(t->from[host], text + n, strlen(line) - n);
        CHECK(got > 0 || (got < 0 && errno == EAGAIN && t->outcome[host] == -1));
        n += got > 0 ? (size_t)got : 0;
        if (got < 0)
            await_host(t, host, t->from[host], POLLIN);
    }
    CHECK(memcmp(text, line, n) == 0);
}

/* To its end. Returns how many bytes there were. */
static size_t read_all(struct talk *t, int host)
{
    static char piece[65536];
    size_t n = 0;
    for (ssize_t got; (got = read(t->from[host], piece, sizeof piece)) != 0;) {
        CHECK(got > 0 || errno == EAGAIN);
        n += got > 0 ? (size_t)got : 0;
        if (got < 0)
            await_host(t, host, t->from[host], POLLIN);
    }
    return n;
}

static void hang_up(struct talk *t, int host)
{
    close(t->to[host]);
    t->to[host] = -1;
}

static void end(struct talk *t)
{
    while (ssx_fleet_step(t->fleet, -1))
        ;
    ssx_fleet_close(t->fleet);
    for (int i = 0; i < HOSTS; i++) {
        CHECK(t->begun[i] == 1);
        if (t->to[i] >= 0)
            close(t->to[i]);
        if (t->from[i] >= 0)
            close(t->from[i]);
    }
}

static void each_converses(void)
{
    struct talk t = {0};
    struct ssx_session_options session;
    uint64_t in, out;
    open_talk(&t, &session, (const char *const[]){"cat", "cat"});
    await_begun(&t);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < HOSTS; i++) {
            say(&t, i, i ? "the second\n" : "the first\n");
            expect(&t, i, i ? "the second\n" : "the first\n");
        }
    hang_up(&t, 0);
    CHECK(read_all(&t, 0) == 0);
    await_host(&t, 0, -1, 0);
    CHECK(t.outcome[0] == SSX_OUTCOME_OK && t.outcome[1] == -1);
    say(&t, 1, "still here");
    expect(&t, 1, "still here");
    hang_up(&t, 1);
    await_host(&t, 1, -1, 0);
    CHECK(t.outcome[1] == SSX_OUTCOME_OK);
    ssx_fleet_moved(t.fleet, &in, &out);
    CHECK(in == out && in > 60);
    end(&t);
}

/* What waits, and where: in pipes and windows, and nowhere else. */
static void who_waits_delays_nobody(void)
{
    enum { MANY = 60000000, WINDOWS = 8 << 20 };
    static char zeros[65536];
    struct talk t = {0};
    struct ssx_session_options session;
    size_t given = 0;
    open_talk(&t, &session, (const char *const[]){"sleep 1; head -c 60000000 /dev/zero; cat >/dev/null", "cat"});
    await_begun(&t);
    long before = rss_kib();
    for (int quiet = 0; quiet < 10;) { /* a worker that reads nothing yet, whose writer is made to wait */
        struct pollfd fd = {t.to[0], POLLOUT, 0};
        ssize_t n = poll(&fd, 1, 20) == 1 ? write(t.to[0], zeros, sizeof zeros) : 0;
        ssx_fleet_step(t.fleet, 0);
        given += n > 0 ? (size_t)n : 0;
        quiet = n > 0 ? 0 : quiet + 1;
        CHECK(given < WINDOWS);
    }
    for (int round = 0; round < 50; round++) { /* nobody reads what the first says, either */
        say(&t, 1, "quick");
        expect(&t, 1, "quick");
    }
    hang_up(&t, 1);
    await_host(&t, 1, -1, 0);
    CHECK(t.outcome[1] == SSX_OUTCOME_OK && t.outcome[0] == -1 && rss_kib() - before < 8 * 1024);
    hang_up(&t, 0);
    CHECK(read_all(&t, 0) == MANY);
    await_host(&t, 0, -1, 0);
    CHECK(t.outcome[0] == SSX_OUTCOME_OK);
    end(&t);
}

static void who_has_gone_hinders_nobody(void)
{
    struct talk t = {0};
    struct ssx_session_options session;
    open_talk(&t, &session, (const char *const[]){"head -c 9000000 /dev/zero", "sleep 1000"});
    await_begun(&t);
    close(t.from[0]);
    t.from[0] = -1;
    await_host(&t, 0, -1, 0);
    CHECK(t.outcome[0] == SSX_OUTCOME_OK);
    ssx_fleet_cancel(t.fleet);
    await_host(&t, 1, -1, 0);
    CHECK(t.outcome[1] == SSX_OUTCOME_CANCELLED);
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(t.to[1], "x", 1) == -1 && errno == EPIPE &&
          read_all(&t, 1) == 0); /* both were closed before the end was told */
    end(&t);
}

static void a_cancel_does_not_wait_for_a_reader(void)
{
    struct talk t = {0};
    struct ssx_session_options session;
    open_talk(&t, &session, (const char *const[]){"cat /dev/zero", "cat"});
    await_begun(&t);
    await_host(&t, 0, t.from[0], POLLIN);
    hang_up(&t, 1);
    await_host(&t, 1, -1, 0);
    ssx_fleet_cancel(t.fleet);
    await_host(&t, 0, -1, 0);
    CHECK(t.outcome[0] == SSX_OUTCOME_CANCELLED);
    CHECK(t.outcome[1] == SSX_OUTCOME_OK);
    end(&t);
}

static void refuses(struct talk *t, size_t host, int in, int out)
{
    struct ssx_error err = {0};
    CHECK(ssx_fleet_join(t->fleet, host, in, out, &err) == -1 && err.code == SSX_ERROR_USAGE && err.text[0]);
}

static void what_can_be_no_joint_says_so(void)
{
    struct ssx_error err = {0};
    struct talk t = {.late = true};
    struct ssx_session_options session;
    int pipes[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(pipe2(pipes, O_CLOEXEC) == 0 && file >= 0);
    open_talk(&t, &session, (const char *const[]){"echo unread; cat", "cat"});
    await_begun(&t);
    refuses(&t, 0, file, -1);
    refuses(&t, 0, -1, file);
    refuses(&t, 0, pipes[0], pipes[0]);
    refuses(&t, HOSTS, -1, -1);
    MUST(ssx_fleet_join(t.fleet, 0, -1, -1, &err)); /* no input, and nobody who takes what it says */
    refuses(&t, 0, -1, -1);
    await_host(&t, 0, -1, 0);
    CHECK(t.outcome[0] == SSX_OUTCOME_OK);
    refuses(&t, 0, -1, -1);
    close(pipes[1]);
    MUST(ssx_fleet_join(t.fleet, 1, pipes[0], -1, &err));
    await_host(&t, 1, -1, 0);
    CHECK(t.outcome[1] == SSX_OUTCOME_OK);
    CHECK(ssx_fleet_deal(t.fleet, "\x80", 1, &err) == -1 && err.code == SSX_ERROR_USAGE);
    close(file);
    end(&t);
}

const struct api_case joint_cases[] = {
    {"each_host_converses_by_its_own_descriptors", each_converses},
    {"who_waits_at_a_joint_delays_nobody", who_waits_delays_nobody},
    {"who_has_gone_from_a_joint_hinders_nobody", who_has_gone_hinders_nobody},
    {"a_cancel_does_not_wait_for_a_reader", a_cancel_does_not_wait_for_a_reader},
    {"what_can_be_no_joint_says_so", what_can_be_no_joint_says_so},
    {NULL, NULL},
};
