/* A type as a person or a program names it: "hello", looked up by name, or "./hello.so", exactly that file. */
#ifndef FLEET_TYPES_H
#define FLEET_TYPES_H
#include "base/digest.h"
#include "client/client.h"
#include "worker/plugin.h"
#include "worker/registry.h"

#include <stdbool.h>

struct type {
    struct plugin plugin;
    struct digest digest;
    const void *image;               /* the file's bytes, mapped; NULL: only the node has them */
    size_t size;
    bool exact;                      /* named by its path */
    struct client_variant *variants; /* of the same type, version and schema, for other machines; mapped as the image */
    size_t variant_count;
};

/* Finds it, below plugin_path and the usual directories, of which `system` is the last (registry_open), and by name
 * also for other machines. Returns 0 (the caller calls type_close), or -1 with err: SSX_ERROR_UNKNOWN_TYPE names the
 * nearest. */
int type_find(struct type *out, const char *word, const char *plugin_path, const char *system, struct ssx_error *err);

/* Whether this machine can run it: architecture, libc, libraries. Returns 0, or -1 with err. */
int type_fits_here(const struct type *t, struct ssx_error *err);

/* Offers its plugin, for each machine, with a call; borrowed from t. Nothing where only the node has it. */
void type_offer(const struct type *t, struct client_request *out);

void type_close(struct type *t);

#endif
