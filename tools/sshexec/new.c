/* sshexec new: a folder with a worker that builds, passes its test and runs, made from the template of this
 * installation. */
#include "tool.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/install.h"
#include "base/text.h"
#include "base/tree.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPLATE_MAX (64u << 10) /* of one file */
#define NAME_MAX_HERE 57         /* with "_result" behind it, it has to be a C name of at most 64 characters */

/* The files of the template. Those with a suffix have the worker's name in the folder. */
static const struct { const char *from, *suffix; mode_t mode; } files[] = {
    {"worker.h", ".h", 0644},  {"worker.c", ".c", 0644},  {"Makefile", NULL, 0644},  {"test.sh", NULL, 0755},  {"README.md", NULL, 0644},
};
#define FILES (sizeof files / sizeof *files)

struct maker {
    const char *name;
    char c_name[TYPE_NAME_MAX + 1], upper[TYPE_NAME_MAX + 1];
    char sdk[PATH_MAX];  /* for the Makefile; "" where pkg-config and PATH find it */
    char dir[PATH_MAX];  /* the folder in the making */
};

static int check_name(const char *name, struct ssx_error *err)
{
    if (!text_is_type_name(name) || strlen(name) > NAME_MAX_HERE)
        return error_set(
            err, SSX_ERROR_USAGE,
            "\"%s\" can't be a worker's name: lower-case letters, digits, - and _, a letter first, at most %d of them",
            name, NAME_MAX_HERE);
    if (strncmp(name, "ssx", 3) == 0 && (!name[3] || name[3] == '_' || name[3] == '-'))
        return error_set(err, SSX_ERROR_USAGE,
                         "\"%s\" can't be a worker's name: its C names would begin with ssx_, and those are the SDK's",
                         name);
    return 0;
}

/* Where a system's own compiler and shell look anyway, the Makefile names no place. */
static void find_sdk(struct maker *m)
{
    install_prefix(m->sdk, sizeof m->sdk);
    if (strcmp(m->sdk, "/usr") == 0 || strcmp(m->sdk, "/usr/local") == 0)
        m->sdk[0] = 0;
}

/* The name as C has it. A keyword is no matter: each C name made of it has something behind it. */
static void prepare(struct maker *m, const char *name)
{
    m->name = name;
    for (size_t i = 0; i <= strlen(name); i++) {
        m->c_name[i] = name[i] == '-' ? '_' : name[i];
        m->upper[i] = (char)toupper((unsigned char)m->c_name[i]);
    }
    find_sdk(m);
}

/* --- the files --- */

/* Adds the text with each @WORD@ of ours replaced. */
static int fill_in(struct buf *out, const struct maker *m, const char *at, size_t n)
{
    const struct {
        const char *word, *value;
    } known[] = {{"@NAME@", m->name}, {"@IDENT@", m->c_name}, {"@UPPER@", m->upper}, {"@SSHEXEC@", m->sdk}};
    for (const char *end = at + n; at < end;) {
        size_t i = 0, left = (size_t)(end - at);
        while (i < sizeof known / sizeof *known && (strlen(known[i].word) > left || memcmp(at, known[i].word, strlen(known[i].word))))
            i++;
        bool found = i < sizeof known / sizeof *known;
        found ? buf_add_text(out, known[i].value) : buf_add(out, at, 1);
        at += found ? strlen(known[i].word) : 1;
    }
    return out->failed ? -1 : 0;
}

static int make_file(const struct maker *m, size_t i, struct ssx_error *err)
{
    char from[PATH_MAX], to[PATH_MAX + NAME_MAX];
    struct buf text = {0}, filled = {0};
    const char *suffix = files[i].suffix;
    size_t n = strlen(install_template(from, sizeof from));
    snprintf(from + n, sizeof from - n, "/%s", files[i].from);
    snprintf(to, sizeof to, "%s/%s%s", m->dir, suffix ? m->name : files[i].from, suffix ? suffix : "");
    int rc = file_read(&text, from, TEMPLATE_MAX, err);
    if (rc == 0 && fill_in(&filled, m, (const char *)buf_data(&text), buf_length(&text)))
        rc = error_set(err, SSX_ERROR_SYSTEM, "can't make %s: out of memory", to);
    if (rc == 0)
        rc = file_write_atomic(to, buf_data(&filled), buf_length(&filled), files[i].mode, err);
    buf_free(&text);
    buf_free(&filled);
    return rc;
}

/* Made beside, and put in its place when all of it is there: nothing half-made stays, and nothing that exists is
 * touched, for mkdir fails on it and rename replaces only the empty folder that mkdir made. */
static int make_folder(struct maker *m, struct ssx_error *err)
{
    mode_t mask = umask(0);
    umask(mask);
    snprintf(m->dir, sizeof m->dir, "%s.XXXXXX", m->name);
    if (mkdir(m->name, 0777))
        return errno == EEXIST ? error_set(err, SSX_ERROR_USAGE, "%s exists already, and is left as it is", m->name)
                               : error_system(err, "can't make the folder %s here", m->name);
    int rc = mkdtemp(m->dir) ? 0 : error_system(err, "can't make the folder %s here", m->name);
    for (size_t i = 0; rc == 0 && i < FILES; i++)
        rc = make_file(m, i, err);
    if (rc == 0 && (chmod(m->dir, 0777 & ~mask) || rename(m->dir, m->name)))
        rc = error_system(err, "can't make the folder %s here", m->name);
    if (rc) {
        tree_remove(m->dir);
        rmdir(m->name);
    }
    return rc;
}

int command_new(int argc, char **argv)
{
    static struct maker m; /* large */
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(&s, 0, "usage: sshexec new NAME\n\n"
                   "Makes the folder NAME with a worker of that name: its lists, its code, a Makefile, a test and a\n"
                   "README. It builds, passes its test and runs as it is: cd NAME && make test",
                   argc, argv, &words, &count, &rest, &code))
        return code;
    if (s.help || count != 1 || rest)
        error_set(&err, SSX_ERROR_USAGE, "new takes one name: sshexec new NAME");
    if (err.code || check_name(words[0], &err))
        return tool_complain(&err);
    prepare(&m, words[0]);
    if (make_folder(&m, &err))
        return tool_complain(&err);
    printf("%s: made. Next: cd %s && make test\n", m.name, m.name);
    return 0;
}
