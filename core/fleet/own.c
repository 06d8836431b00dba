#include "fleet/own.h"

#include "base/install.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>

/* Whether this very function is in the program itself, not in a library: then the parts are the program's. Its headers
 * lie at the start of its first page. */
static bool is_program(const Dl_info *info) { return getauxval(AT_PHDR) - (unsigned long)(uintptr_t)info->dli_fbase < 4096; }

/* The build tree of the object that this very function is in; NULL: it is installed. tree holds PATH_MAX bytes. */
static const char *own_tree(char *tree)
{
    Dl_info info;
    if (!dladdr((const void *)(size_t)own_tree, &info) || !info.dli_fname)
        return NULL;
    const char *file = is_program(&info) ? "/proc/self/exe" : info.dli_fname, *room = is_program(&info) ? "bin" : "lib";
    return realpath(file, tree) && install_tree(tree, room) ? tree : NULL;
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
