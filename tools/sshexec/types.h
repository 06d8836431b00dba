/* A type as the command line names it: "hello", looked up by name, or "./hello.so", exactly that file. */
#ifndef SSHEXEC_TYPES_H
#define SSHEXEC_TYPES_H
#include "base/digest.h"
#include "worker/plugin.h"
#include "worker/registry.h"

#include <stdbool.h>

struct type {
    struct plugin plugin;
    struct digest digest;
    const void *image;               /* the file's bytes, mapped; NULL: only the node has them (node_type.h) */
    size_t size;
    bool exact;                      /* named by its path */
};

/* The registry of this sender. Returns 0 or -1. */
int types_registry(struct registry *out, const char *plugin_path, struct ssx_error *err);

/* Returns 0 (the caller calls type_close), or -1 with err: SSX_ERROR_UNKNOWN_TYPE names the nearest. */
int type_open(struct type *out, const char *word, const char *plugin_path, struct ssx_error *err);

/* Whether this machine can run it: architecture, libc, libraries. Returns 0, or -1 with err. */
int type_fits_here(const struct type *t, struct ssx_error *err);

void type_close(struct type *t);

#endif
