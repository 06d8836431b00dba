#include "transfers.h"

#include "fan_run.h"
#include "interrupt.h"
#include "near_halves.h"
#include "outdir.h"
#include "tool.h"

#include "base/error.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What near halves know: as it was when they began. */
struct transfers {
    const struct transfer *transfer;
    struct fan_hosts hosts;
};

/* --- in a near half --- */

/* A directory that nothing came into goes again. */
static bool run_in_own_directory(const struct transfer *t, const char *host, int in, int out)
{
    char path[PATH_MAX], name[NAME_MAX + 1];
    const char *near = path;
    outdir_name(name, host);
    if (snprintf(path, sizeof path, "%s/%s/", t->near[0], name) >= (int)sizeof path)
        return false; /* not where all of them were looked at before */
    bool made = mkdir(path, 0777) == 0;
    struct transfer own = *t;
    own.near = &near;
    bool complete = transfer_near(&own, host, in, out);
    if (made && !complete)
        rmdir(path);
    return complete;
}

static bool be_near_half(void *user, size_t host, int in, int out)
{
    const struct transfers *all = user;
    const char *name = all->hosts.names[host];
    return all->transfer->by_host ? run_in_own_directory(all->transfer, name, in, out)
                                  : transfer_near(all->transfer, name, in, out);
}

/* --- here --- */

/* The directory that has one for each host. */
static int make_directory(const struct transfers *all, struct ssx_error *err)
{
    char name[NAME_MAX + 1];
    for (size_t i = 0; i < all->hosts.count; i++) {
        outdir_name(name, all->hosts.names[i]);
        if (strlen(name) + OUTDIR_NAME_CUT >= NAME_MAX || strlen(all->transfer->near[0]) + strlen(name) + 2 >= PATH_MAX)
            return error_set(err, SSX_ERROR_USAGE, "%s: too long a name for a directory in %s", all->hosts.names[i],
                             all->transfer->near[0]);
    }
    return dir_make(all->transfer->near[0], err);
}

static int run(struct transfers *all, const struct settings *s, const struct type *type, int interrupt_fd)
{
    struct ssx_error err = {0};
    struct scatter nothing = {0};
    struct fan_call call = {.type = type, .name = all->transfer->type, .input_fd = -1, .scatter = &nothing};
    int code = 0;
    if (transfer_state(&call.state, &type->plugin.descriptor, all->transfer, &err) ||
        (all->transfer->by_host && make_directory(all, &err)) ||
        near_halves_open(&call.near, be_near_half, all, all->hosts.count,
                         s->fanout ? (size_t)s->fanout : SSX_FLEET_FANOUT, &err))
        code = tool_complain(&err);
    else
        code = fan_run(s, &all->hosts, &call, interrupt_fd);
    near_halves_close(call.near);
    buf_free(&call.state);
    return code;
}

int transfers_run(const struct transfer *t, const struct settings *s)
{
    struct transfers all = {.transfer = t};
    struct ssx_error err = {0};
    struct type type;
    int code;
    if (type_open(&type, t->type, s->plugin_path, &err))
        return tool_complain(&err);
    if (fan_hosts_find(&all.hosts, s, t->type, &err))
        code = tool_complain(&err);
    else
        code = run(&all, s, &type, interrupt_watch());
    fan_hosts_free(&all.hosts);
    type_close(&type);
    return code;
}
