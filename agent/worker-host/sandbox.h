/* Protection, put on before the plugin is loaded: ABI.md, section 4, "Profile". */
#ifndef WORKER_HOST_SANDBOX_H
#define WORKER_HOST_SANDBOX_H
#include <stddef.h>

/* Applies the profile "default" or "none" to this process and those it will fork, and writes what was achieved
 * ("default rlimits no_new_privs") into out. */
void sandbox_apply(const char *profile, char *out, size_t size);

#endif
