#include "fleet/gather.h"

#include "base/digest.h"
#include "base/error.h"
#include "fleet/spool.h"

#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct group { struct digest digest; struct spooled *output; size_t count, first, place; };

struct host {
    struct spooled *output;  /* until it has ended; NULL: said nothing yet */
    crypto_hash_sha256_state *hash;
    size_t group;            /* + 1; 0: it has not ended */
};

struct gather {
    struct host *hosts;
    size_t count;
    struct group *groups;
    size_t group_count, group_capacity;
    size_t *table, table_size;       /* group numbers + 1, by digest; a power of two */
    struct spool *spool;
    struct gather_group *shown;      /* of the last gather_groups */
    size_t *members, *order;
};

int gather_new(struct gather **out, size_t count, size_t memory, struct ssx_error *err)
{
    struct gather *g = calloc(1, sizeof *g);
    if (g)
        *g = (struct gather){.hosts = calloc(count ? count : 1, sizeof *g->hosts), .count = count};
    if (!g || !g->hosts || spool_new(&g->spool, memory)) {
        gather_free(g);
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    }
    *out = g;
    return 0;
}

static void output_free(struct gather *g, struct spooled *o)
{
    if (o)
        spool_drop(g->spool, o);
    free(o);
}

static void forget_shown(struct gather *g)
{
    free(g->shown);
    free(g->members);
    free(g->order);
    g->shown = NULL;
    g->members = g->order = NULL;
}

void gather_free(struct gather *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->hosts && i < g->count; i++) {
        output_free(g, g->hosts[i].output);
        free(g->hosts[i].hash);
    }
    for (size_t i = 0; i < g->group_count; i++)
        output_free(g, g->groups[i].output);
    forget_shown(g);
    free(g->groups);
    free(g->table);
    free(g->hosts);
    spool_free(g->spool);
    free(g);
}

/* --- the file --- */

/* --- hosts --- */

static int begin_host(struct host *h, struct ssx_error *err)
{
    if (h->output)
        return 0;
    h->output = calloc(1, sizeof *h->output);
    h->hash = malloc(sizeof *h->hash);
    if (!h->output || !h->hash)
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    crypto_hash_sha256_init(h->hash);
    return 0;
}

int gather_add(struct gather *g, size_t host, const void *bytes, size_t n, struct ssx_error *err)
{
    struct host *h = &g->hosts[host];
    if (begin_host(h, err))
        return -1;
    crypto_hash_sha256_update(h->hash, bytes, n);
    return spool_add(g->spool, h->output, bytes, n, err);
}

static size_t slot_of(const struct gather *g, const struct digest *digest)
{
    uint64_t start;
    memcpy(&start, digest->bytes, sizeof start);
    size_t slot = (size_t)start & (g->table_size - 1);
    while (g->table[slot] && !digest_equal(&g->groups[g->table[slot] - 1].digest, digest))
        slot = (slot + 1) & (g->table_size - 1);
    return slot;
}

/* The table is never more than half full. */
static int grow(struct gather *g)
{
    size_t size = g->table_size ? 2 * g->table_size : 64;
    struct group *groups = realloc(g->groups, size / 2 * sizeof *groups);
    if (!groups)
        return -1;
    g->groups = groups;
    size_t *table = calloc(size, sizeof *table);
    if (!table)
        return -1;
    free(g->table);
    g->table = table;
    g->table_size = size;
    g->group_capacity = size / 2;
    for (size_t i = 0; i < g->group_count; i++)
        g->table[slot_of(g, &groups[i].digest)] = i + 1;
    return 0;
}

int gather_end(struct gather *g, size_t host, struct ssx_error *err)
{
    struct host *h = &g->hosts[host];
    struct digest digest;
    if (begin_host(h, err))
        return -1;
    if (g->group_count == g->group_capacity && grow(g))
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    crypto_hash_sha256_final(h->hash, digest.bytes);
    size_t slot = slot_of(g, &digest);
    if (g->table[slot]) {
        output_free(g, h->output);
    } else {
        g->groups[g->group_count++] = (struct group){.digest = digest, .output = h->output};
        g->table[slot] = g->group_count;
    }
    h->group = g->table[slot];
    free(h->hash);
    h->output = NULL;
    h->hash = NULL;
    return 0;
}

void gather_forget(struct gather *g, size_t host)
{
    struct host *h = &g->hosts[host];
    output_free(g, h->output);
    free(h->hash);
    h->output = NULL;
    h->hash = NULL;
}

/* --- groups --- */

static int larger_first(const void *a, const void *b, void *groups)
{
    const struct group *x = (const struct group *)groups + *(const size_t *)a, *y = (const struct group *)groups + *(const size_t *)b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void count_members(struct gather *g)
{
    for (size_t i = 0; i < g->group_count; i++)
        g->groups[i].count = 0;
    for (size_t i = 0; i < g->count; i++) {
        struct group *group = g->hosts[i].group ? &g->groups[g->hosts[i].group - 1] : NULL;
        if (group && !group->count++)
            group->first = i;
    }
}

int gather_groups(struct gather *g, const struct gather_group **groups, size_t *count, struct ssx_error *err)
{
    forget_shown(g);
    g->shown = calloc(g->group_count + 1, sizeof *g->shown);
    g->members = calloc(g->count + 1, sizeof *g->members);
    g->order = calloc(g->group_count + 1, sizeof *g->order);
    if (!g->shown || !g->members || !g->order)
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    count_members(g);
    for (size_t i = 0; i < g->group_count; i++)
        g->order[i] = i;
    qsort_r(g->order, g->group_count, sizeof *g->order, larger_first, g->groups);
    for (size_t i = 0, at = 0; i < g->group_count; i++) {
        struct group *group = &g->groups[g->order[i]];
        group->place = at;
        g->shown[i] = (struct gather_group){g->members + at, group->count, group->output->size};
        at += group->count;
    }
    for (size_t i = 0; i < g->count; i++)
        if (g->hosts[i].group)
            g->members[g->groups[g->hosts[i].group - 1].place++] = i;
    *groups = g->shown;
    *count = g->group_count;
    return 0;
}

int gather_output(struct gather *g, size_t group, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err)
{
    return spool_read(g->spool, g->groups[g->order[group]].output, visit, ctx, err);
}
