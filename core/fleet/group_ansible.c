/* An Ansible inventory in INI form: [group], [group:children], host lines with www[01:50] and ansible_host,
 * ansible_user, ansible_port.
 *
 * Where a host has such an address it stands for the host: the alias is a name of Ansible's alone. Variables of groups
 * are not read. */
#include "fleet/group_source.h"

#include "base/error.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 1000000 /* of one inventory */

struct inventory {
    struct group_source *source;
    struct group_table members;                /* by group: aliases and @children */
    struct group_table address, user, port;    /* by alias */
    char *section;
    enum { HOSTS, CHILDREN, OTHER } kind;
    size_t names;
};

/* --- www[01:50].example[a:c] --- */

struct range { long long lo, hi, step; int width; bool letters; };

static bool read_range(const char *text, struct range *out)
{
    int n = 0;
    char lo, hi;
    *out = (struct range){.step = 1};
    if (isdigit((unsigned char)*text)) {
        size_t from = strspn(text, "0123456789"), to = text[from] == ':' ? strspn(text + from + 1, "0123456789") : 0;
        if (from > 15 || to > 15 || sscanf(text, "%lld:%lld%n:%lld%n", &out->lo, &out->hi, &n, &out->step, &n) < 2)
            return false;
        out->width = *text == '0' && from > 1 ? (int)from : 0;
        return text[n] == ']' && out->step > 0 && (!out->width || from == to);
    }
    if (sscanf(text, "%c:%c%n:%lld%n", &lo, &hi, &n, &out->step, &n) < 2 || !isalpha((unsigned char)lo) || !isalpha((unsigned char)hi))
        return false;
    out->lo = lo;
    out->hi = hi;
    out->letters = true;
    return text[n] == ']' && out->step > 0;
}

static int add_host(struct inventory *v, const char *alias, struct ssx_error *err)
{
    if (++v->names > NAMES_MAX)
        return error_set(err, SSX_ERROR_USAGE, "more than %d names", NAMES_MAX);
    group_table_add(&v->members, v->section, alias);
    return 0;
}

/* Adds each name that the pattern stands for. An [address] is no range and stays. */
static int add_pattern(struct inventory *v, const char *pattern, struct ssx_error *err)
{
    struct range r;
    const char *open = strchr(pattern, '[');
    while (open && !read_range(open + 1, &r))
        open = strchr(open + 1, '[');
    if (!open)
        return add_host(v, pattern, err);
    const char *rest = strchr(open, ']') + 1;
    for (long long at = r.lo; at <= r.hi; at += r.step) {
        char name[1024];
        int n = r.letters ? snprintf(name, sizeof name, "%.*s%c%s", (int)(open - pattern), pattern, (char)at, rest)
                          : snprintf(name, sizeof name, "%.*s%0*lld%s", (int)(open - pattern), pattern, r.width, at, rest);
        if (n >= (int)sizeof name)
            return error_set(err, SSX_ERROR_USAGE, "a name that is too long");
        if (add_pattern(v, name, err))
            return -1;
    }
    return 0;
}

/* --- lines --- */

/* The next word, quotes taken off; NULL at the end, or where a comment begins. */
static char *next_word(char **rest)
{
    char *from = *rest + strspn(*rest, " \t\r"), *to = from, *start = from, quote = 0;
    if (!*from || *from == '#')
        return NULL;
    for (; *from && (quote || !strchr(" \t\r", *from)); from++) {
        if (*from == quote)
            quote = 0;
        else if (!quote && (*from == '"' || *from == '\''))
            quote = *from;
        else
            *to++ = *from;
    }
    *rest = *from ? from + 1 : from;
    *to = 0;
    return start;
}

static int take_variable(struct inventory *v, const char *alias, char *word, struct ssx_error *err)
{
    static const struct { const char *name; size_t table; } known[] = {
        {"ansible_host", offsetof(struct inventory, address)}, {"ansible_ssh_host", offsetof(struct inventory, address)},
        {"ansible_user", offsetof(struct inventory, user)}, {"ansible_ssh_user", offsetof(struct inventory, user)},
        {"ansible_port", offsetof(struct inventory, port)}, {"ansible_ssh_port", offsetof(struct inventory, port)},
    };
    char *value = strchr(word, '=');
    if (!value)
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" is not variable=value", word);
    *value++ = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(word, known[i].name))
            continue;
        if (!group_word_is_host(value))
            return error_set(err, SSX_ERROR_USAGE, "%s of %s can't be used: \"%s\"", word, alias, value);
        struct group *g = group_table_group((struct group_table *)((char *)v + known[i].table), alias);
        if (!g)
            return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the inventory");
        buf_consume(&g->text, buf_length(&g->text)); /* the last one wins */
        buf_add(&g->text, value, strlen(value) + 1);
        v->source->table.failed |= g->text.failed;
    }
    return 0;
}

static int take_heading(struct inventory *v, char *line, struct ssx_error *err)
{
    char *end = strchr(line, ']'), *colon = strchr(line, ':');
    if (!end)
        return error_set(err, SSX_ERROR_USAGE, "a heading without its ]");
    *end = 0;
    v->kind = HOSTS;
    if (colon && colon < end) {
        *colon = 0;
        v->kind = strcmp(colon + 1, "children") == 0 ? CHILDREN : OTHER;
    }
    free(v->section);
    v->section = strdup(line + 1);
    if (!v->section)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the inventory");
    if (!group_word_is_host(v->section))
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" can't be a group's name", v->section);
    if (v->kind != OTHER)
        group_table_group(&v->members, v->section);
    return 0;
}

static int take_line(void *ctx, char *line, struct ssx_error *err)
{
    struct inventory *v = ctx;
    char child[1024];
    if (!*line || *line == '#' || *line == ';')
        return 0;
    if (*line == '[' && !strchr(line, ' ') && line[strlen(line) - 1] == ']')
        return take_heading(v, line, err);
    if (v->kind == OTHER)
        return 0;
    char *name = next_word(&line);
    if (!name)
        return 0;
    if (!group_word_is_host(name))
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" is no host or group (is this an inventory in INI form?)", name);
    if (v->kind == CHILDREN) {
        snprintf(child, sizeof child, "@%s", name);
        group_table_add(&v->members, v->section, child);
        return 0;
    }
    for (char *word; (word = next_word(&line));)
        if (take_variable(v, name, word, err))
            return -1;
    return add_pattern(v, name, err);
}

/* --- what it comes to --- */

static const char *variable(const struct group_table *t, const char *alias)
{
    const struct group *g = group_table_find(t, alias);
    return g && !t->failed ? (const char *)buf_data(&g->text) : NULL;
}

/* "user@address:port" of what is known of a host. */
static void add_address(const struct inventory *v, struct buf *out, const char *alias)
{
    const char *address = variable(&v->address, alias), *user = variable(&v->user, alias), *port = variable(&v->port, alias);
    if (user)
        buf_printf(out, "%s@", user);
    if (!address)
        address = alias;
    bool bare_v6 = port && *address != '[' && strchr(address, ':') != strrchr(address, ':');
    buf_printf(out, bare_v6 ? "[%s]" : "%s", address);
    if (port)
        buf_printf(out, ":%s", port);
    buf_add(out, "", 1);
}

static void add_member(struct inventory *v, const char *group, const char *alias)
{
    struct group_table *t = &v->source->table;
    struct buf host = {0};
    if (*alias == '@') {
        group_table_add(t, group, alias);
        return;
    }
    add_address(v, &host, alias);
    if (host.failed) {
        t->failed = true;
    } else {
        group_table_add(t, group, (const char *)buf_data(&host));
        if (strcmp(group, "all"))
            group_table_add(t, "all", (const char *)buf_data(&host));
    }
    buf_free(&host);
}

static void resolve(struct inventory *v)
{
    for (size_t i = 0; i < v->members.n; i++) {
        struct group *g = v->members.at[i];
        char *rest;
        group_table_group(&v->source->table, g->name);
        v->source->table.failed |= buf_add(&g->text, "", 1) != 0;
        if (g->text.failed)
            continue;
        for (char *word = strtok_r((char *)buf_data(&g->text), " ", &rest); word; word = strtok_r(NULL, " ", &rest))
            add_member(v, g->name, word);
    }
}

int group_ansible_load(struct group_source *s, struct ssx_error *err)
{
    struct inventory v = {.source = s, .section = strdup("ungrouped")};
    int rc = v.section ? group_file_read(s->origin, take_line, &v, err)
                       : error_set(err, SSX_ERROR_SYSTEM, "out of memory for the inventory");
    if (rc == 0)
        resolve(&v);
    s->table.failed |= v.members.failed || v.address.failed || v.user.failed || v.port.failed;
    free(v.section);
    group_table_free(&v.members);
    group_table_free(&v.address);
    group_table_free(&v.user);
    group_table_free(&v.port);
    return rc;
}
