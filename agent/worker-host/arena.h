/* Memory of one call: zeroed, never given back piece by piece, all of it gone with the call. */
#ifndef WORKER_HOST_ARENA_H
#define WORKER_HOST_ARENA_H
#include <stddef.h>

struct arena_block;
struct arena { struct arena_block *blocks; size_t used, size; };

/* n zeroed bytes, aligned for any type; NULL when memory has run out. */
void *arena_alloc(struct arena *a, size_t n);

#endif
