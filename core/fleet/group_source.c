#include "fleet/group_source.h"

#include "base/error.h"
#include "base/file.h"

#include <ctype.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- tables --- */

static int by_name(const void *a, const void *b) { return strcmp(((const struct group *)a)->name, ((const struct group *)b)->name); }

struct group *group_table_find(const struct group_table *t, const char *name)
{
    struct group key = {.name = (char *)(uintptr_t)name};
    struct group *const *found = tfind(&key, &t->tree, by_name);
    return found ? *found : NULL;
}

static int make_room(struct group_table *t)
{
    if (t->n < t->capacity)
        return 0;
    size_t capacity = t->capacity ? t->capacity * 2 : 8;
    struct group **at = realloc(t->at, capacity * sizeof *at);
    if (!at)
        return -1;
    t->at = at;
    t->capacity = capacity;
    return 0;
}

struct group *group_table_group(struct group_table *t, const char *name)
{
    struct group *group = group_table_find(t, name);
    if (group)
        return group;
    group = make_room(t) ? NULL : calloc(1, sizeof *group);
    if (group && (group->name = strdup(name)) && tsearch(group, &t->tree, by_name))
        return t->at[t->n++] = group;
    if (group)
        free(group->name);
    free(group);
    t->failed = true;
    return NULL;
}

void group_table_add(struct group_table *t, const char *group, const char *word)
{
    struct group *g = group_table_group(t, group);
    if (g && (buf_add_text(&g->text, word) || buf_add(&g->text, " ", 1)))
        t->failed = true;
}

static void leave(void *node) { (void)node; }

void group_table_free(struct group_table *t)
{
    tdestroy(t->tree, leave);
    for (size_t i = 0; i < t->n; i++) {
        free(t->at[i]->name);
        buf_free(&t->at[i]->text);
        free(t->at[i]);
    }
    free(t->at);
    *t = (struct group_table){0};
}

/* --- sources --- */

struct group_source *group_sources_find(const struct group_sources *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->at[i]->name, name) == 0)
            return s->at[i];
    return NULL;
}

struct group_source *group_sources_add(struct group_sources *s, const char *name, const char *origin, struct ssx_error *err)
{
    struct group_source *there = group_sources_find(s, name);
    if (there) {
        error_set(err, SSX_ERROR_USAGE, "%s: a group source %s is already defined in %s", origin, name, there->origin);
        return NULL;
    }
    struct group_source **at = realloc(s->at, (s->n + 1) * sizeof *at), *new = calloc(1, sizeof *new);
    if (at)
        s->at = at;
    if (at && new && (new->name = strdup(name)) && (new->origin = strdup(origin)))
        return s->at[s->n++] = new;
    if (new)
        free(new->name);
    free(new);
    error_set(err, SSX_ERROR_SYSTEM, "out of memory for group sources");
    return NULL;
}

/* --- files --- */

static char *trim(char *line)
{
    while (isspace((unsigned char)*line))
        line++;
    size_t n = strlen(line);
    while (n && isspace((unsigned char)line[n - 1]))
        line[--n] = 0;
    return line;
}

int group_file_read(const char *path, group_line *visit, void *ctx, struct ssx_error *err)
{
    struct buf text = {0};
    int rc = file_read(&text, path, GROUP_FILE_MAX, err) || buf_add(&text, "", 1)
                 ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", path)
                 : 0;
    unsigned number = 0;
    char *next = rc ? NULL : (char *)buf_data(&text);
    if (next && strlen(next) + 1 != buf_length(&text))
        rc = error_set(err, SSX_ERROR_USAGE, "%s holds a NUL byte: it is not a text file", path);
    while (rc == 0 && next) {
        char *line = strsep(&next, "\n");
        number++;
        if (visit(ctx, trim(line), err))
            rc = error_prefix(err, "%s:%u", path, number);
    }
    buf_free(&text);
    return rc;
}

bool group_word_is_host(const char *word)
{
    for (const char *at = word; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 127 || strchr(",!&^*?{}\"'", *at))
            return false;
    return *word && *word != '@' && *word != '-';
}

/* --- $NAME --- */

/* The length of the identifier at text; 0: none. */
static size_t identifier(const char *text)
{
    size_t n = 0;
    while (text[n] == '_' || isalpha((unsigned char)text[n]) || (n && isdigit((unsigned char)text[n])))
        n++;
    return n;
}

/* The length of what stands for a value at text, a "$..."; 0: it is no such thing. */
static size_t reference(const char *text, const char **name, size_t *n)
{
    bool braced = text[1] == '{';
    *name = text + 1 + braced;
    *n = identifier(*name);
    if (!*n || (braced && (*name)[*n] != '}'))
        return 0;
    return 1 + *n + (braced ? 2 : 0);
}

void group_dollars(struct buf *out, const char *text, const char *const *names, const char *const *values)
{
    while (*text) {
        const char *name;
        size_t n, length = *text == '$' ? reference(text, &name, &n) : 0, i = 0;
        if (text[0] == '$' && text[1] == '$') {
            buf_add(out, "$", 1);
            text += 2;
            continue;
        }
        while (length && names[i] && (strlen(names[i]) != n || strncmp(names[i], name, n)))
            i++;
        if (length && names[i])
            buf_add_text(out, values[i]);
        else
            buf_add(out, text, length ? length : 1);
        text += length ? length : 1;
    }
}
