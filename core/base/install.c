#include "base/install.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SSX_LIBDIR
#define SSX_LIBDIR "/usr/local/lib/sshexec"
#endif

/* "DIR/.." for a program at DIR/bin/x, if DIR/plugins is there too: a build tree. */
static int build_tree(char *out, size_t size)
{
    char probe[PATH_MAX + 16];
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0)
        return 0;
    out[n] = 0;
    char *name = strrchr(out, '/');
    if (!name)
        return 0;
    *name = 0;
    char *bin = strrchr(out, '/');
    if (!bin || strcmp(bin, "/bin"))
        return 0;
    *bin = 0;
    snprintf(probe, sizeof probe, "%s/plugins", out);
    return access(probe, X_OK) == 0;
}

const char *install_plugin_dir(char *out, size_t size)
{
    char tree[PATH_MAX];
    if (build_tree(tree, sizeof tree))
        snprintf(out, size, "%s/plugins", tree);
    else
        snprintf(out, size, "%s/plugins", SSX_LIBDIR);
    return out;
}

const char *install_agent(char *out, size_t size)
{
    char tree[PATH_MAX];
    if (build_tree(tree, sizeof tree))
        snprintf(out, size, "%s/bin/sshexec-agent", tree);
    else
        snprintf(out, size, "%s/sshexec-agent", SSX_LIBDIR);
    return out;
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
