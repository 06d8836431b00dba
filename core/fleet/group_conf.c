/* ClusterShell's groups.conf and groups.conf.d: sections with lines of "key: value" or "key = value", where an indented
 * line goes on with the value before it. */
#include "fleet/group_source.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "transport/words.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAIN "Main"
#define PLACES 4

struct entry { char *section, *key, *origin; struct buf value; };

/* What one or several files say; a later one wins. */
struct conf { struct entry *at; size_t n; };

static void conf_free(struct conf *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->at[i].section);
        free(c->at[i].key);
        free(c->at[i].origin);
        buf_free(&c->at[i].value);
    }
    free(c->at);
    *c = (struct conf){0};
}

static struct entry *find(const struct conf *c, const char *section, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->at[i].section, section) == 0 && strcmp(c->at[i].key, key) == 0)
            return &c->at[i];
    return NULL;
}

/* The value's text; NULL where there is none. */
static const char *value_of(const struct conf *c, const char *section, const char *key)
{
    const struct entry *e = find(c, section, key);
    return e && buf_length(&e->value) > 1 ? (const char *)buf_data(&e->value) : NULL;
}

static struct entry *set(struct conf *c, const char *section, const char *key, const char *value, const char *origin)
{
    struct entry *e = find(c, section, key);
    if (!e) {
        struct entry *at = realloc(c->at, (c->n + 1) * sizeof *at);
        if (!at)
            return NULL;
        c->at = at;
        e = &at[c->n++];
        *e = (struct entry){strdup(section), strdup(key), NULL, {0}};
    }
    free(e->origin);
    e->origin = strdup(origin);
    buf_consume(&e->value, buf_length(&e->value));
    return e->section && e->key && e->origin && buf_add(&e->value, value, strlen(value) + 1) == 0 ? e : NULL;
}

/* --- reading --- */

struct reading { struct conf *conf; const char *path; char *section; struct entry *last; };

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "out of memory for groups.conf"); }

static int go_on(struct entry *e, const char *line, struct ssx_error *err)
{
    e->value.end--; /* its NUL */
    return buf_add(&e->value, "\n", 1) || buf_add(&e->value, line, strlen(line) + 1) ? no_memory(err) : 0;
}

static int take_line(struct reading *r, char *raw, struct ssx_error *err)
{
    bool indented = *raw == ' ' || *raw == '\t';
    char *line = text_trim(raw);
    size_t n = strlen(line);
    if (!n || *line == '#' || *line == ';')
        return 0;
    if (indented && r->last)
        return go_on(r->last, line, err);
    if (*line == '[' && line[n - 1] == ']') {
        line[n - 1] = 0;
        free(r->section);
        r->section = strdup(line + 1);
        r->last = NULL;
        return r->section ? 0 : no_memory(err);
    }
    char *sign = line + strcspn(line, ":=");
    if (!*sign || sign == line || !r->section)
        return error_set(err, SSX_ERROR_USAGE, r->section ? "\"%s\" is not key: value" : "\"%s\" stands before the first [section]", line);
    *sign = 0;
    char *key = text_trim(line);
    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    r->last = set(r->conf, r->section, key, text_trim(sign + 1), r->path);
    return r->last ? 0 : no_memory(err);
}

static int read_conf(struct conf *out, const char *path, struct ssx_error *err)
{
    struct reading r = {.conf = out, .path = path};
    struct buf text = {0};
    unsigned number = 0;
    int rc = file_read(&text, path, GROUP_FILE_MAX, err) || buf_add(&text, "", 1) ? -1 : 0;
    if (rc == 0 && memchr(buf_data(&text), 0, buf_length(&text) - 1))
        rc = error_set(err, SSX_ERROR_USAGE, "%s holds a NUL byte: it is not a text file", path);
    for (char *next = rc ? NULL : (char *)buf_data(&text); rc == 0 && next;) {
        char *line = strsep(&next, "\n");
        number++;
        if (take_line(&r, line, err))
            rc = error_prefix(err, "%s:%u", path, number);
    }
    free(r.section);
    buf_free(&text);
    return rc;
}

/* --- sources --- */

static int take_upcall(char **out, const struct conf *c, const char *section, const char *key)
{
    const char *value = value_of(c, section, key);
    *out = value ? strdup(value) : NULL;
    return value && !*out ? -1 : 0;
}

static int add_source(struct group_sources *out, const struct conf *c, const char *section, const char *name,
                      const char *dir, struct ssx_error *err)
{
    const struct entry *map = find(c, section, "map");
    if (!value_of(c, section, "map"))
        return error_set(err, SSX_ERROR_USAGE, "group source %s has no \"map\" command (in %s)", name, dir);
    struct group_source *s = group_sources_add(out, name, map->origin, err);
    if (!s)
        return -1;
    struct upcalls *u = &s->upcalls;
    u->dir = strdup(dir);
    return take_upcall(&u->map, c, section, "map") || take_upcall(&u->all, c, section, "all") ||
                   take_upcall(&u->list, c, section, "list") || !u->dir
               ? no_memory(err)
               : 0;
}

/* Each section but [Main]; [a,b] are two sources. */
static int add_sources(struct group_sources *out, const struct conf *c, const char *dir, struct ssx_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->n && rc == 0; i++) {
        const char *section = c->at[i].section;
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= strcmp(c->at[j].section, section) == 0;
        char *names = seen ? NULL : strdup(section), *rest = NULL;
        if (!seen && !names)
            return no_memory(err);
        for (char *name = names ? strtok_r(names, ",", &rest) : NULL; name && rc == 0; name = strtok_r(NULL, ",", &rest))
            if (strcmp(name, MAIN))
                rc = add_source(out, c, section, name, dir, err);
        free(names);
    }
    return rc;
}

/* --- confdir and autodir --- */

struct directories { struct group_sources *out; const char *cfgdir; };
typedef int use_file(const struct directories *d, const char *dir, const char *path, struct ssx_error *err);

static int use_conf(const struct directories *d, const char *dir, const char *path, struct ssx_error *err)
{
    struct conf c = {0};
    int rc = access(path, R_OK) ? 0 : read_conf(&c, path, err);
    if (rc == 0)
        rc = add_sources(d->out, &c, dir, err);
    conf_free(&c);
    return rc;
}

static int use_yaml(const struct directories *d, const char *dir, const char *path, struct ssx_error *err)
{
    (void)dir;
    return group_yaml_load(d->out, path, err);
}

static int compare_names(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && *name != '.' && strcmp(name + n - m, suffix) == 0;
}

/* Each file in dir whose name ends so, in order. */
static int use_directory(const struct directories *d, const char *dir, const char *suffix, use_file *use, struct ssx_error *err)
{
    struct dirent **names;
    char path[PATH_MAX];
    int n = scandir(dir, &names, NULL, compare_names), rc = 0;
    if (n < 0)
        return errno == ENOENT ? 0 : error_system(err, "can't read the directory %s", dir);
    for (int i = 0; i < n; i++) {
        if (rc == 0 && ends_with(names[i]->d_name, suffix) &&
            snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < (int)sizeof path)
            rc = use(d, dir, path, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* "/etc/a '$CFGDIR/b c'": the words, quotes taken off, $CFGDIR replaced, slashes at the end dropped; none twice. */
static int split_directories(struct words *out, const char *text, const char *cfgdir, struct ssx_error *err)
{
    static const char *const names[] = {"CFGDIR", NULL};
    static const char blanks[] = " \t\r\n";
    while (*(text += strspn(text, blanks))) {
        struct buf word = {0}, path = {0};
        for (char quote = 0; *text && (quote || !strchr(blanks, *text)); text++) {
            if (*text == quote)
                quote = 0;
            else if (!quote && (*text == '"' || *text == '\''))
                quote = *text;
            else
                buf_add(&word, text, 1);
        }
        buf_add(&word, "", 1);
        group_dollars(&path, word.failed ? "" : (const char *)buf_data(&word), names, &cfgdir);
        size_t n = buf_length(&path);
        while (n > 1 && buf_data(&path)[n - 1] == '/')
            n--;
        bool twice = false;
        for (size_t i = 0; i < out->n; i++)
            twice |= strlen(out->at[i]) == n && memcmp(out->at[i], buf_data(&path), n) == 0;
        if (n && !twice)
            words_add_n(out, (const char *)buf_data(&path), n);
        out->failed |= word.failed || path.failed;
        buf_free(&word);
        buf_free(&path);
    }
    return out->failed ? no_memory(err) : 0;
}

static int use_directories(const struct directories *d, const char *list, const char *suffix, use_file *use, struct ssx_error *err)
{
    struct words dirs = {0};
    int rc = list ? split_directories(&dirs, list, d->cfgdir, err) : 0;
    for (size_t i = 0; i < dirs.n && rc == 0; i++)
        rc = use_directory(d, dirs.at[i], suffix, use, err);
    words_free(&dirs);
    return rc;
}

/* --- the whole --- */

/* The directories in which a groups.conf may be, the one that wins last. */
static size_t find_places(char places[PLACES][PATH_MAX])
{
    size_t n = 0;
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME"), *own = getenv("CLUSTERSHELL_CFGDIR");
    snprintf(places[n++], PATH_MAX, "/etc/clustershell");
    if (home && *home)
        snprintf(places[n++], PATH_MAX, "%s/.local/etc/clustershell", home);
    if (xdg && *xdg)
        snprintf(places[n++], PATH_MAX, "%s/clustershell", xdg);
    else if (home && *home)
        snprintf(places[n++], PATH_MAX, "%s/.config/clustershell", home);
    if (own && *own)
        snprintf(places[n++], PATH_MAX, "%s", own);
    return n;
}

/* Reads all that there are, one over the other. Returns the directory of the last; NULL: there is none, or err. */
static const char *read_all(struct conf *out, char places[PLACES][PATH_MAX], struct ssx_error *err)
{
    const char *cfgdir = NULL;
    size_t n = find_places(places);
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s/groups.conf", places[i]);
        if (access(path, R_OK))
            continue;
        if (read_conf(out, path, err))
            return NULL;
        cfgdir = places[i];
    }
    return cfgdir;
}

static int load(struct group_sources *out, const struct conf *c, const char *cfgdir, char **default_name, struct ssx_error *err)
{
    struct directories d = {out, cfgdir};
    const char *confdir = value_of(c, MAIN, "groupsdir"), *name = value_of(c, MAIN, "default");
    if (use_directories(&d, confdir ? confdir : value_of(c, MAIN, "confdir"), ".conf", use_conf, err) ||
        use_directories(&d, value_of(c, MAIN, "autodir"), ".yaml", use_yaml, err) || add_sources(out, c, cfgdir, err))
        return -1;
    if (!name)
        return 0;
    *default_name = strdup(name);
    return *default_name ? 0 : no_memory(err);
}

int group_conf_load(struct group_sources *out, char **default_name, struct ssx_error *err)
{
    struct conf c = {0};
    struct ssx_error why = {0};
    char (*places)[PATH_MAX] = malloc(PLACES * sizeof *places);
    const char *cfgdir = places ? read_all(&c, places, &why) : NULL;
    int rc = !places ? no_memory(&why) : why.code ? -1 : cfgdir ? load(out, &c, cfgdir, default_name, &why) : 0;
    if (rc)
        error_set(err, why.code == SSX_ERROR_SYSTEM ? SSX_ERROR_SYSTEM : SSX_ERROR_USAGE, "%s", why.text);
    conf_free(&c);
    free(places);
    return rc;
}
