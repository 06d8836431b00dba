/* The registry: directories that hold NAME.so, searched in order. In each, MACHINE/NAME.so (as `uname -m`:
 * aarch64/hello.so) is the same for machines of that kind, and comes first on them. Only file names are looked at;
 * plugin.h judges what is in them. */
#ifndef WORKER_REGISTRY_H
#define WORKER_REGISTRY_H
#include <sshexec/error.h>
#include <stddef.h>

struct registry { char **directories; size_t count; };

/* The directories, first match wins: those of `path` (colon-separated, NULL: none), SSHEXEC_PLUGIN_PATH,
 * $XDG_DATA_HOME/sshexec/plugins (by default ~/.local/share/...), and `system` (the build's or the system's; NULL:
 * none). Empty parts are left out; a directory need not exist. Returns 0 or -1. */
int registry_open(struct registry *out, const char *path, const char *system, struct ssx_error *err);
void registry_close(struct registry *r);

/* The path of the plugin of that type (symbolic links resolved, allocated, *path), trusted all the way up (base/io.h);
 * the first match counts, trusted or not. Returns 0; or -1: an unknown type (SSX_ERROR_UNKNOWN_TYPE) names the nearest
 * types there are, and a name that isn't one (text_is_type_name) says so. */
int registry_find(const struct registry *r, const char *type, char **path, struct ssx_error *err);

/* The same for another machine: what the directory that registry_find finds the type in has in its folder of that name.
 * Returns 0, *path NULL where there is none; or -1 with err. */
int registry_find_for(const struct registry *r, const char *type, const char *machine, char **path, struct ssx_error *err);

/* Calls back for each type once, in order of names, with the path that registry_find would give (its trust is not
 * judged here). A non-zero return stops and is returned; -1 also if memory runs out. */
int registry_each(const struct registry *r, int (*visit)(void *user, const char *type, const char *path), void *user);

#endif
