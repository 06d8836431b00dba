#include "fleet/groups.h"

#include "base/error.h"
#include "fleet/group_source.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct groups {
    const struct groups_options *options;
    struct group_sources sources;
    char *default_name; /* what groups.conf says */
    bool loaded;
};

struct groups *groups_new(const struct groups_options *options)
{
    struct groups *g = calloc(1, sizeof *g);
    if (g)
        g->options = options;
    return g;
}

static void source_free(struct group_source *s)
{
    struct upcalls *u = &s->upcalls;
    group_table_free(&s->table);
    free(u->map);
    free(u->all);
    free(u->list);
    free(u->dir);
    free(s->name);
    free(s->origin);
    free(s);
}

static void forget(struct groups *g)
{
    for (size_t i = 0; i < g->sources.n; i++)
        source_free(g->sources.at[i]);
    free(g->sources.at);
    free(g->default_name);
    g->sources = (struct group_sources){0};
    g->default_name = NULL;
}

void groups_free(struct groups *g)
{
    if (g)
        forget(g);
    free(g);
}

/* --- the sources there are --- */

static const char *variable(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

/* As pdsh looks for it. */
static const char *genders_file(char *out, size_t size)
{
    const char *file = variable("PDSH_GENDERS_FILE", "genders");
    if (*file == '/')
        return file;
    snprintf(out, size, "%s/%s", variable("PDSH_GENDERS_DIR", "/etc"), file);
    return out;
}

/* As dsh does, the user's own first. */
static const char *dsh_directories(char *out, size_t size)
{
    const char *given = variable("DSHGROUP_PATH", NULL), *home = variable("HOME", NULL);
    if (given)
        return given;
    snprintf(out, size, "%s%s/etc/dsh/group", home ? home : "", home ? "/.dsh/group:" : "");
    return out;
}

/* Where groups.conf has no source of that name. */
static int add_own(struct groups *g, const char *name, const char *origin, int (*load)(struct group_source *, struct ssx_error *),
                   struct ssx_error *err)
{
    if (group_sources_find(&g->sources, name))
        return 0;
    struct group_source *s = group_sources_add(&g->sources, name, origin, err);
    if (!s)
        return -1;
    s->load = load;
    return 0;
}

static int load(struct groups *g, struct ssx_error *err)
{
    char path[PATH_MAX], dsh[PATH_MAX];
    const char *ssh = g->options->ssh_config ? g->options->ssh_config : "";
    if (g->loaded)
        return 0;
    if (group_conf_load(&g->sources, &g->default_name, err) || add_own(g, "dsh", dsh_directories(dsh, sizeof dsh), group_dsh_load, err) ||
        add_own(g, "genders", genders_file(path, sizeof path), group_genders_load, err) ||
        add_own(g, "ansible", variable("ANSIBLE_INVENTORY", "/etc/ansible/hosts"), group_ansible_load, err) ||
        add_own(g, "ssh", ssh, group_ssh_load, err)) {
        forget(g);
        return -1;
    }
    for (size_t i = 0; i < g->sources.n; i++)
        g->sources.at[i]->options = g->options;
    g->loaded = true;
    return 0;
}

/* Whether it is there to be the default: what is configured, else what has a file. ssh's hosts are asked for by name
 * only: they are no cluster. */
static bool is_candidate(const struct group_source *s)
{
    const char *last = strrchr(s->origin, ':'); /* of dsh's directories */
    return s->load != group_ssh_load && (!s->load || access(s->origin, R_OK) == 0 || (last && access(last + 1, R_OK) == 0));
}

static struct group_source *default_source(const struct groups *g)
{
    const char *name = g->options->source ? g->options->source : g->default_name;
    if (name)
        return group_sources_find(&g->sources, name);
    for (size_t i = 0; i < g->sources.n; i++)
        if (is_candidate(g->sources.at[i]))
            return g->sources.at[i];
    return NULL;
}

static int unknown_source(const struct groups *g, const char *name, struct ssx_error *err)
{
    struct buf known = {0};
    for (size_t i = 0; i < g->sources.n; i++)
        buf_printf(&known, "%s%s", i ? ", " : "", g->sources.at[i]->name);
    if (name)
        error_set(err, SSX_ERROR_USAGE, "there is no group source %s, only %.*s", name, (int)buf_length(&known),
                  (const char *)buf_data(&known));
    else
        error_set(
            err, SSX_ERROR_USAGE,
            "there are no groups: no groups.conf of ClusterShell, no /etc/dsh/group, no /etc/genders, no Ansible inventory");
    buf_free(&known);
    return -1;
}

/* Finds a source and has it filled. */
static struct group_source *open_source(struct groups *g, const char *name, struct ssx_error *err)
{
    if (load(g, err))
        return NULL;
    struct group_source *s = name ? group_sources_find(&g->sources, name) : default_source(g);
    if (!s) {
        unknown_source(g, name ? name : g->options->source ? g->options->source : g->default_name, err);
        return NULL;
    }
    if (s->load && s->load(s, err)) {
        group_table_free(&s->table);
        if (err)
            err->code = SSX_ERROR_USAGE;
        return NULL;
    }
    s->load = NULL;
    if (s->table.failed)
        error_set(err, SSX_ERROR_SYSTEM, "out of memory for the groups of %s", s->origin);
    return s->table.failed ? NULL : s;
}

/* --- questions --- */

static int add_group(const struct group *g, struct buf *out)
{
    return buf_add(out, buf_data(&g->text), buf_length(&g->text)) || buf_add(out, " ", 1) ? -1 : 0;
}

/* A command's answer, kept: key is a group's name, or "@all" and "@list", which are none. */
static int ask(struct group_source *s, const char *key, const char *command, const char *group, struct buf *out, struct ssx_error *err)
{
    const struct group *known = group_table_find(&s->table, key);
    if (known)
        return add_group(known, out);
    struct buf answer = {0};
    int rc = group_upcall(s, command, group, &answer, err);
    struct group *kept = rc ? NULL : group_table_group(&s->table, key);
    if (kept) {
        kept->text = answer;
        return add_group(kept, out);
    }
    buf_free(&answer);
    return -1;
}

static int memory(int rc, const struct buf *out, struct ssx_error *err)
{
    return rc || out->failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for groups") : 0;
}

int groups_nodes(struct groups *g, const char *source, const char *group, struct buf *out, struct ssx_error *err)
{
    struct group_source *s = open_source(g, source, err);
    if (!s)
        return -1;
    if (!*group)
        return error_set(err, SSX_ERROR_USAGE, "a group without a name");
    if (s->upcalls.map)
        return memory(ask(s, group, s->upcalls.map, group, out, err), out, err);
    const struct group *found = group_table_find(&s->table, group);
    if (!found)
        return error_set(err, SSX_ERROR_USAGE, "there is no group %s in %s", group, *s->origin ? s->origin : "ssh's configuration");
    return memory(add_group(found, out), out, err);
}

int groups_list(struct groups *g, const char *source, struct buf *out, struct ssx_error *err)
{
    struct group_source *s = open_source(g, source, err);
    if (!s)
        return -1;
    if (s->upcalls.map && !s->upcalls.list)
        return error_set(err, SSX_ERROR_USAGE, "group source %s (%s) has no \"list\" command", s->name, s->origin);
    if (s->upcalls.map)
        return memory(ask(s, "@list", s->upcalls.list, NULL, out, err), out, err);
    for (size_t i = 0; i < s->table.n; i++)
        buf_printf(out, "%s ", s->table.at[i]->name);
    return memory(0, out, err);
}

/* Without an "all" command: each group that "list" names, for the reader to resolve. */
static int list_all(struct groups *g, struct group_source *s, struct buf *out, struct ssx_error *err)
{
    struct buf names = {0};
    char *rest, *word;
    int rc = groups_list(g, s->name, &names, err) || buf_add(&names, "", 1);
    if (rc == 0)
        for (char *text = (char *)buf_data(&names); (word = strtok_r(text, " \t\r\n", &rest)); text = NULL)
            buf_printf(out, "@%s:%s ", s->name, word);
    buf_free(&names);
    return rc ? -1 : 0;
}

int groups_all(struct groups *g, const char *source, struct buf *out, struct ssx_error *err)
{
    struct group_source *s = open_source(g, source, err);
    if (!s)
        return -1;
    if (s->upcalls.map)
        return memory(s->upcalls.all ? ask(s, "@all", s->upcalls.all, NULL, out, err) : list_all(g, s, out, err), out, err);
    const struct group *all = group_table_find(&s->table, s->all ? s->all : "all");
    for (size_t i = 0; !all && i < s->table.n; i++)
        add_group(s->table.at[i], out);
    return memory(all ? add_group(all, out) : 0, out, err);
}
