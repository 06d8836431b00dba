#include "fleet/types.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A plugin's file, mapped. */
static int map(const void **out, size_t *size, const char *path, struct ssx_error *err)
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
    void *at = S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= PLUGIN_SIZE_MAX
                   ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                   : MAP_FAILED;
    fd_close(&fd);
    if (at == MAP_FAILED)
        return error_set(err, SSX_ERROR_REFUSED, "%s is not a plugin: it is %s", path,
                         !S_ISREG(st.st_mode) ? "not a regular file" : st.st_size ? "too large" : "empty");
    *out = at;
    *size = (size_t)st.st_size;
    return 0;
}

static int open_file(struct type *out, const char *file, struct ssx_error *err)
{
    if (map(&out->image, &out->size, file, err))
        return -1;
    if (plugin_inspect(&out->plugin, file, out->image, out->size, NULL, NULL, err)) {
        munmap((void *)out->image, out->size);
        out->image = NULL;
        return -1;
    }
    digest_of(&out->digest, out->image, out->size);
    return 0;
}

/* Whether what the file holds is the same type at the same version, with the same fields: the state is made for
 * those. */
static bool is_variant(const struct type *t, const struct plugin *p, const char *machine)
{
    const struct descriptor *is = &p->descriptor, *says = &t->plugin.descriptor;
    return strcmp(is->type, says->type) == 0 && strcmp(is->version, says->version) == 0 &&
           strcmp(is->schema_digest, says->schema_digest) == 0 &&
           strcmp(elf_machine_name(p->elf_machine), machine) == 0;
}

/* One that isn't, say of an older build, is not there: a node of that machine then says for which one the plugin is. */
static int add_variant(struct type *t, const char *file, const char *machine, struct ssx_error *err)
{
    struct client_variant v = {.machine = machine};
    struct plugin plugin;
    if (map(&v.object, &v.object_size, file, err))
        return -1;
    bool read = plugin_inspect(&plugin, file, v.object, v.object_size, NULL, NULL, NULL) == 0;
    if (read && is_variant(t, &plugin, machine)) {
        digest_of(&v.digest, v.object, v.object_size);
        t->variants[t->variant_count++] = v;
    } else {
        munmap((void *)v.object, v.object_size);
    }
    if (read)
        plugin_dispose(&plugin);
    return 0;
}

static int find_variants(struct type *t, const struct registry *r, const char *word, struct ssx_error *err)
{
    size_t machines = 0;
    while (elf_plugin_machines[machines])
        machines++;
    if (!(t->variants = calloc(machines, sizeof *t->variants)))
        return error_set(err, SSX_ERROR_SYSTEM, "can't find %s: out of memory", word);
    for (size_t i = 0; i < machines; i++) {
        char *path = NULL;
        int rc = strcmp(elf_plugin_machines[i], elf_machine_name(t->plugin.elf_machine)) == 0 ? 0
            : registry_find_for(r, word, elf_plugin_machines[i], &path, err);
        if (rc == 0 && path)
            rc = add_variant(t, path, elf_plugin_machines[i], err);
        free(path);
        if (rc)
            return -1;
    }
    return 0;
}

static int find(struct type *out, const char *word, const struct registry *r, struct ssx_error *err)
{
    char *path;
    if (registry_find(r, word, &path, err))
        return -1;
    int rc = open_file(out, path, err);
    free(path);
    if (rc == 0 && find_variants(out, r, word, err)) {
        type_close(out);
        memset(out, 0, sizeof *out);
        return -1;
    }
    return rc;
}

int type_find(struct type *out, const char *word, const char *plugin_path, const char *system, struct ssx_error *err)
{
    struct registry registry;
    memset(out, 0, sizeof *out);
    out->exact = strchr(word, '/') != NULL;
    if (out->exact)
        return open_file(out, word, err);
    if (registry_open(&registry, plugin_path, system, err))
        return -1;
    int rc = find(out, word, &registry, err);
    registry_close(&registry);
    return rc;
}

void type_offer(const struct type *t, struct client_request *out)
{
    if (!t->image)
        return;
    out->digest = &t->digest;
    out->object = t->image;
    out->object_size = t->size;
    out->variants = t->variants;
    out->variant_count = t->variant_count;
    out->exact = t->exact;
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
    for (size_t i = 0; i < t->variant_count; i++)
        munmap((void *)t->variants[i].object, t->variants[i].object_size);
    free(t->variants);
    plugin_dispose(&t->plugin);
    if (t->image)
        munmap((void *)t->image, t->size);
}
