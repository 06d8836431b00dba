#include "fleet/gather.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (64u << 10)

struct extent { off_t at; size_t n; };

/* Bytes that are in the file, in order, then those in memory. */
struct output {
    struct buf extents;      /* of struct extent */
    struct buf rest;
    uint64_t size;
};

struct group { struct digest digest; struct output output; size_t count, first, place; };

struct host {
    struct output *output;   /* until it has ended; NULL: said nothing yet */
    crypto_hash_sha256_state *hash;
    size_t group;            /* + 1; 0: it has not ended */
};

struct gather {
    struct host *hosts;
    size_t count;
    struct group *groups;
    size_t group_count, group_capacity;
    size_t *table, table_size;       /* group numbers + 1, by digest; a power of two */
    size_t memory, held;             /* what may be in memory, and is */
    int fd;
    off_t end;
    struct gather_group *shown;      /* of the last gather_groups */
    size_t *members, *order;
};

int gather_new(struct gather **out, size_t count, size_t memory, struct ssx_error *err)
{
    struct gather *g = calloc(1, sizeof *g);
    if (g)
        *g = (struct gather){.hosts = calloc(count ? count : 1, sizeof *g->hosts), .count = count, .memory = memory, .fd = -1};
    if (!g || !g->hosts) {
        free(g);
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    }
    *out = g;
    return 0;
}

static void output_free(struct gather *g, struct output *o)
{
    g->held -= buf_length(&o->rest);
    buf_free(&o->extents);
    buf_free(&o->rest);
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
    for (size_t i = 0; i < g->count; i++) {
        if (g->hosts[i].output)
            output_free(g, g->hosts[i].output);
        free(g->hosts[i].output);
        free(g->hosts[i].hash);
    }
    for (size_t i = 0; i < g->group_count; i++)
        output_free(g, &g->groups[i].output);
    forget_shown(g);
    free(g->groups);
    free(g->table);
    free(g->hosts);
    fd_close(&g->fd);
    free(g);
}

/* --- the file --- */

static int open_file(struct gather *g, struct ssx_error *err)
{
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/var/tmp"; /* /tmp may be memory */
    g->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return g->fd < 0 ? error_system(err, "can't keep outputs in a file in %s (TMPDIR names another place)", dir) : 0;
}

static int write_at(struct gather *g, const unsigned char *bytes, size_t n, struct ssx_error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t wrote = pwrite(g->fd, bytes + done, n - done, g->end + (off_t)done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return error_system(err, "can't keep outputs in a temporary file");
        done += (size_t)wrote;
    }
    return 0;
}

static int put_away(struct gather *g, struct output *o, struct ssx_error *err)
{
    struct extent extent = {g->end, buf_length(&o->rest)};
    if (!extent.n)
        return 0;
    if (write_at(g, buf_data(&o->rest), extent.n, err))
        return -1;
    if (buf_add(&o->extents, &extent, sizeof extent))
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    g->end += (off_t)extent.n;
    g->held -= extent.n;
    buf_free(&o->rest);
    return 0;
}

static int put_all_away(struct gather *g, struct ssx_error *err)
{
    if (g->fd < 0 && open_file(g, err))
        return -1;
    for (size_t i = 0; i < g->count; i++)
        if (g->hosts[i].output && put_away(g, g->hosts[i].output, err))
            return -1;
    for (size_t i = 0; i < g->group_count; i++)
        if (put_away(g, &g->groups[i].output, err))
            return -1;
    return 0;
}

/* What nobody needs any more. Where the file system can't do it, the room is free at the end. */
static void give_back(struct gather *g, const struct output *o)
{
    const struct extent *extents = (const void *)buf_data(&o->extents);
    for (size_t i = 0; i < buf_length(&o->extents) / sizeof *extents; i++)
        fallocate(g->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, extents[i].at, (off_t)extents[i].n);
}

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
    if (buf_add(&h->output->rest, bytes, n))
        return error_set(err, SSX_ERROR_SYSTEM, "can't gather outputs: out of memory");
    h->output->size += n;
    g->held += n;
    return g->held > g->memory ? put_all_away(g, err) : 0;
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
        give_back(g, h->output);
        output_free(g, h->output);
    } else {
        g->groups[g->group_count++] = (struct group){.digest = digest, .output = *h->output};
        g->table[slot] = g->group_count;
    }
    h->group = g->table[slot];
    free(h->output);
    free(h->hash);
    h->output = NULL;
    h->hash = NULL;
    return 0;
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
        g->shown[i] = (struct gather_group){g->members + at, group->count, group->output.size};
        at += group->count;
    }
    for (size_t i = 0; i < g->count; i++)
        if (g->hosts[i].group)
            g->members[g->groups[g->hosts[i].group - 1].place++] = i;
    *groups = g->shown;
    *count = g->group_count;
    return 0;
}

static int read_extent(struct gather *g, const struct extent *e, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err)
{
    unsigned char piece[PIECE];
    for (size_t done = 0; done < e->n;) {
        ssize_t n = pread(g->fd, piece, e->n - done < sizeof piece ? e->n - done : sizeof piece, e->at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_system(err, "can't read outputs back from a temporary file");
        int rc = visit(ctx, piece, (size_t)n);
        if (rc)
            return rc;
        done += (size_t)n;
    }
    return 0;
}

int gather_output(struct gather *g, size_t group, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err)
{
    const struct output *o = &g->groups[g->order[group]].output;
    const struct extent *extents = (const void *)buf_data(&o->extents);
    int rc = 0;
    for (size_t i = 0; !rc && i < buf_length(&o->extents) / sizeof *extents; i++)
        rc = read_extent(g, &extents[i], visit, ctx, err);
    return rc || !buf_length(&o->rest) ? rc : visit(ctx, buf_data(&o->rest), buf_length(&o->rest));
}
