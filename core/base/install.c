#include "base/install.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SSX_LIBDIR
#define SSX_LIBDIR "/usr/local/lib/sshexec"
#endif

/* Cuts the last part off a path. Returns whether it was `name`, or whatever it was where that is NULL. */
static bool cut(char *path, const char *name)
{
    char *slash = strrchr(path, '/');
    if (!slash || (name && strcmp(slash + 1, name)))
        return false;
    *slash = 0;
    return true;
}

bool install_tree(char *path, const char *folder)
{
    char probe[PATH_MAX + 16];
    if (!cut(path, NULL) || !cut(path, folder))
        return false;
    snprintf(probe, sizeof probe, "%s/plugins", path);
    return access(probe, X_OK) == 0;
}

const char *install_plugin_dir_of(char *out, size_t size, const char *tree)
{
    snprintf(out, size, "%s/plugins", tree ? tree : SSX_LIBDIR);
    return out;
}

const char *install_agent_of(char *out, size_t size, const char *tree)
{
    snprintf(out, size, "%s%s/sshexec-agent", tree ? tree : SSX_LIBDIR, tree ? "/bin" : "");
    return out;
}

/* The build tree of this program, into out; NULL: it is installed. */
static const char *own_tree(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    out[n > 0 ? n : 0] = 0;
    return install_tree(out, "bin") ? out : NULL;
}

const char *install_plugin_dir(char *out, size_t size)
{
    char tree[PATH_MAX];
    return install_plugin_dir_of(out, size, own_tree(tree, sizeof tree));
}

const char *install_agent(char *out, size_t size)
{
    char tree[PATH_MAX];
    return install_agent_of(out, size, own_tree(tree, sizeof tree));
}

const char *install_xdg_dir(char *out, size_t size, const char *variable, const char *fallback)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base && base[0] == '/')
        snprintf(out, size, "%s/sshexec", base);
    else if (home && home[0] == '/')
        snprintf(out, size, "%s/%s/sshexec", home, fallback);
    else
        return NULL;
    return out;
}
