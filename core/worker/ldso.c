#include "worker/ldso.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/pattern.h"
#include "worker/elf.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONF_MAX = 64 << 10, CONF_DEPTH = 4, CONF_FILES = 256 };

/* Whether a file is an ELF object that this machine's programs can load. */
static bool is_library(const char *path)
{
    unsigned char head[sizeof(Elf64_Ehdr)];
    struct elf e;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    ssize_t n = regular ? read(fd, head, sizeof head) : -1;
    fd_close(&fd);
    return n == (ssize_t)sizeof head && elf_open(&e, path, head, (size_t)n, NULL) == 0 && e.machine == elf_own_machine();
}

static bool in_directory(const char *directory, size_t n, const char *name)
{
    char path[PATH_MAX];
    return n && (size_t)snprintf(path, sizeof path, "%.*s/%s", (int)n, directory, name) < sizeof path && is_library(path);
}

static bool in_path(const char *path, const char *separators, const char *name)
{
    while (path && *path) {
        size_t n = strcspn(path, separators);
        if (in_directory(path, n, name))
            return true;
        path += n + (path[n] != 0);
    }
    return false;
}

/* --- /etc/ld.so.conf: a directory a line, `include PATTERN`, `#` comments --- */

struct conf { const char *name; unsigned depth, files; bool found; };

static void search_conf(struct conf *c, const char *path);

/* A pattern in its last part only, as ldconfig's own files have it. Not glob(3), which brings name services into a
 * static program. */
static void search_included(struct conf *c, const char *pattern)
{
    char directory[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    if ((size_t)snprintf(directory, sizeof directory, "%s%s", *pattern == '/' ? "" : "/etc/", pattern) >= sizeof directory)
        return;
    char *last = strrchr(directory, '/');
    *last++ = 0;
    DIR *dir = opendir(*directory ? directory : "/");
    for (struct dirent *entry; dir && !c->found && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        /* fnmatch(3) would be a fiftieth of the agent */
        if (entry->d_name[0] != '.' && pattern_list_matches(last, strlen(last), entry->d_name, false))
            search_conf(c, path);
    }
    if (dir)
        closedir(dir);
}

static void search_line(struct conf *c, char *line)
{
    line[strcspn(line, "#")] = 0;
    char *save, *word = strtok_r(line, " \t\r", &save);
    if (word && strcmp(word, "include") == 0) {
        while (!c->found && (word = strtok_r(NULL, " \t\r", &save)))
            search_included(c, word);
        return;
    }
    for (; word && !c->found; word = strtok_r(NULL, " \t\r,:", &save))
        c->found = *word == '/' && in_path(word, ":,", c->name);
}

static void search_conf(struct conf *c, const char *path)
{
    struct buf text = {0};
    if (c->depth == CONF_DEPTH || c->files++ >= CONF_FILES)
        return;
    c->depth++;
    if (file_read(&text, path, CONF_MAX, NULL) == 0 && buf_add(&text, "", 1) == 0) {
        char *save, *line = strtok_r((char *)buf_data(&text), "\n", &save);
        for (; line && !c->found; line = strtok_r(NULL, "\n", &save))
            search_line(c, line);
    }
    buf_free(&text);
    c->depth--;
}

bool ldso_has_library(const char *name, const char *first)
{
    char usual[256];
    struct conf c = {.name = name};
    const char *machine = elf_machine_name(elf_own_machine());
    snprintf(usual, sizeof usual, "/lib/%s-linux-gnu:/usr/lib/%s-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib", machine, machine);
    if (in_path(first, ":", name) || in_path(getenv("LD_LIBRARY_PATH"), ":;", name) || in_path(usual, ":", name))
        return true;
    search_conf(&c, "/etc/ld.so.conf");
    return c.found;
}

int ldso_directory_is_safe(const char *directory, struct ssx_error *err)
{
    char part[PATH_MAX];
    struct stat st;
    bool made = false;
    if (*directory != '/' || (size_t)snprintf(part, sizeof part, "%s", directory) >= sizeof part)
        return error_set(err, SSX_ERROR_REFUSED, "won't use %.200s: it is no absolute path of a usable length", directory);
    for (made = stat(part, &st) == 0; !made && part[1]; made = stat(part, &st) == 0) {
        char *slash = strrchr(part, '/');
        slash[slash == part] = 0;
    }
    if (path_is_trusted(part, err))
        return -1;
    if (made && st.st_mode & (S_IWGRP | S_IWOTH)) /* a sticky directory: good enough for a file of ours, but others can add to it */
        return error_set(err, SSX_ERROR_REFUSED, "won't use %.200s: others can write to %.200s", directory, part);
    return 0;
}
