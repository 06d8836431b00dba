#include "fleet/types.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int find(char **path, const char *type, const char *plugin_path, const char *system, struct ssx_error *err)
{
    struct registry registry;
    if (registry_open(&registry, plugin_path, system, err))
        return -1;
    int rc = registry_find(&registry, type, path, err);
    registry_close(&registry);
    return rc;
}

static int map(struct type *out, const char *path, struct ssx_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st)) {
        error_system(err, "can't read %s", path);
        if (err && err->code)
            err->code = SSX_ERROR_USAGE;
        fd_close(&fd);
        return -1;
    }
    void *at = S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= PLUGIN_SIZE_MAX ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    fd_close(&fd);
    if (at == MAP_FAILED)
        return error_set(err, SSX_ERROR_REFUSED, "%s is not a plugin: it is %s", path,
                         !S_ISREG(st.st_mode) ? "not a regular file" : st.st_size ? "too large" : "empty");
    out->image = at;
    out->size = (size_t)st.st_size;
    return 0;
}

int type_find(struct type *out, const char *word, const char *plugin_path, const char *system, struct ssx_error *err)
{
    char *path = NULL;
    memset(out, 0, sizeof *out);
    out->exact = strchr(word, '/') != NULL;
    int rc = out->exact ? 0 : find(&path, word, plugin_path, system, err);
    const char *file = out->exact ? word : path;
    if (rc == 0)
        rc = map(out, file, err);
    if (rc == 0 && plugin_inspect(&out->plugin, file, out->image, out->size, NULL, NULL, err)) {
        munmap((void *)out->image, out->size);
        rc = -1;
    }
    if (rc == 0)
        digest_of(&out->digest, out->image, out->size);
    free(path);
    return rc;
}

int type_fits_here(const struct type *t, struct ssx_error *err)
{
    char libc[ELF_LIBC_MAX];
    struct plugin again;
    elf_host_libc(libc);
    struct plugin_needs needs = {.elf_machine = elf_own_machine(), .libc_version = libc, .libraries = true};
    if (plugin_inspect(&again, t->plugin.path, t->image, t->size, &needs, NULL, err))
        return -1;
    plugin_dispose(&again);
    return 0;
}

void type_close(struct type *t)
{
    plugin_dispose(&t->plugin);
    if (t->image)
        munmap((void *)t->image, t->size);
}
