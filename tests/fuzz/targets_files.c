/* A transfer of files whose other half is hostile. */
#include "targets.h"

#include "files/giver.h"
#include "files/taker.h"

#include "base/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void warn(void *user, const char *text)
{
    (void)user;
    must(text != NULL);
}

static void progress(void *user, uint64_t done, uint64_t total, const char *name)
{
    (void)user;
    must((!total || done <= total) && name);
}

static void take_file(void *user, const struct transferred *t)
{
    (void)user;
    must(t->name != NULL);
}

static bool stopped(void *user)
{
    (void)user;
    return false;
}

static const struct observer observer = {NULL, warn, progress, take_file, stopped};

static bool is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

/* How many names a directory has, and whether each of them is `only` (NULL: any), or a partial file. */
static size_t count_names(const char *path, const char *only)
{
    size_t n = 0;
    DIR *d = opendir(path);
    must(d != NULL);
    for (struct dirent *e; (e = readdir(d));) {
        n += !is_dots(e->d_name);
        must(is_dots(e->d_name) || !only || strcmp(e->d_name, only) == 0 ||
             strncmp(e->d_name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0);
    }
    closedir(d);
    return n;
}

/* Runs one half in `base`/in, on these bytes; nothing comes to be beside that. */
static void in_place(int (*half)(int in, int out, const char *in_dir, struct ssx_error *err), const char *only,
                     const void *bytes, size_t n)
{
    char path[32], in_dir[64];
    const char *base = fuzz_place();
    struct ssx_error err = {0};
    int in = as_file(path, bytes, n), out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    snprintf(in_dir, sizeof in_dir, "%s/in", base);
    must(out >= 0 && mkdir(in_dir, 0700) == 0);
    int rc = half(in, out, in_dir, &err);
    must((rc != 0) == (err.text[0] != 0));
    must(count_names(base, "in") == 1);
    count_names(in_dir, only);
    close(in);
    close(out);
    must(tree_remove(in_dir) == 0);
}

/* As `sshexec put`'s sender, whom the node trusts to name what comes. */
static int take_all(int in, int out, const char *in_dir, struct ssx_error *err)
{
    struct tally tally = {0};
    char path[80];
    snprintf(path, sizeof path, "%s/", in_dir);
    return taker_run(in, out, path, NULL, &observer, &tally, err);
}

/* As the host of `sshexec get web/ other`, which may give no more than that. */
static int take_asked(int in, int out, const char *in_dir, struct ssx_error *err)
{
    static const char *const paths[] = {"/srv/web"};
    const struct asked asked = {paths, 1};
    struct tally tally = {0};
    char path[80];
    snprintf(path, sizeof path, "%s/", in_dir);
    return taker_run(in, out, path, &asked, &observer, &tally, err);
}

static int give(int in, int out, const char *in_dir, struct ssx_error *err)
{
    char path[80];
    const char *const paths[] = {path};
    struct tally tally = {0};
    snprintf(path, sizeof path, "%s/f", in_dir);
    FILE *f = fopen(path, "w");
    must(f && fputs("what is in it", f) >= 0 && fclose(f) == 0);
    snprintf(path, sizeof path, "%s", in_dir);
    return giver_run(in, out, paths, 1, &observer, &tally, err);
}

void run_taker(const void *bytes, size_t n) { in_place(take_all, NULL, bytes, n); }
void run_asked(const void *bytes, size_t n) { in_place(take_asked, "web", bytes, n); }
void run_giver(const void *bytes, size_t n) { in_place(give, NULL, bytes, n); }
