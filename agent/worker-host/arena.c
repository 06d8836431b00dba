#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK (32u << 10) /* a call with a few strings needs one */

struct arena_block { struct arena_block *next; alignas(max_align_t) unsigned char bytes[]; };

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!a->blocks || n > a->size - a->used) {
        size_t size = n > BLOCK ? n : BLOCK;
        struct arena_block *block = calloc(1, sizeof *block + size);
        if (!block)
            return NULL;
        block->next = a->blocks;
        a->blocks = block;
        a->size = size;
        a->used = 0;
    }
    void *at = a->blocks->bytes + a->used;
    a->used += n;
    return at;
}
