/* The hosts that ssh's configuration names: the words of its Host lines that are no patterns. They are the group
 * "all". */
#include "fleet/group_source.h"

#include "base/error.h"
#include "transport/words.h"

#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILES_MAX 1024

struct reading {
    struct group_source *source;
    const char *base, *home; /* what Include starts from; what ~ is */
    struct words files;      /* to be read, or read already: each once, however they include one another */
};

static int add_file(struct reading *r, const char *path, struct ssx_error *err)
{
    for (size_t i = 0; i < r->files.n; i++)
        if (strcmp(r->files.at[i], path) == 0)
            return 0;
    if (r->files.n == FILES_MAX)
        return error_set(err, SSX_ERROR_USAGE, "more than %d files", FILES_MAX);
    words_add(&r->files, path);
    return r->files.failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for ssh's configuration") : 0;
}

static int include(struct reading *r, const char *pattern, struct ssx_error *err)
{
    char path[PATH_MAX];
    glob_t found;
    int rc = 0;
    if (*pattern == '~' && pattern[1] == '/')
        snprintf(path, sizeof path, "%s%s", r->home, pattern + 1);
    else
        snprintf(path, sizeof path, "%s%s%s", *pattern == '/' ? "" : r->base, *pattern == '/' ? "" : "/", pattern);
    if (glob(path, 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
        rc = add_file(r, found.gl_pathv[i], err);
    globfree(&found);
    return rc;
}

static int take_word(struct reading *r, bool is_host, const char *word, struct ssx_error *err)
{
    if (!is_host)
        return include(r, word, err);
    if (group_word_is_host(word))
        group_table_add(&r->source->table, "all", word);
    return 0;
}

/* "Host a b", "Host=a", "Include "my files/x"". */
static int take_line(void *ctx, char *line, struct ssx_error *err)
{
    struct reading *r = ctx;
    size_t n = strcspn(line, " \t=\"");
    bool is_host = n == 4 && strncasecmp(line, "Host", n) == 0, is_include = n == 7 && strncasecmp(line, "Include", n) == 0;
    if (!is_host && !is_include)
        return 0;
    line += n + strspn(line + n, " \t=");
    while (*line && *line != '#') {
        bool quoted = *line == '"';
        line += quoted;
        size_t length = strcspn(line, quoted ? "\"" : " \t");
        char *next = line + length + (line[length] ? 1 : 0);
        line[length] = 0;
        if (take_word(r, is_host, line, err))
            return -1;
        line = next + strspn(next, " \t");
    }
    return 0;
}

/* A file and what it includes. One that can't be read is passed over, as ssh does. */
static int read_all(struct reading *r, const char *path, struct ssx_error *err)
{
    size_t i = r->files.n;
    int rc = add_file(r, path, err);
    for (; i < r->files.n && rc == 0; i++)
        if (access(r->files.at[i], R_OK) == 0)
            rc = group_file_read(r->files.at[i], take_line, r, err);
    return rc;
}

int group_ssh_load(struct group_source *s, struct ssx_error *err)
{
    const struct passwd *pw = getpwuid(getuid()); /* as ssh does: not $HOME */
    char base[PATH_MAX], path[PATH_MAX + 8];
    struct reading r = {.source = s, .base = base, .home = pw ? pw->pw_dir : ""};
    int rc;
    snprintf(base, sizeof base, "%s/.ssh", r.home);
    snprintf(path, sizeof path, "%s/config", base);
    group_table_group(&s->table, "all");
    if (*s->origin) {
        rc = access(s->origin, R_OK) ? error_system(err, "can't read %s", s->origin) : read_all(&r, s->origin, err);
    } else if ((rc = read_all(&r, path, err)) == 0) {
        r.base = "/etc/ssh";
        rc = read_all(&r, "/etc/ssh/ssh_config", err);
    }
    words_free(&r.files);
    return rc;
}
