/* The types that this command line knows: those of its settings and of its installation. */
#ifndef SSHEXEC_TYPES_H
#define SSHEXEC_TYPES_H
#include "fleet/types.h"

/* The registry of this sender. Returns 0 or -1. */
int types_registry(struct registry *out, const char *plugin_path, struct ssx_error *err);

/* As type_find, in the same directories. */
int type_open(struct type *out, const char *word, const char *plugin_path, struct ssx_error *err);

#endif
