#include "fleet/own.h"

#include "base/install.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

/* The build tree of the object that this very function is in; NULL: it is installed. tree holds PATH_MAX bytes. */
static const char *own_tree(char *tree)
{
    Dl_info info;
    bool known = dladdr((const void *)(size_t)own_tree, &info) && info.dli_fname && realpath(info.dli_fname, tree);
    return known && install_tree(tree, "lib") ? tree : NULL;
}

const char *own_agent(char *out, size_t size)
{
    char tree[PATH_MAX];
    return install_agent_of(out, size, own_tree(tree));
}

const char *own_plugin_dir(char *out, size_t size)
{
    char tree[PATH_MAX];
    return install_plugin_dir_of(out, size, own_tree(tree));
}
