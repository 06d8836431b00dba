#include "worker/registry.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
#include "worker/elf.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SUGGESTIONS_MAX = 5 };

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "can't list the plugins: out of memory"); }

/* --- the directories --- */

static int add_directory(struct registry *r, const char *at, size_t n)
{
    char **more = realloc(r->directories, (r->count + 1) * sizeof *more);
    if (!more)
        return -1;
    r->directories = more;
    if (!(more[r->count] = strndup(at, n)))
        return -1;
    r->count++;
    return 0;
}

static int add_path(struct registry *r, const char *path)
{
    while (path && *path) {
        size_t n = strcspn(path, ":");
        if (n && add_directory(r, path, n))
            return -1;
        path += n + (path[n] != 0);
    }
    return 0;
}

/* The XDG base directory specification: an unset, empty or relative XDG_DATA_HOME means the default. */
static int add_user(struct registry *r)
{
    char path[PATH_MAX];
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    bool set = data && *data == '/';
    if (!set && (!home || *home != '/'))
        return 0;
    int n = snprintf(path, sizeof path, "%s%s/sshexec/plugins", set ? data : home, set ? "" : "/.local/share");
    return (size_t)n < sizeof path ? add_directory(r, path, (size_t)n) : 0;
}

int registry_open(struct registry *out, const char *path, const char *system, struct ssx_error *err)
{
    *out = (struct registry){0};
    if (add_path(out, path) || add_path(out, getenv("SSHEXEC_PLUGIN_PATH")) || add_user(out) ||
        (system && add_directory(out, system, strlen(system)))) {
        registry_close(out);
        return no_memory(err);
    }
    return 0;
}

void registry_close(struct registry *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->directories[i]);
    free(r->directories);
    *r = (struct registry){0};
}

/* The real path of NAME.so in a folder of a directory (""; itself), allocated; NULL where it has none. */
static char *find_in(const char *directory, const char *folder, const char *type)
{
    char path[PATH_MAX];
    struct stat st;
    if ((size_t)snprintf(path, sizeof path, "%s/%s/%s.so", directory, folder, type) >= sizeof path)
        return NULL;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? realpath(path, NULL) : NULL;
}

/* *where is the directory that it was found in. */
static char *find(const struct registry *r, const char *type, const char **where)
{
    const char *own = elf_machine_name(elf_own_machine());
    char *path = NULL;
    for (size_t i = 0; !path && i < r->count; i++) {
        *where = r->directories[i];
        if (!(path = find_in(*where, own, type)))
            path = find_in(*where, "", type);
    }
    return path;
}

/* --- all types --- */

struct names { char **at; size_t count; };

static int add_name(struct names *names, const char *file)
{
    char type[TYPE_NAME_MAX + 1];
    size_t n = strlen(file);
    if (n < 4 || n - 3 > TYPE_NAME_MAX || strcmp(file + n - 3, ".so") != 0)
        return 0;
    memcpy(type, file, n - 3);
    type[n - 3] = 0;
    if (!text_is_type_name(type))
        return 0;
    if ((names->count & (names->count - 1)) == 0) { /* room is doubled at each power of two */
        char **more = realloc(names->at, (names->count ? 2 * names->count : 1) * sizeof *more);
        if (!more)
            return -1;
        names->at = more;
    }
    names->at[names->count] = strdup(type);
    return names->at[names->count++] ? 0 : -1;
}

static int add_names_of(struct names *names, const char *directory, const char *folder)
{
    char path[PATH_MAX];
    DIR *dir = (size_t)snprintf(path, sizeof path, "%s/%s", directory, folder) < sizeof path ? opendir(path) : NULL;
    int rc = 0;
    if (!dir)
        return 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir));)
        rc = add_name(names, entry->d_name);
    closedir(dir);
    return rc;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->at[i]);
    free(names->at);
}

/* Every name there is, sorted; one that stands in several directories comes as often. */
static int list(const struct registry *r, struct names *out)
{
    *out = (struct names){0};
    for (size_t i = 0; i < r->count; i++)
        if (add_names_of(out, r->directories[i], "") || add_names_of(out, r->directories[i], elf_machine_name(elf_own_machine()))) {
            if (out->count && !out->at[out->count - 1])
                out->count--;
            names_free(out);
            return -1;
        }
    if (out->count)
        qsort(out->at, out->count, sizeof *out->at, by_name);
    return 0;
}

int registry_each(const struct registry *r, int (*visit)(void *user, const char *type, const char *path), void *user)
{
    struct names names;
    const char *where;
    int rc = 0;
    if (list(r, &names))
        return -1;
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        char *path = i && strcmp(names.at[i], names.at[i - 1]) == 0 ? NULL : find(r, names.at[i], &where);
        if (path)
            rc = visit(user, names.at[i], path);
        free(path);
    }
    names_free(&names);
    return rc;
}

/* --- one type --- */

static void add_nearest(const struct registry *r, const char *type, struct buf *out)
{
    struct names names;
    size_t found = 0;
    if (list(r, &names))
        return;
    for (size_t i = 0; i < names.count && found < SUGGESTIONS_MAX; i++) {
        if ((i && strcmp(names.at[i], names.at[i - 1]) == 0) || !text_is_near(type, names.at[i]))
            continue;
        buf_printf(out, "%s%s", found++ ? ", " : "", names.at[i]);
    }
    names_free(&names);
}

static int unknown_type(const struct registry *r, const char *type, struct ssx_error *err)
{
    struct buf near = {0}, where = {0};
    add_nearest(r, type, &near);
    for (size_t i = 0; i < r->count; i++)
        buf_printf(&where, "%s%s", i ? ", " : "", r->directories[i]);
    buf_add(&where, "", 1);
    bool any = buf_length(&near) > 0;
    buf_add(&near, "", 1);
    if (any && !near.failed)
        error_set(err, SSX_ERROR_UNKNOWN_TYPE, "unknown type %s; did you mean %s?", type, (const char *)buf_data(&near));
    else if (r->count && !where.failed)
        error_set(err, SSX_ERROR_UNKNOWN_TYPE, "unknown type %s: there is no %s.so in %.600s", type, type, (const char *)buf_data(&where));
    else
        error_set(err, SSX_ERROR_UNKNOWN_TYPE, "unknown type %s: there are no plugin directories", type);
    buf_free(&near);
    buf_free(&where);
    return -1;
}

/* Takes found over. */
static int give_trusted(char **path, char *found, const char *type, struct ssx_error *err)
{
    if (found && path_is_trusted(found, err)) {
        free(found);
        return error_prefix(err, "can't use the plugin of type %s", type);
    }
    *path = found;
    return 0;
}

int registry_find_for(const struct registry *r, const char *type, const char *machine, char **path, struct ssx_error *err)
{
    const char *where;
    char *found = find(r, type, &where);
    *path = NULL;
    if (!found)
        return 0;
    free(found);
    return give_trusted(path, find_in(where, machine, type), type, err);
}

int registry_find(const struct registry *r, const char *type, char **path, struct ssx_error *err)
{
    const char *where;
    *path = NULL;
    if (!text_is_type_name(type))
        return error_set(
            err, SSX_ERROR_UNKNOWN_TYPE,
            "'%.100s' is no type's name: lower-case letters, digits, - and _, 64 at most, a letter first; a plugin file is named with a slash, as "
            "./hello.so",
            type);
    char *found = find(r, type, &where);
    return found ? give_trusted(path, found, type, err) : unknown_type(r, type, err);
}
