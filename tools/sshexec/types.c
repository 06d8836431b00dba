#include "types.h"

#include "base/install.h"

#include <limits.h>

int types_registry(struct registry *out, const char *plugin_path, struct ssx_error *err)
{
    char dir[PATH_MAX];
    return registry_open(out, plugin_path, install_plugin_dir(dir, sizeof dir), err);
}

int type_open(struct type *out, const char *word, const char *plugin_path, struct ssx_error *err)
{
    char dir[PATH_MAX];
    return type_find(out, word, plugin_path, install_plugin_dir(dir, sizeof dir), err);
}
