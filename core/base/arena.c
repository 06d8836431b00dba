#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (32u << 10)      /* the most in one block that isn't a single large object */
#define FIRST_BLOCK (4u << 10) /* a call with a few strings needs no more; memory of thousands of runs adds up */

struct arena_block { struct arena_block *next; alignas(max_align_t) unsigned char bytes[]; };

static int add_block(struct arena *a, size_t n)
{
    size_t usual = a->held < BLOCK ? FIRST_BLOCK : BLOCK, size = n > usual ? n : usual;
    if (a->limit && (size > a->limit || a->held > a->limit - size))
        return -1;
    struct arena_block *block = calloc(1, sizeof *block + size);
    if (!block)
        return -1;
    block->next = a->blocks;
    a->blocks = block;
    a->size = size;
    a->used = 0;
    a->held += size;
    return 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if ((!a->blocks || n > a->size - a->used) && add_block(a, n))
        return NULL;
    void *at = a->blocks->bytes + a->used;
    a->used += n;
    return at;
}

void arena_clear(struct arena *a)
{
    struct arena_block *only = a->blocks;
    if (!only || only->next || a->size > FIRST_BLOCK) {
        arena_free(a);
        return;
    }
    memset(only->bytes, 0, a->used);
    a->used = 0;
}

void arena_free(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = a->size = a->held = 0;
}
