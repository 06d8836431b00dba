/* Memory of one owner, such as a call: zeroed, never given back piece by piece, all of it gone at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>

struct arena_block;
/* A zeroed struct is an empty arena. */
struct arena {
    struct arena_block *blocks;
    size_t used, size; /* of the newest block */
    size_t held;       /* bytes of all blocks */
    size_t limit;      /* that `held` may not pass; 0: none */
};

/* n zeroed bytes, aligned for any type; NULL when memory has run out or the limit is reached. */
void *arena_alloc(struct arena *a, size_t n);

/* Gives everything back as arena_free does, but keeps one block for what comes next: an owner that has one call after
 * the other needn't ask for it each time. */
void arena_clear(struct arena *a);

/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *a);

#endif
