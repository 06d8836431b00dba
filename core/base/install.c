#include "base/install.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SSX_LIBDIR
#define SSX_LIBDIR "/usr/local/lib/sshexec"
#endif
#ifndef SSX_PREFIX
#define SSX_PREFIX "/usr/local"
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

/* What is `built` in a build tree, and `installed` elsewhere. */
static const char *place(char *out, size_t size, const char *built, const char *installed)
{
    char tree[PATH_MAX];
    bool is_built = own_tree(tree, sizeof tree);
    snprintf(out, size, "%s%s", is_built ? tree : installed, is_built ? built : "");
    return out;
}

const char *install_worker_run(char *out, size_t size)
{
    return place(out, size, "/bin/sshexec-worker-run", SSX_LIBDIR "/sshexec-worker-run");
}

const char *install_template(char *out, size_t size) { return place(out, size, "/template", SSX_PREFIX "/share/sshexec/template"); }

const char *install_prefix(char *out, size_t size) { return place(out, size, "", SSX_PREFIX); }

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
