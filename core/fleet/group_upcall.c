/* Groups from commands: ClusterShell's map, all and list "upcalls". */
#include "fleet/group_source.h"

#include "base/error.h"
#include "transport/patience.h"
#include "transport/spawn.h"
#include "transport/told.h"

#include <ctype.h>
#include <string.h>

#define UPCALL_TIMEOUT_MS 30000 /* a scheduler that is asked takes seconds at worst; one that hangs has to be given up */
#define UPCALL_COMPLAINT_MAX (64u << 10)

/* ClusterShell puts the name into the command's text, inside quotes of whatever kind, or a sed script: only what means
 * nothing anywhere may go there. */
static int check_group(const char *group, struct ssx_error *err)
{
    for (const char *at = group; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("_.=:+-", *at))
            return error_set(err, SSX_ERROR_USAGE,
                             "a group whose name holds \"%.1s\" can't be asked a command for (letters, digits and _.=:+- only)", at);
    return *group == '-' ? error_set(err, SSX_ERROR_USAGE, "a group's name can't begin with -") : 0;
}

struct call { struct transport *child; struct buf *out, complaint; bool ended, silent; };

static int await(struct call *c, const struct patience *patience, struct ssx_error *err)
{
    for (;;) {
        struct pollfd fds[TRANSPORT_FDS];
        if (transport_collect(c->child, TRANSPORT_STDOUT, c->out, GROUP_FILE_MAX, &c->ended, err) ||
            transport_collect(c->child, TRANSPORT_STDERR, &c->complaint, UPCALL_COMPLAINT_MAX, &c->silent, err))
            return -1;
        if (c->ended && transport_exit_status(c->child) >= 0)
            return 0;
        int ready = patience_poll(patience, fds, transport_poll(c->child, false, fds), err);
        if (ready < 0)
            return -1;
        if (!ready)
            return error_set(err, SSX_ERROR_USAGE, "no answer in %d s", UPCALL_TIMEOUT_MS / 1000);
    }
}

static int judge(const struct call *c, struct ssx_error *err)
{
    int status = transport_exit_status(c->child);
    size_t n = 0;
    if (status == 0)
        return memchr(buf_data(c->out), 0, buf_length(c->out)) ? error_set(err, SSX_ERROR_USAGE, "its output holds a NUL byte") : 0;
    const char *line = buf_length(&c->complaint) ? told_line((const char *)buf_data(&c->complaint), buf_length(&c->complaint), &n) : "";
    return error_set(err, SSX_ERROR_USAGE, "exit %d%s%.*s", status, n ? ": " : "", (int)n, line);
}

/* In the directory of its configuration, as ClusterShell does. */
static int run(const struct group_source *s, const char *command, struct buf *out, struct ssx_error *err)
{
    const char *argv[] = {"/bin/sh", "-c", "cd -- \"$1\" && exec /bin/sh -c \"$2\"", "sh", s->upcalls.dir, command, NULL};
    struct patience patience = patience_for(UPCALL_TIMEOUT_MS, s->options->watch ? s->options->watch() : -1);
    struct call c = {.out = out};
    int rc = spawn_open(&c.child, s->name, argv, err);
    if (rc == 0) {
        transport_close_write(c.child);
        rc = await(&c, &patience, err);
    }
    if (rc == 0)
        rc = judge(&c, err);
    transport_free(c.child);
    buf_free(&c.complaint);
    if (s->options->watch)
        s->options->unwatch();
    return rc;
}

int group_upcall(struct group_source *s, const char *command, const char *group, struct buf *out, struct ssx_error *err)
{
    static const char *const with_group[] = {"CFGDIR", "SOURCE", "GROUP", NULL}, *const without[] = {"CFGDIR", "SOURCE", NULL};
    const char *const values[] = {s->upcalls.dir, s->name, group};
    struct buf line = {0};
    if (group && check_group(group, err))
        return -1;
    group_dollars(&line, command, group ? with_group : without, values);
    int rc = buf_add(&line, "", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a command")
                                   : run(s, (const char *)buf_data(&line), out, err);
    if (rc)
        error_prefix(err, "source %s (%s)", s->name, s->origin);
    buf_free(&line);
    return rc;
}
