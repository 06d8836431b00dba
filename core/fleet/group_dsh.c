/* dsh's and pdsh's groups: a file a group, in ~/.dsh/group and /etc/dsh/group; /etc/dsh/machines.list holds all. */
#include "fleet/group_source.h"

#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct filling { struct group_source *source; const char *group; };

/* "#include NAME" takes in another group, as in pdsh; any other # begins a comment. */
static int take_line(void *ctx, char *line, struct ssx_error *err)
{
    struct filling *f = ctx;
    char *rest, word[NAME_MAX + 2];
    (void)err;
    if (strncmp(line, "#include", 8) == 0 && strchr(" \t\"", line[8]) && line[8]) {
        line += 8 + strspn(line + 8, " \t\"");
        line[strcspn(line, " \t\"")] = 0;
        snprintf(word, sizeof word, "@%s", line);
        group_table_add(&f->source->table, f->group, word);
        return 0;
    }
    line[strcspn(line, "#")] = 0;
    for (char *host = strtok_r(line, " \t\r", &rest); host; host = strtok_r(NULL, " \t\r", &rest))
        group_table_add(&f->source->table, f->group, host);
    return 0;
}

static int read_group(struct group_source *s, const char *path, const char *name, struct ssx_error *err)
{
    struct filling f = {s, name};
    if (group_table_find(&s->table, name)) /* an earlier directory has it */
        return 0;
    group_table_group(&s->table, name);
    return group_file_read(path, take_line, &f, err);
}

static int read_directory(struct group_source *s, const char *dir, struct ssx_error *err)
{
    DIR *d = opendir(dir);
    char path[PATH_MAX];
    int rc = 0;
    if (!d)
        return errno == ENOENT ? 0 : error_system(err, "can't read the directory %s", dir);
    for (const struct dirent *e; rc == 0 && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] != '.' && e->d_name[n - 1] != '~' &&
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path && access(path, R_OK) == 0)
            rc = read_group(s, path, e->d_name, err);
    }
    closedir(d);
    snprintf(path, sizeof path, "%s/../machines.list", dir);
    return rc || access(path, R_OK) ? rc : read_group(s, path, "all", err);
}

int group_dsh_load(struct group_source *s, struct ssx_error *err)
{
    char *dirs = strdup(s->origin), *rest;
    int rc = dirs ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", s->origin);
    for (char *dir = dirs ? strtok_r(dirs, ":", &rest) : NULL; dir && rc == 0; dir = strtok_r(NULL, ":", &rest))
        rc = read_directory(s, dir, err);
    free(dirs);
    return rc;
}
