#include "host_sets.h"

#include "base/buf.h"
#include "base/error.h"
#include "fleet/rerun.h"

#include <string.h>

int host_sets_init(struct host_sets *s, const struct groups_options *groups, struct ssx_error *err)
{
    *s = (struct host_sets){.included = hostset_new(), .excluded = hostset_new(), .scope = {groups_new(groups), NULL, true}};
    return s->included && s->excluded && s->scope.groups ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
}

static int add_set(struct hostset *out, const char *text, const char *option, const struct host_scope *scope, struct ssx_error *err)
{
    return hostset_parse(out, text, strlen(text), scope, err) ? error_prefix(err, "%s", option) : 0;
}

struct grouping { struct hostset *out; const struct host_scope *scope; struct ssx_error *err; };

static int add_group(void *ctx, const char *name, size_t n)
{
    struct grouping *g = ctx;
    struct buf text = {0};
    int rc = buf_add(&text, "@", 1) || buf_add(&text, name, n) ? error_set(g->err, SSX_ERROR_SYSTEM, "out of memory for a group") : 0;
    if (rc == 0)
        rc = hostset_parse(g->out, (const char *)buf_data(&text), buf_length(&text), g->scope, g->err);
    buf_free(&text);
    return rc ? 1 : 0;
}

/* The value is a set of names of groups. */
static int add_groups(struct hostset *out, const char *text, const char *option, const struct host_scope *scope, struct ssx_error *err)
{
    static const struct host_scope names_only = {0};
    struct grouping grouping = {out, scope, err};
    struct hostset *names = hostset_new();
    int rc = names ? hostset_parse(names, text, strlen(text), &names_only, err)
                   : error_set(err, SSX_ERROR_SYSTEM, "out of memory for groups");
    if (rc == 0)
        rc = hostset_each(names, add_group, &grouping, err);
    hostset_free(names);
    return rc ? error_prefix(err, "%s", option) : 0;
}

int host_sets_take(struct host_sets *s, int option, const char *value, struct ssx_error *err)
{
    s->any |= option != 'x' && option != 'X';
    switch (option) {
    case 'w': return add_set(s->included, value, "-w", &s->scope, err);
    case 'x': return add_set(s->excluded, value, "-x", &s->scope, err);
    case 'g': return add_groups(s->included, value, "-g", &s->scope, err);
    case 'X': return add_groups(s->excluded, value, "-X", &s->scope, err);
    case 'a': return add_set(s->included, "@*", "-a", &s->scope, err);
    default: return hostset_parse_file(s->included, value, &s->scope, err);
    }
}

int host_sets_rerun(struct host_sets *s, const char *which, const char *record, struct ssx_error *err)
{
    s->any = true;
    return rerun_hosts(s->included, which, record, err);
}

int host_sets_finish(struct host_sets *s, const char *command, struct ssx_error *err)
{
    if (hostset_combine(s->included, s->excluded, '!', err))
        return -1;
    if (!s->any)
        return error_set(err, SSX_ERROR_USAGE, "which hosts? -w SET, -g GROUP, -a or --hostfile FILE (sshexec %s --help)", command);
    return hostset_count(s->included) ? 0 : error_set(err, SSX_ERROR_USAGE, "no host is left of what was asked for");
}

void host_sets_dispose(struct host_sets *s)
{
    hostset_free(s->included);
    hostset_free(s->excluded);
    groups_free(s->scope.groups);
}
