#include "base/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What lacks the permissions gets them: read to list it, write to move it elsewhere or take something out of it. */
static int permit(int at, const char *name) { return fchmodat(at, name, 0700, AT_SYMLINK_NOFOLLOW); }

static int open_directory(int at, const char *name)
{
    static const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(at, name, how);
    if (fd < 0 && errno == EACCES && permit(at, name) == 0)
        fd = openat(at, name, how);
    if (fd >= 0)
        fchmod(fd, 0700);
    return fd;
}

static int is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* Moves what is in the directory `name` up into root under fresh names, so that depth costs neither stack nor
 * descriptors; files go at once. */
static void lift(int root, const char *name, unsigned *fresh)
{
    int fd = open_directory(root, name);
    if (fd < 0)
        return;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char up[32];
        bool permitted = false;
        if (is_dot(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        do
            snprintf(up, sizeof up, ".lifted-%u", (*fresh)++);
        while (renameat(fd, entry->d_name, root, up) &&
               (errno == EEXIST || errno == ENOTEMPTY || (errno == EACCES && !permitted && (permitted = permit(fd, entry->d_name) == 0))));
    }
    closedir(dir);
}

int tree_remove(const char *path)
{
    int root = open_directory(AT_FDCWD, path);
    unsigned fresh = 0;
    if (root < 0)
        return errno == ENOENT ? 0 : -1;
    for (int removed = 1; removed;) { /* each pass empties the directories that it finds; lifted ones wait for the next */
        int copy = dup(root);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        if (!dir) {
            if (copy >= 0)
                close(copy);
            break;
        }
        rewinddir(dir);
        removed = 0;
        for (struct dirent *entry; (entry = readdir(dir));) {
            if (is_dot(entry->d_name))
                continue;
            if (unlinkat(root, entry->d_name, 0)) {
                lift(root, entry->d_name, &fresh);
                removed += unlinkat(root, entry->d_name, AT_REMOVEDIR) == 0;
            } else {
                removed++;
            }
        }
        closedir(dir);
    }
    close(root);
    return rmdir(path);
}
