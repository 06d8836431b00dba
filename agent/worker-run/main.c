/* sshexec-worker-run: one call of one plugin in this very process, so that a debugger or valgrind sees all of it.
 * `sshexec test` starts it.
 *
 * Descriptor 3 is a listening socket, which a debugger hands to each new run of the program: each connects to it, takes
 * CALL and STATE frames from there, and gives back what a call's process gives to the agent. stdin, stdout and stderr
 * are the caller's. Arguments: plugin, profile, type, directory for temporary ones, "call" or "selftest". */
#include "worker-host/load.h"
#include "worker-host/sandbox.h"
#include "worker-host/work.h"

#include "base/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct run {
    struct call_context call;
    struct worker worker;
    char sandbox[128];
};

/* --- to the sender --- */

/* The listening socket's own address leads back to it; then the connection takes its number. */
static int connect_back(void)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || getsockname(HOST_SOCKET_FD, (struct sockaddr *)&address, &size) || connect(fd, (struct sockaddr *)&address, size) ||
        dup3(fd, HOST_SOCKET_FD, O_CLOEXEC) < 0)
        return -1;
    close(fd);
    return 0;
}

/* Leaves as a call's process does, without exit handlers. */
static _Noreturn void finish(struct run *r, struct buf *answer, struct message_end *end)
{
    fflush(NULL);
    end->sandbox = span_text(r->sandbox);
    message_encode(answer, &(struct message){.kind = MESSAGE_END, .id = r->call.id, .end = *end}, FROM_AGENT);
    _exit(answer->failed || fd_write_all(HOST_SOCKET_FD, buf_data(answer), buf_length(answer)));
}

/* --- the plugin --- */

static void load(struct run *r, const char *path)
{
    struct load_refusal why;
    struct buf answer = {0};
    if (worker_load(&r->worker, path, &why)) {
        struct message_end end = {.outcome = SSX_OUTCOME_REFUSED, .reason = span_text(why.reason), .message = span_text(why.text)};
        finish(r, &answer, &end);
    }
    r->call.item = r->worker.item;
}

static void make_temp(struct run *r, const char *parent)
{
    char path[sizeof r->call.temp];
    if (*parent && (size_t)snprintf(path, sizeof path, "%s/XXXXXX", parent) < sizeof path && mkdtemp(path)) {
        snprintf(r->call.temp, sizeof r->call.temp, "%s", path);
        setenv("TMPDIR", path, 1);
        snprintf(r->sandbox + strlen(r->sandbox), sizeof r->sandbox - strlen(r->sandbox), " tmpdir");
    }
}

static _Noreturn void selftest(struct run *r)
{
    const struct ssx_plugin *p = r->worker.plugin;
    struct buf answer = {0};
    struct message_end end = {.outcome = SSX_OUTCOME_OK, .reason = span_text(p->selftest ? "" : "none")};
    int code = p->selftest ? p->selftest(&r->call.call) : 0;
    if (code) {
        end.outcome = SSX_OUTCOME_FAILED;
        end.code = code < 0 ? 1 : (unsigned)code;
    }
    end.message = span_text(r->call.message);
    finish(r, &answer, &end);
}

static _Noreturn void work(struct run *r, const struct buf *state)
{
    struct buf answer = {0};
    struct message_end end = {0};
    call_work(&r->worker, &r->call, state, &answer, &end);
    finish(r, &answer, &end);
}

int main(int argc, char **argv)
{
    static struct run r; /* large */
    struct buf in = {0}, state = {0};
    if (argc != 6 || connect_back()) {
        fputs("sshexec-worker-run: only sshexec test can start this\n", stderr);
        return 125;
    }
    r.worker.type = argv[3];
    call_context_init(&r.call, "", NULL);
    order_read(&r.call, &in, &state);
    if (r.call.deadline_ms) /* the sender has a clock of its own, and says how long */
        r.call.deadline_ms += clock_ms();
    sandbox_apply(argv[2], r.sandbox, sizeof r.sandbox);
    setenv("SSHEXEC_TYPE", r.worker.type, 1);
    make_temp(&r, strcmp(argv[2], "none") ? argv[4] : "");
    load(&r, argv[1]);
    if (strcmp(argv[5], "selftest") == 0)
        selftest(&r);
    work(&r, &state);
}
