/* The genders database: "node[1-4],login attribute,attribute=value". Its groups are attribute and attribute=value;
 * every node is in ALL. */
#include "fleet/group_source.h"

#include "base/error.h"
#include "fleet/hostset_parse.h"

#include <stdlib.h>
#include <string.h>

struct adding { struct group_source *source; const char *attribute; };

/* A value in which %n is the node's name: a group for each. */
static int add_named(void *ctx, const char *name, size_t n)
{
    const struct adding *a = ctx;
    struct buf group = {0}, node = {0};
    for (const char *at = a->attribute; *at; at++) {
        if (at[0] == '%' && at[1] == 'n')
            buf_add(&group, name, n);
        else
            buf_add(&group, at, 1);
        at += at[0] == '%' && (at[1] == 'n' || at[1] == '%');
    }
    buf_add(&group, "", 1);
    buf_add(&node, name, n);
    buf_add(&node, "", 1);
    if (group.failed || node.failed)
        a->source->table.failed = true;
    else
        group_table_add(&a->source->table, (const char *)buf_data(&group), (const char *)buf_data(&node));
    buf_free(&group);
    buf_free(&node);
    return 0;
}

static int add_each(struct group_source *s, const char *nodes, const char *attribute, struct ssx_error *err)
{
    static const struct host_scope nothing_else = {0};
    struct adding adding = {s, attribute};
    struct hostset *set = hostset_new();
    int rc = set ? hostset_parse(set, nodes, strlen(nodes), &nothing_else, err)
                 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", s->origin);
    if (rc == 0)
        rc = hostset_each(set, add_named, &adding, err);
    hostset_free(set);
    return rc;
}

static int take_line(void *ctx, char *line, struct ssx_error *err)
{
    struct group_source *s = ctx;
    char *rest;
    line[strcspn(line, "#")] = 0;
    char *nodes = strtok_r(line, " \t\r", &rest);
    if (!nodes)
        return 0;
    if (strpbrk(nodes, "!&^@*?"))
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" is no list of nodes", nodes);
    group_table_add(&s->table, "ALL", nodes);
    for (char *attribute; (attribute = strtok_r(NULL, " \t\r,", &rest));) {
        char *value = strchr(attribute, '=');
        if (value && strchr(value, '%')) {
            if (add_each(s, nodes, attribute, err))
                return -1;
        } else if (value) {
            group_table_add(&s->table, attribute, nodes);
        }
        if (value)
            *value = 0;
        group_table_add(&s->table, attribute, nodes);
    }
    return 0;
}

int group_genders_load(struct group_source *s, struct ssx_error *err)
{
    s->all = "ALL";
    return group_file_read(s->origin, take_line, s, err);
}
