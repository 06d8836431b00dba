/* The YAML files of ClusterShell's groups.d: source -> group -> a host set, or a list of them. */
#include "fleet/group_source.h"

#include "base/error.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

/* How many bytes of names and host sets aliases (*name) may add to those that stand in the file: one is a few bytes
 * itself, and what it stands for can hold aliases itself. */
#define ALIASES_MAX (8u << 20)

struct reading {
    yaml_document_t doc;
    const char *path;
    struct group_sources *out;
    struct ssx_error *err;
    size_t left;          /* bytes of text that may still come, each with one more for what parts it from the next */
};

static int fault(struct reading *r, const yaml_node_t *at, const char *reason)
{
    return error_set(r->err, SSX_ERROR_USAGE, "%s:%zu: %s", r->path, at ? at->start_mark.line + 1 : 1, reason);
}

/* A scalar's text; NULL, with err, for anything else, and what holds a NUL. */
static const char *text_of(struct reading *r, const yaml_node_t *node, const char *what)
{
    bool is_text = node && node->type == YAML_SCALAR_NODE &&
                   strlen((const char *)node->data.scalar.value) == node->data.scalar.length;
    size_t n = is_text ? node->data.scalar.length + 1 : 0;
    if (is_text && n <= r->left) {
        r->left -= n;
        return (const char *)node->data.scalar.value;
    }
    fault(r, node, is_text ? "aliases (*name) make too much of this file" : what);
    return NULL;
}

/* As ClusterShell and YAML see it: a bare 1 or true is not a name. */
static bool is_quoted_or_word(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    return node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (*text && strspn(text, "0123456789.+-_") < strlen(text));
}

static const char *name_of(struct reading *r, const yaml_node_t *node)
{
    const char *name = text_of(r, node, "a name has to be a word");
    if (name && (!is_quoted_or_word(node) || !*name)) {
        fault(r, node, "a name has to be a word (a number needs quotes)");
        return NULL;
    }
    if (name && strcmp(name, "<<") == 0) {
        fault(r, node, "merge keys (<<) are not supported");
        return NULL;
    }
    return name;
}

static bool is_null(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!*text || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0);
}

/* A list's items are joined by commas, as one expression. */
static int add_items(struct reading *r, struct group *g, const yaml_node_t *list)
{
    for (yaml_node_item_t *item = list->data.sequence.items.start; item < list->data.sequence.items.top; item++) {
        const char *text = text_of(r, yaml_document_get_node(&r->doc, *item), "a group's list holds host sets only");
        if (!text)
            return -1;
        buf_printf(&g->text, "%s%s", item == list->data.sequence.items.start ? "" : ",", text);
    }
    return 0;
}

static int add_group(struct reading *r, struct group_source *s, const yaml_node_t *key, const yaml_node_t *value)
{
    const char *name = name_of(r, key);
    struct group *g = name ? group_table_group(&s->table, name) : NULL;
    if (!g)
        return name ? error_set(r->err, SSX_ERROR_SYSTEM, "out of memory for %s", r->path) : -1;
    buf_consume(&g->text, buf_length(&g->text)); /* named twice: the last one wins */
    if (value && value->type == YAML_SEQUENCE_NODE)
        return add_items(r, g, value);
    const char *text = text_of(r, value, "a group is a host set, or a list of them");
    if (text && !is_null(value))
        buf_add_text(&g->text, text);
    s->table.failed |= g->text.failed;
    return text ? 0 : -1;
}

static int add_source(struct reading *r, const yaml_node_t *key, const yaml_node_t *value)
{
    const char *name = name_of(r, key);
    if (!name)
        return -1;
    if (!value || value->type != YAML_MAPPING_NODE)
        return fault(r, key, "a group source has to be a mapping of groups");
    struct group_source *s = group_sources_add(r->out, name, r->path, r->err);
    if (!s)
        return -1;
    for (yaml_node_pair_t *pair = value->data.mapping.pairs.start; pair < value->data.mapping.pairs.top; pair++)
        if (add_group(r, s, yaml_document_get_node(&r->doc, pair->key), yaml_document_get_node(&r->doc, pair->value)))
            return -1;
    return 0;
}

static int add_sources(struct reading *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    if (!root || root->type != YAML_MAPPING_NODE)
        return fault(r, root, "this is no mapping of group sources");
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++)
        if (add_source(r, yaml_document_get_node(&r->doc, pair->key), yaml_document_get_node(&r->doc, pair->value)))
            return -1;
    return 0;
}

static int parse(struct group_sources *out, const char *path, const struct buf *text, struct ssx_error *err)
{
    struct reading r = {.path = path, .out = out, .err = err, .left = buf_length(text) + ALIASES_MAX};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", path);
    yaml_parser_set_input_string(&parser, buf_data(text), buf_length(text));
    int rc;
    if (yaml_parser_load(&parser, &r.doc)) {
        rc = add_sources(&r);
        yaml_document_delete(&r.doc);
    } else {
        rc = error_set(err, SSX_ERROR_USAGE, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                       parser.problem ? parser.problem : "not YAML");
    }
    yaml_parser_delete(&parser);
    return rc;
}

int group_yaml_load(struct group_sources *out, const char *path, struct ssx_error *err)
{
    struct buf text = {0};
    if (access(path, R_OK))
        return 0;
    int rc = file_read(&text, path, GROUP_FILE_MAX, err);
    if (rc == 0)
        rc = parse(out, path, &text, err);
    buf_free(&text);
    return rc;
}
