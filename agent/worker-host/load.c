#include "load.h"

#include "old_glibc.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int refuse(struct load_refusal *why, const char *reason, const char *text)
{
    why->reason = reason;
    snprintf(why->text, sizeof why->text, "%s", text);
    return -1;
}

static int check_abi(const struct worker *w, struct load_refusal *why)
{
    char text[256];
    const struct ssx_plugin *p = w->plugin;
    if (p->abi_major != SSX_ABI_MAJOR || p->abi_minor > SSX_ABI_MINOR) {
        snprintf(text, sizeof text, "the plugin is built for ABI %d.%d, this host speaks %d.%d", p->abi_major,
                 p->abi_minor, SSX_ABI_MAJOR, SSX_ABI_MINOR);
        return refuse(why, "abi", text);
    }
    if (p->size < (p->abi_minor ? sizeof *p : offsetof(struct ssx_plugin, item))) /* 1.0 ends where 1.1 goes on */
        return refuse(why, "abi", "the plugin's ssx_plugin is smaller than its ABI version says");
    if (!p->name || strcmp(p->name, w->type)) {
        snprintf(text, sizeof text, "the plugin's note names %s, its ssx_plugin %s", w->type, p->name ? p->name : "nothing");
        return refuse(why, "abi", text);
    }
    return 0;
}

/* The loader's message starts with the name of the file, which may be a descriptor's and tell nobody anything. */
static const char *without_path(const char *text, const char *path)
{
    size_t n = strlen(path);
    return strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

int worker_load(struct worker *w, const char *path, struct load_refusal *why)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return refuse(why, "load", without_path(dlerror(), path));
    w->plugin = dlsym(library, "ssx_plugin");
    void *run = dlsym(library, "run");
    if (!w->plugin || !run)
        return refuse(why, "abi", "the plugin exports no run and ssx_plugin");
    memcpy(&w->run, &run, sizeof run);
    if (check_abi(w, why))
        return -1;
    if (w->plugin->abi_minor) { /* none of this was there in 1.0 */
        w->item = w->plugin->item ? w->plugin->item() : NULL;
        w->returns_state = w->plugin->traits & SSX_RETURNS_STATE;
    }
    return 0;
}
