#include "worker/plugin.h"

#include "base/error.h"
#include "base/io.h"
#include "worker/ldso.h"

#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define NOTE_SECTION ".note.sshexec"
#define NOTE_OWNER "sshexec"
#define NOTE_TYPE 1

/* One inspection, step by step. */
struct inspection {
    struct plugin *plugin;
    struct elf elf;
    const char *name;
    const struct plugin_needs *needs;
    enum plugin_problem problem;
    struct ssx_error *err;
};

static int refuse(struct inspection *i, enum plugin_problem problem, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int refuse(struct inspection *i, enum plugin_problem problem, const char *format, ...)
{
    char why[SSX_ERROR_TEXT];
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    i->problem = problem;
    return error_set(i->err, SSX_ERROR_REFUSED, "%s %s", i->name, why);
}

/* Another machine comes before all else that could be wrong: it is what a person must be told first. */
static int judge_elf(struct inspection *i, const void *image, size_t n)
{
    struct ssx_error why = {0};
    i->problem = PLUGIN_NOT_ELF;
    bool opened = elf_open(&i->elf, i->name, image, n, &why) == 0;
    unsigned own = i->needs->elf_machine;
    if ((opened || i->elf.foreign) && own && i->elf.machine != own)
        return refuse(i, PLUGIN_WRONG_ARCH, "is for %s, this host is %s", elf_machine_name(i->elf.machine), elf_machine_name(own));
    if (!opened) {
        i->problem = i->elf.foreign ? PLUGIN_WRONG_ARCH : PLUGIN_NOT_ELF;
        return error_set(i->err, why.code, "%s", why.text);
    }
    i->plugin->elf_machine = i->elf.machine;
    return elf_load(&i->elf, i->err);
}

static int judge_symbols(struct inspection *i)
{
    static const char *const symbols[] = {"run", "ssx_plugin"};
    for (size_t s = 0; s < sizeof symbols / sizeof *symbols; s++)
        if (!elf_exports(&i->elf, symbols[s]))
            return refuse(i, PLUGIN_NOT_ELF,
                          "is no plugin: it exports no symbol `%s` (SSX_WORKER of <sshexec/worker.h> makes it)",
                          symbols[s]);
    return 0;
}

/* The version is judged before the text, for a newer ABI may say things that this reader doesn't know. */
static int judge_abi(struct inspection *i, const struct buf *note)
{
    unsigned major, minor;
    if (descriptor_abi(buf_data(note), buf_length(note), &major, &minor))
        return 0;
    if (major == DESCRIPTOR_ABI_MAJOR && minor <= DESCRIPTOR_ABI_MINOR)
        return 0;
    return refuse(
        i, PLUGIN_WRONG_ABI,
        "was built for plugin ABI %u.%u, this host speaks %d.%d: rebuild it with this version's <sshexec/worker.h>",
        major, minor, DESCRIPTOR_ABI_MAJOR, DESCRIPTOR_ABI_MINOR);
}

static int judge_note(struct inspection *i)
{
    struct buf note = {0};
    int rc = elf_notes(&i->elf, &note, NOTE_SECTION, NOTE_OWNER, NOTE_TYPE, DESCRIPTOR_NOTE_MAX, i->err);
    if (rc == 0 && buf_length(&note) == 0)
        rc = refuse(i, PLUGIN_NOT_ELF,
                    "is no plugin: it has no descriptor (section " NOTE_SECTION
                    ", from SSX_WORKER of <sshexec/worker.h>)");
    if (rc == 0)
        rc = judge_abi(i, &note);
    if (rc == 0 && descriptor_parse(&i->plugin->descriptor, buf_data(&note), buf_length(&note), i->err))
        rc = error_prefix(i->err, "%s", i->name);
    buf_free(&note);
    return rc;
}

static int judge_libc(struct inspection *i)
{
    const char *has = i->needs->libc_version;
    char *asks = i->plugin->needs_libc;
    elf_libc_needed(&i->elf, asks);
    if (!has || !*has)
        return 0;
    if (strcmp(has, "musl") && elf_needs_musl(&i->elf))
        return refuse(i, PLUGIN_NEEDS_LIBC, "is for musl, this host has glibc %s", has);
    if (!*asks)
        return 0;
    if (strcmp(has, "musl") == 0)
        return refuse(i, PLUGIN_NEEDS_LIBC, "needs glibc %s, this host has musl", asks);
    if (elf_libc_compare(asks, has) > 0)
        return refuse(i, PLUGIN_NEEDS_LIBC, "needs GLIBC_%s, this host has %s: build it on a system as old as the host", asks, has);
    return 0;
}

/* One directory of an RPATH or a RUNPATH. */
static int judge_directory(struct inspection *i, const char *at, size_t n)
{
    char directory[4096];
    struct ssx_error why = {0};
    if (n >= sizeof directory)
        return refuse(i, PLUGIN_NEEDS_LIBRARY, "has a directory of %zu bytes in its RPATH", n);
    memcpy(directory, at, n);
    directory[n] = 0;
    if (*directory != '/' || strchr(directory, '$'))
        return refuse(
            i, PLUGIN_NEEDS_LIBRARY,
            "looks for libraries in '%s' (its RPATH or RUNPATH), but a plugin travels alone: link them statically, or name"
            " an absolute directory",
            directory);
    if (i->needs->libraries && ldso_directory_is_safe(directory, &why))
        return refuse(i, PLUGIN_NEEDS_LIBRARY, "looks for libraries in %s (its RPATH or RUNPATH): %s", directory, why.text);
    return 0;
}

/* The search path of the object as ld.so sees it: RPATH counts only where there is no RUNPATH. */
static const char *library_path(const struct elf *e)
{
    size_t at = 0;
    const char *path = elf_next_string(e, DT_RUNPATH, &at);
    at = 0;
    return path ? path : elf_next_string(e, DT_RPATH, &at);
}

static int judge_library_path(struct inspection *i)
{
    const char *path = library_path(&i->elf);
    while (path && *path) {
        size_t n = strcspn(path, ":");
        if (judge_directory(i, path, n))
            return -1;
        path += n + (path[n] != 0);
    }
    return 0;
}

/* musl's loader is all of these itself, whatever follows the dot, and looks for none of them. */
static bool is_in_musl(const char *library)
{
    static const char *const names[] = {"libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(library, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static int judge_libraries(struct inspection *i)
{
    size_t at = 0;
    bool musl = i->needs->libc_version && strcmp(i->needs->libc_version, "musl") == 0;
    for (const char *library; (library = elf_next_string(&i->elf, DT_NEEDED, &at));) {
        if (strchr(library, '/'))
            return refuse(i, PLUGIN_NEEDS_LIBRARY,
                          "needs '%s' by its path, but a plugin travels alone: link with -lNAME, or statically",
                          library);
        if (musl && is_in_musl(library))
            continue;
        if (i->needs->libraries && !ldso_has_library(library, library_path(&i->elf)))
            return refuse(i, PLUGIN_NEEDS_LIBRARY, "needs %s, which this host lacks: install it there, or link it statically", library);
    }
    return 0;
}

int plugin_inspect(struct plugin *out, const char *name, const void *image, size_t n, const struct plugin_needs *needs,
                   enum plugin_problem *problem, struct ssx_error *err)
{
    static const struct plugin_needs none;
    struct inspection i = {.plugin = out, .name = name, .needs = needs ? needs : &none, .err = err};
    *out = (struct plugin){.path = strdup(name)};
    int rc = out->path ? 0 : error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", name);
    if (rc || judge_elf(&i, image, n) || judge_symbols(&i) || judge_note(&i) || judge_libc(&i) ||
        judge_library_path(&i) || judge_libraries(&i)) {
        plugin_dispose(out);
        rc = -1;
    }
    if (problem)
        *problem = rc ? i.problem : PLUGIN_OK;
    return rc;
}

/* The file's size, or -1 with err for what is no regular file of a plausible size. */
static int64_t size_of(int fd, const char *path, struct ssx_error *err)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return error_system(err, "can't read the plugin %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, SSX_ERROR_REFUSED, "can't read the plugin %s: it is no regular file", path);
    if (st.st_size > PLUGIN_SIZE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "%s is larger than the limit of %u bytes for a plugin", path, PLUGIN_SIZE_MAX);
    return st.st_size;
}

int plugin_open(struct plugin *out, const char *path, const struct plugin_needs *needs, enum plugin_problem *problem, struct ssx_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int64_t size = size_of(fd, path, err);
    void *image = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (image == MAP_FAILED)
        size = error_system(err, "can't read the plugin %s", path);
    fd_close(&fd);
    if (size < 0) {
        *out = (struct plugin){0};
        if (problem)
            *problem = PLUGIN_UNREADABLE;
        return -1;
    }
    int rc = plugin_inspect(out, path, image ? image : "", (size_t)size, needs, problem, err);
    if (image)
        munmap(image, (size_t)size);
    return rc;
}

void plugin_dispose(struct plugin *p)
{
    free(p->path);
    descriptor_dispose(&p->descriptor);
    *p = (struct plugin){0};
}

const char *plugin_problem_reason(enum plugin_problem problem)
{
    static const char *const reasons[] = {
        [PLUGIN_OK] = "",
        [PLUGIN_NOT_ELF] = "elf",
        [PLUGIN_WRONG_ARCH] = "arch",
        [PLUGIN_NEEDS_LIBC] = "libc",
        [PLUGIN_NEEDS_LIBRARY] = "library",
        [PLUGIN_WRONG_ABI] = "abi",
        [PLUGIN_UNREADABLE] = "object",
    };
    return reasons[problem];
}
