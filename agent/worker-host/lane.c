/* A lane: a process that serves one call of a reusable type after the other. Nothing here costs a call of its own a
 * wait: orders are read many at a time, the agent and the lane know each other's state by the page that they share, and
 * an answer goes out in one write. */
#include "orphans.h"
#include "work.h"

#include "base/io.h"
#include "base/tree.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_FD 4             /* of descriptors 1 and 2 as they were: a worker may have closed or replaced those */
#define USAGE_EVERY_US 1000     /* reading it takes as long as a small call does */
#define CHILDREN_GONE_TRIES 500 /* of a millisecond, for children that were killed to be gone */
#define COUNT_TRIES 100000      /* the agent reads a piece in much less than a time slice */
#define UNHELD_BYTES DATA_MAX   /* what every window has room for */

struct lane {
    const struct worker *worker;
    struct lane_page *page;
    const char *temp;
    uint32_t order;                    /* the number of the last one taken */
    uint64_t written[2];               /* to stdout and stderr, in all calls so far */
    struct usage usage;
    int64_t usage_us;                  /* when that was read */
    unsigned char seal[LANE_SEAL];
    struct buf in, state, answer;
    struct call_context call;
};

/* --- before a call --- */

static void wait_while_held(struct lane *l)
{
    for (uint32_t hold; (hold = atomic_load(&l->page->hold));)
        syscall(SYS_futex, &l->page->hold, FUTEX_WAIT, hold, NULL, NULL, 0);
    getppid(); /* a signal that was sent meanwhile is taken before the next call begins: any system call will do */
}

static bool is_revoked(const struct lane *l)
{
    uint32_t n = atomic_load(&l->page->revoked_count);
    for (uint32_t i = 0; i < n && i < LANE_DEPTH; i++)
        if (atomic_load(&l->page->revoked[i]) == l->order)
            return true;
    return false;
}

/* Says that the order runs, unless the agent has said before that it must not, or not yet: whoever comes second of the
 * two sees what the other wrote. */
static bool begin(struct lane *l)
{
    for (;;) {
        atomic_store(&l->page->running, 2 * l->order + 1);
        bool held = atomic_load(&l->page->hold), revoked = is_revoked(l);
        if (!held && !revoked)
            return true;
        atomic_store(&l->page->running, 2 * l->order - (held && !revoked ? 2 : 0));
        if (revoked)
            return false;
        wait_while_held(l);
    }
}

/* --- after a call --- */

/* As the worker host does for a call that has a process of its own: what it left running is killed. */
static void kill_children(void)
{
    siginfo_t child;
    for (int tries = 0; waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0; tries++) {
        if (tries == CHILDREN_GONE_TRIES)
            _exit(1);
        orphans_kill(NULL, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (tries)
            poll(NULL, 0, 1);
    }
}

/* What was written to a pipe so far: what the agent has read, and what is still in it. */
static uint64_t count_written(const struct lane *l, int stream)
{
    for (int tries = 0; tries < COUNT_TRIES; tries++) {
        int unread;
        uint32_t turn = atomic_load(&l->page->read[stream].turn);
        uint64_t count = atomic_load(&l->page->read[stream].count);
        if (ioctl(OUTPUT_FD + stream, FIONREAD, &unread))
            _exit(1);
        if (turn % 2 == 0 && turn == atomic_load(&l->page->read[stream].turn))
            return count + (uint64_t)unread;
        sched_yield();
    }
    _exit(1); /* the page is not what the agent made of it */
}

/* Returns how many bytes the call has written. */
static uint64_t take_output(struct lane *l, struct message_end *end)
{
    uint64_t before = l->written[0] + l->written[1];
    for (int stream = 0; stream < 2; stream++)
        l->written[stream] = count_written(l, stream);
    end->out = l->written[0];
    end->err = l->written[1];
    return end->out + end->err - before;
}

/* Read at most once a millisecond: a call that ends sooner after the last reading carries none, and the one that does
 * may carry as much too much. */
static void take_times(struct lane *l, struct message_end *end, int64_t began_us)
{
    int64_t now = clock_us();
    end->wall_us = (uint64_t)(now - began_us);
    if (now - l->usage_us < USAGE_EVERY_US)
        return;
    l->usage_us = now;
    call_usage(end, &l->usage);
}

static void clear_temp(struct lane *l)
{
    if (!l->call.temp_asked)
        return;
    tree_remove(l->temp);
    mkdir(l->temp, 0700);
}

/* A call that said more than a window may hold its lane's next one up for as long as its consumer likes: that one
 * doesn't begin before the agent has passed on all. */
static void send_answer(struct lane *l, struct message_end *end, uint64_t said)
{
    said += buf_length(&l->answer) + l->call.sent;
    message_encode(&l->answer, &(struct message){.kind = MESSAGE_END, .id = l->call.id, .end = *end}, FROM_AGENT);
    if (said > UNHELD_BYTES)
        atomic_store(&l->page->hold, 1);
    if (l->answer.failed || fd_write_all(HOST_SOCKET_FD, buf_data(&l->answer), buf_length(&l->answer)))
        _exit(1);
    buf_consume(&l->answer, buf_length(&l->answer));
}

static void serve(struct lane *l)
{
    struct message_end end;
    int64_t began_us = clock_us();
    buf_add(&l->answer, l->seal, LANE_SEAL);
    call_work(l->worker, &l->call, &l->state, &l->answer, &end);
    fflush(NULL);
    kill_children();
    uint64_t said = take_output(l, &end);
    take_times(l, &end, began_us);
    send_answer(l, &end, said);
    atomic_store(&l->page->running, 2 * l->order);
    clear_temp(l);
}

_Noreturn void lane_process(const struct worker *worker, struct lane_page *page, const char *temp)
{
    static struct lane l; /* large, and there is one a process */
    l = (struct lane){.worker = worker, .page = page, .temp = temp};
    for (int stream = 0; stream < 2; stream++)
        dup3(1 + stream, OUTPUT_FD + stream, O_CLOEXEC);
    call_context_init(&l.call, temp, worker->item);
    if (recv(HOST_SOCKET_FD, l.seal, LANE_SEAL, MSG_WAITALL) != LANE_SEAL)
        _exit(0);
    l.call.seal = l.seal;
    for (;;) {
        order_read(&l.call, &l.in, &l.state);
        l.order++;
        if (begin(&l))
            serve(&l);
        buf_consume(&l.state, buf_length(&l.state));
        call_context_reset(&l.call);
    }
}
