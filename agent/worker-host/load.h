/* Loads a plugin into this process and holds it to its ABI: its constructors run here. */
#ifndef WORKER_HOST_LOAD_H
#define WORKER_HOST_LOAD_H
#include "worker.h"

struct load_refusal { const char *reason; char text[480]; }; /* as END refused has them */

/* Fills in the worker from the file at `path`; w->type is what its note names. Returns 0, or -1 with why. */
int worker_load(struct worker *w, const char *path, struct load_refusal *why);

#endif
