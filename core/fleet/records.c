#include "fleet/records.h"

#include "base/error.h"
#include "base/file.h"
#include "base/install.h"
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TIME_LENGTH (sizeof "20261125T024118.123456Z" - 1)
#define NAME_TRIES 1000 /* microseconds after now */

const char *records_place(void)
{
    static char place[RECORDS_PLACE_MAX];
    char dir[RECORDS_PLACE_MAX - 8];
    if (!*place && install_xdg_dir(dir, sizeof dir, "XDG_STATE_HOME", ".local/state"))
        snprintf(place, sizeof place, "%s/runs", dir);
    return place;
}

/* --- one more --- */

static void make_name(char *out, size_t size, const struct timespec *t, const char *type)
{
    char when[32];
    struct tm tm;
    gmtime_r(&t->tv_sec, &tm); /* sorts by time, on the night when clocks are set back too */
    strftime(when, sizeof when, "%Y%m%dT%H%M%S", &tm);
    snprintf(out, size, "%s/%s.%06ldZ-%s", records_place(), when, t->tv_nsec / 1000, type);
}

static int create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        flock(fd, LOCK_SH | LOCK_NB); /* it is being written */
    return fd;
}

int records_create(const char *type, struct ssx_error *err)
{
    char path[PATH_MAX + 128];
    struct timespec now;
    int fd = -1;
    if (!*records_place())
        return error_set(err, SSX_ERROR_SYSTEM, "can't record the run: neither HOME nor XDG_STATE_HOME is set");
    if (dir_make(records_place(), err))
        return error_prefix(err, "can't record the run");
    (void)!chmod(records_place(), 0700);
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < NAME_TRIES && fd < 0; i++) {
        make_name(path, sizeof path, &now, type);
        fd = create(path);
        if (fd < 0 && errno != EEXIST)
            break;
        now.tv_nsec += 1000;
        now.tv_sec += now.tv_nsec / 1000000000;
        now.tv_nsec %= 1000000000;
    }
    return fd < 0 ? error_system(err, "can't record the run in %s", path) : fd;
}

/* --- all of them --- */

/* Whether it looks like one of ours: nothing else is listed, or removed. */
static int is_record(const struct dirent *entry)
{
    static const char shape[] = "00000000T000000.000000Z-";
    const char *name = entry->d_name;
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != shape[i])
            return 0;
    return name[TIME_LENGTH + 1] != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

int records_list(char ***names, size_t *count, struct ssx_error *err)
{
    struct dirent **entries = NULL;
    *names = NULL;
    *count = 0;
    int n = *records_place() ? scandir(records_place(), &entries, is_record, by_name) : 0;
    if (n < 0)
        return errno == ENOENT ? 0 : error_system(err, "can't read %s", records_place());
    *names = calloc((size_t)n + 1, sizeof **names);
    for (int i = 0; i < n; i++) {
        if (*names && ((*names)[*count] = strdup(entries[i]->d_name)))
            ++*count;
        free(entries[i]);
    }
    free(entries);
    return *names ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for the names of records");
}

void records_list_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

void records_prune(size_t kept)
{
    char **names, path[PATH_MAX + 512];
    size_t count;
    if (records_list(&names, &count, NULL))
        return;
    for (size_t i = 0; i + kept < count; i++) {
        snprintf(path, sizeof path, "%s/%s", records_place(), names[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlink(path);
        fd_close(&fd);
    }
    records_list_free(names, count);
}

int records_find(char *out, size_t size, const char *name, struct ssx_error *err)
{
    char **names;
    size_t count;
    if (name && strchr(name, '/')) {
        snprintf(out, size, "%s", name);
        return 0;
    }
    if (records_list(&names, &count, err))
        return -1;
    const char *found = name || !count ? NULL : names[count - 1];
    for (size_t i = 0; name && i < count; i++)
        found = strcmp(names[i], name) == 0 ? names[i] : found;
    if (found)
        snprintf(out, size, "%s/%s", records_place(), found);
    records_list_free(names, count);
    if (found)
        return 0;
    return name ? error_set(err, SSX_ERROR_USAGE, "there is no record %s (sshexec show --list)", name)
                : error_set(err, SSX_ERROR_USAGE, "there is no record of a run in %s (sshexec run -w leaves one)", records_place());
}
