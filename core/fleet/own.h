/* Where the parts are that came with this library, whatever program has loaded it. */
#ifndef FLEET_OWN_H
#define FLEET_OWN_H
#include <stddef.h>

/* The installed agent's path, and the directory of plugins, into out: of the build tree where the library lies in one,
 * else below the prefix. Return out. */
const char *own_agent(char *out, size_t size);
const char *own_plugin_dir(char *out, size_t size);

#endif
