/* sshexec-worker-run: one call of one plugin in this very process, so that a debugger or valgrind sees all of it. `sshexec test` starts it.
 *
 * Descriptor 3 is a listening socket, which a debugger hands to each new run of the program: each connects to it, takes CALL and STATE
 * frames from there, and gives back what a call's process gives to the agent. stdin, stdout and stderr are the caller's. Arguments:
 * plugin, profile, type, directory for temporary ones, "call" or "selftest". */
#include "host_protocol.h"
#include "worker-host/sandbox.h"
#include "worker-host/services.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "wire/message.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef int worker_fn(struct ssx_call *, const void *state, void *result);

struct run {
    struct call_context call;
    const struct ssx_plugin *plugin;
    worker_fn *work;
    struct buf state;
    bool returns_state;
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

static void put_value(struct run *r, struct buf *out, enum message_kind kind, const struct buf *value)
{
    const unsigned char *at = buf_data(value);
    for (size_t left = buf_length(value), n; left; left -= n, at += n) {
        n = left < DATA_MAX ? left : DATA_MAX;
        message_encode(out, &(struct message){.kind = kind, .id = r->call.id, .data = {.bytes = {at, n}, .more = n < left}}, FROM_AGENT);
    }
}

/* Leaves as a call's process does, without exit handlers. Empty values are not sent. */
static _Noreturn void finish(struct run *r, struct message_end end, const struct buf *state, const struct buf *result)
{
    struct buf out = {0};
    fflush(NULL);
    put_value(r, &out, MESSAGE_STATE, state);
    put_value(r, &out, MESSAGE_RESULT, result);
    end.sandbox = span_text(r->sandbox);
    message_encode(&out, &(struct message){.kind = MESSAGE_END, .id = r->call.id, .end = end}, FROM_AGENT);
    _exit(out.failed || fd_write_all(HOST_SOCKET_FD, buf_data(&out), buf_length(&out)));
}

static const struct buf none;

static _Noreturn void refuse(struct run *r, const char *reason, const char *text)
{
    finish(r, (struct message_end){.outcome = SSX_OUTCOME_REFUSED, .reason = span_text(reason), .message = span_text(text)}, &none, &none);
}

static void take_frame(struct run *r, const struct message *m, size_t *whole)
{
    if (m->kind == MESSAGE_CALL) {
        r->call.id = m->id;
        r->call.deadline_ms = m->call.timeout_ms ? clock_ms() + (int64_t)m->call.timeout_ms : 0;
        *whole = (size_t)m->call.state_size;
        buf_add(&r->state, m->call.state.at, m->call.state.n);
    } else if (m->kind == MESSAGE_STATE) {
        buf_add(&r->state, m->data.bytes.at, m->data.bytes.n);
    }
}

/* Returns 0, or -1 when the sender has gone. */
static int read_order(struct run *r)
{
    struct buf in = {0};
    struct message m;
    size_t whole = 1; /* a state has a byte at least */
    while (buf_length(&r->state) < whole && !r->state.failed) {
        long length = frame_length(buf_data(&in), buf_length(&in), FRAME_MAX, NULL);
        if (length == 0) {
            unsigned char *at = buf_reserve(&in, DATA_MAX);
            ssize_t n = at ? read(HOST_SOCKET_FD, at, DATA_MAX) : 0;
            if (n <= 0 && !(n < 0 && errno == EINTR))
                return -1;
            in.end += n > 0 ? (size_t)n : 0;
            continue;
        }
        if (length < 0 || message_decode(&m, buf_data(&in), (size_t)length, FROM_SENDER, NULL))
            return -1;
        take_frame(r, &m, &whole);
        buf_consume(&in, (size_t)length);
    }
    buf_free(&in);
    return r->state.failed ? -1 : 0;
}

/* --- the plugin --- */

static void load(struct run *r, const char *path, const char *type)
{
    char text[256];
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        refuse(r, "load", dlerror());
    r->plugin = dlsym(library, "ssx_plugin");
    void *work = dlsym(library, "run");
    if (!r->plugin || !work)
        refuse(r, "abi", "the plugin exports no run and ssx_plugin");
    memcpy(&r->work, &work, sizeof work);
    if (r->plugin->abi_major != SSX_ABI_MAJOR || r->plugin->abi_minor > SSX_ABI_MINOR) {
        snprintf(text, sizeof text, "the plugin is built for ABI %d.%d, this host speaks %d.%d", r->plugin->abi_major, r->plugin->abi_minor, SSX_ABI_MAJOR, SSX_ABI_MINOR);
        refuse(r, "abi", text);
    }
    if (r->plugin->size < (r->plugin->abi_minor ? sizeof *r->plugin : offsetof(struct ssx_plugin, item))) /* 1.0 ends where 1.1 goes on */
        refuse(r, "abi", "the plugin's ssx_plugin is smaller than its ABI version says");
    if (!r->plugin->name || strcmp(r->plugin->name, type))
        refuse(r, "abi", "the plugin's note and its ssx_plugin name different types");
    if (r->plugin->abi_minor) {
        r->call.item = r->plugin->item ? r->plugin->item() : NULL;
        r->returns_state = r->plugin->traits & SSX_RETURNS_STATE;
    }
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
    struct message_end end = {.outcome = SSX_OUTCOME_OK, .reason = span_text(r->plugin->selftest ? "" : "none")};
    int code = r->plugin->selftest ? r->plugin->selftest(&r->call.call) : 0;
    if (code) {
        end.outcome = SSX_OUTCOME_FAILED;
        end.code = code < 0 ? 1 : (unsigned)code;
    }
    end.message = span_text(r->call.message);
    finish(r, end, &none, &none);
}

static void *codec_memory(void *user, size_t n) { return arena_alloc(user, n); }

/* What the worker made, for the wire; what can't travel ends the call as failed. */
static void encode_value(struct run *r, const struct ssx_schema *schema, const char *what, const void *from, bool omit_defaults, struct buf *out)
{
    struct ssx_error err = {0};
    if (codec_encode(schema, from, out, omit_defaults, &err) == 0 && buf_length(out) <= VALUE_SIZE_MAX)
        return;
    error_set(&err, SSX_ERROR_REFUSED, "it takes %zu bytes, the limit is %u", buf_length(out), VALUE_SIZE_MAX);
    error_prefix(&err, "the worker's %s", what);
    finish(r, (struct message_end){.outcome = SSX_OUTCOME_FAILED, .code = 1, .message = span_text(err.text)}, &none, &none);
}

static _Noreturn void work(struct run *r)
{
    const struct ssx_schema *in = r->plugin->state(), *out = r->plugin->result();
    struct ssx_error err = {0};
    struct buf given_back = {0}, result = {0};
    void *state = arena_alloc(&r->call.arena, in->size), *filled = arena_alloc(&r->call.arena, out->size);
    if (!state || !filled)
        refuse(r, "state", "out of memory for the state");
    if (codec_decode(in, state, buf_data(&r->state), buf_length(&r->state), codec_memory, &r->call.arena, &err))
        refuse(r, "state", err.text);
    out->defaults(filled);
    int code = r->work(&r->call.call, state, filled);
    struct message_end end = {.outcome = code ? SSX_OUTCOME_FAILED : SSX_OUTCOME_OK, .code = code < 0 ? 1 : (unsigned)code, .message = span_text(r->call.message)};
    if (r->returns_state && !code)
        encode_value(r, in, "state", state, true, &given_back);
    encode_value(r, out, "result", filled, false, &result);
    finish(r, end, &given_back, &result);
}

int main(int argc, char **argv)
{
    static struct run r; /* large */
    if (argc != 6 || connect_back()) {
        fputs("sshexec-worker-run: only sshexec test can start this\n", stderr);
        return 125;
    }
    call_context_init(&r.call, "", NULL);
    if (read_order(&r))
        return 1;
    sandbox_apply(argv[2], r.sandbox, sizeof r.sandbox);
    setenv("SSHEXEC_TYPE", argv[3], 1);
    make_temp(&r, strcmp(argv[2], "none") ? argv[4] : "");
    load(&r, argv[1], argv[3]);
    if (strcmp(argv[5], "selftest") == 0)
        selftest(&r);
    work(&r);
}
