#include "worker/policy_file.h"

#include "base/error.h"
#include "base/file.h"
#include "base/ini.h"
#include "base/install.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (64u << 10)

struct reading { struct policy *policy; const char *path; };

static int take_line(void *user, const char *section, const char *key, const char *value, unsigned line, struct ssx_error *err)
{
    const struct reading *r = user;
    char rule[PATH_MAX + 64];
    if (*section)
        return error_set(err, SSX_ERROR_USAGE, "a heading [%s], where there are none", section);
    snprintf(rule, sizeof rule, "%s:%u: %s", r->path, line, key);
    return policy_set(r->policy, key, value, rule, err);
}

/* Root's own file must be root's; that it can't be written by others is judged with all that is above it. */
static int check_owner(const char *path, struct ssx_error *err)
{
    struct stat st;
    if (path_is_trusted(path, err))
        return -1;
    if (strcmp(path, POLICY_SYSTEM_FILE) == 0 && stat(path, &st) == 0 && st.st_uid != 0)
        return error_set(err, SSX_ERROR_REFUSED, "won't use %s: it belongs to uid %u, not to root", path, (unsigned)st.st_uid);
    return 0;
}

static int read_one(struct policy *p, const char *path, struct ssx_error *err)
{
    struct buf text = {0};
    struct reading r = {p, path};
    int rc = check_owner(path, err) || file_read(&text, path, FILE_BYTES_MAX, err) || buf_add(&text, "", 1) ? -1 : 0;
    if (rc == 0)
        rc = ini_read((char *)buf_data(&text), buf_length(&text) - 1, path, take_line, &r, err);
    buf_free(&text);
    return rc;
}

/* A file that can't be seen may be there: only one that surely isn't is passed over. */
static bool is_absent(const char *path) { return access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR); }

int policy_read_files(struct policy *p, struct policy files[POLICY_FILES], struct ssx_error *err)
{
    char own[PATH_MAX], dir[PATH_MAX];
    const char *paths[POLICY_FILES] = {POLICY_SYSTEM_FILE, own};
    memset(files, 0, POLICY_FILES * sizeof *files);
    if (!install_xdg_dir(dir, sizeof dir, "XDG_CONFIG_HOME", ".config") || (size_t)snprintf(own, sizeof own, "%s/agent.conf",
        dir) >= sizeof own)
        paths[1] = NULL;
    for (size_t i = 0; i < POLICY_FILES && paths[i]; i++) {
        if (is_absent(paths[i]))
            continue;
        if (read_one(&files[i], paths[i], err))
            return -1;
        p->also = &files[i];
        p = &files[i];
    }
    return 0;
}
