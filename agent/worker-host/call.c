/* The process of a call: descriptors and signals in their places, then the call's work, or a lane's. */
#include "orphans.h"
#include "passing.h"
#include "work.h"

#include "base/io.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Moves the call's descriptors to their places and closes all others. */
static void place_descriptors(const int *fds)
{
    int control = fcntl(fds[HOST_FD_CONTROL], F_DUPFD_CLOEXEC, 10); /* out of the way of what follows */
    for (int to = 0; to < 3; to++)
        dup2(fds[HOST_FD_STDIN + to], to);
    dup3(control, HOST_SOCKET_FD, O_CLOEXEC);
    if (syscall(SYS_close_range, HOST_SOCKET_FD + 1, ~0u, 0))
        for (int fd = HOST_SOCKET_FD + 1; fd < 1024; fd++) /* a kernel before 5.9 */
            close(fd);
}

static void default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < 32; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* RESULT and END go in one write. The pipes are closed right behind it: by the time the agent looks at them they are at
 * their end, and it has been woken once. */
static _Noreturn void run_once(const struct worker *worker, struct call_context *call)
{
    struct buf in = {0}, state = {0}, answer = {0};
    struct message_end end;
    order_read(call, &in, &state);
    prctl(PR_SET_NAME, "sshexec-call");
    call_work(worker, call, &state, &answer, &end);
    fflush(NULL);
    call_usage(&end, NULL);
    message_encode(&answer, &(struct message){.kind = MESSAGE_END, .id = call->id, .end = end}, FROM_AGENT);
    if (answer.failed || fd_write_all(HOST_SOCKET_FD, buf_data(&answer), buf_length(&answer)))
        _exit(1);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    _exit(0);
}

static struct lane_page *map_page(int fd)
{
    struct lane_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        _exit(1);
    return page;
}

_Noreturn void call_process(const struct worker *worker, int socket)
{
    static struct call_context call; /* large, and there is one a process */
    struct process_order order;
    int fds[HOST_FDS];
    setsid();
    orphans_adopt();
    default_signals();
    prctl(PR_SET_NAME, "sshexec-ready");
    if (passing_receive(socket, &order, sizeof order, fds, HOST_FDS) != sizeof order || fds[HOST_FD_STDERR] < 0)
        _exit(0);
    struct lane_page *page = order.lane ? map_page(fds[HOST_FD_PAGE]) : NULL;
    place_descriptors(fds);
    if (order.temp[0])
        setenv("TMPDIR", order.temp, 1);
    if (page) {
        prctl(PR_SET_NAME, "sshexec-lane");
        lane_process(worker, page, order.temp);
    }
    call_context_init(&call, order.temp, worker->item);
    run_once(worker, &call);
}
