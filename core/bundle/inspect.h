/* What a manifest says of a plugin, taken from the plugin itself. */
#ifndef BUNDLE_INSPECT_H
#define BUNDLE_INSPECT_H
#include "bundle/manifest.h"

/* Fills in type (but for its place among the variants) and variant from a plugin's image; nothing of it is run. name is
 * for messages. Returns 0, or -1 with err (SSX_ERROR_REFUSED): not a plugin, or one with a version or for a machine
 * that a manifest can't name. */
int bundle_inspect(struct manifest_type *type, struct variant *variant, const char *name, const void *image, size_t n,
                   struct ssx_error *err);

/* Whether an object of a bundle is the plugin that the manifest says: type, version, schema, machine, libc. Its size
 * and digest were checked before. Returns 0, or -1 with err. */
int bundle_check_object(const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err);

#endif
