#include "bundle/inspect.h"

#include "base/error.h"
#include "worker/elf.h"
#include "worker/plugin.h"

#include <stdio.h>
#include <string.h>

static void find_libc(struct variant *v, const struct plugin *plugin, const char *name, const void *image, size_t n)
{
    struct elf e;
    if (*plugin->needs_libc) {
        snprintf(v->libc, sizeof v->libc, "glibc-%s", plugin->needs_libc);
        return;
    }
    bool musl = elf_open(&e, name, image, n, NULL) == 0 && elf_load(&e, NULL) == 0 && elf_needs_musl(&e);
    snprintf(v->libc, sizeof v->libc, "%s", musl ? "musl" : "any");
}

/* All but the digest. */
static int inspect(struct manifest_type *type, struct variant *variant, const char *name, const void *image, size_t n,
                   struct ssx_error *err)
{
    struct plugin plugin;
    int rc = 0;
    *type = (struct manifest_type){0};
    *variant = (struct variant){.size = n};
    if (plugin_inspect(&plugin, name, image, n, NULL, NULL, err))
        return -1;
    const struct descriptor *d = &plugin.descriptor;
    if (!manifest_is_version(d->version))
        rc = error_set(
            err, SSX_ERROR_REFUSED,
            "%s: a bundle can't name its version \"%s\": letters, digits and . + ~ _ - only, the first a letter or a digit, %d at most",
            name, d->version, MANIFEST_VERSION_MAX);
    snprintf(type->name, sizeof type->name, "%s", d->type);
    snprintf(type->version, sizeof type->version, "%s", d->version);
    snprintf(type->schema, sizeof type->schema, "%s", d->schema_digest);
    snprintf(variant->arch, sizeof variant->arch, "%s", elf_machine_name(plugin.elf_machine));
    find_libc(variant, &plugin, name, image, n);
    plugin_dispose(&plugin);
    return rc;
}

int bundle_inspect(struct manifest_type *type, struct variant *variant, const char *name, const void *image, size_t n,
                   struct ssx_error *err)
{
    if (inspect(type, variant, name, image, n, err))
        return -1;
    digest_of(&variant->digest, image, n);
    return 0;
}

int bundle_check_object(const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err)
{
    struct manifest_type is;
    struct variant has;
    const struct manifest_type *says = manifest_type_of(m, v);
    char name[TYPE_NAME_MAX + 96];
    snprintf(name, sizeof name, "its %s for %s %s", says->name, v->arch, v->libc);
    if (inspect(&is, &has, name, image, n, err))
        return -1;
    if (strcmp(is.name, says->name) || strcmp(is.version, says->version) || strcmp(is.schema, says->schema) || strcmp(has.arch, v->arch) ||
        strcmp(has.libc, v->libc))
        return error_set(err, SSX_ERROR_REFUSED, "%s is not that: it is %s %s (schema %s) for %s %s", name, is.name, is.version, is.schema,
                         has.arch, has.libc);
    return 0;
}
