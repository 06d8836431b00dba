#include "fleet/boxes.h"

#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

struct box { uint64_t count; size_t place; bool dead; }; /* place: where it stands in this pass */

struct fold {
    size_t dims, n;
    struct box *boxes;      /* the i-th has sides[i * dims...] */
    struct side_set *sides;
    size_t *order, *spare;  /* boxes in the order of this pass, `n` of them */
    size_t growing_dim;     /* of the box at hand: what it takes in along this dimension waits in `growing`, to be sorted once */
    struct indexes growing;
    bool failed;
};

static struct side_set *sides_of(const struct fold *f, size_t box) { return f->sides + box * f->dims; }

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

const struct interval *side_intervals(const struct side_set *s, struct interval *one, size_t *n)
{
    *one = (struct interval){s->lo, s->hi};
    *n = s->at ? s->n : 1;
    return s->at ? s->at : one;
}

static bool side_equals(const struct side_set *a, const struct side_set *b)
{
    struct interval one_a, one_b;
    size_t n, m;
    if (a->hash != b->hash || a->count != b->count || a->lo != b->lo || a->hi != b->hi)
        return false;
    const struct interval *x = side_intervals(a, &one_a, &n), *y = side_intervals(b, &one_b, &m);
    return n == m && memcmp(x, y, n * sizeof *x) == 0;
}

/* --- joining two boxes that differ in one dimension, where they are then disjoint --- */

static void start_growing(struct fold *f, struct side_set *s, size_t dim)
{
    struct interval one;
    size_t n;
    const struct interval *at = side_intervals(s, &one, &n);
    f->growing_dim = dim;
    for (size_t i = 0; i < n; i++)
        indexes_add(&f->growing, at[i].lo, at[i].hi);
}

/* Gives a box what it has taken in. */
static void settle(struct fold *f, size_t box)
{
    if (f->growing_dim == NONE)
        return;
    struct side_set *s = &sides_of(f, box)[f->growing_dim];
    indexes_normalise(&f->growing);
    f->failed |= f->growing.failed;
    free(s->at);
    s->at = NULL;
    s->n = f->growing.n;
    if (s->n > 1 && !f->failed) {
        s->at = malloc(s->n * sizeof *s->at);
        f->failed = !s->at;
        if (s->at)
            memcpy(s->at, f->growing.at, s->n * sizeof *s->at);
    }
    f->growing.n = 0;
    f->growing_dim = NONE;
}

static void absorb(struct fold *f, size_t box, size_t other, size_t dim)
{
    struct side_set *s = &sides_of(f, box)[dim], *t = &sides_of(f, other)[dim];
    struct interval one;
    size_t n;
    if (f->growing_dim != dim) {
        settle(f, box);
        start_growing(f, s, dim);
    }
    const struct interval *at = side_intervals(t, &one, &n);
    for (size_t i = 0; i < n; i++)
        indexes_add(&f->growing, at[i].lo, at[i].hi);
    s->hash += t->hash;
    s->count += t->count;
    if (t->lo < s->lo) {
        s->lo = t->lo;
        s->lo_order = t->lo_order;
    }
    if (t->hi > s->hi) {
        s->hi = t->hi;
        s->hi_order = t->hi_order;
    }
    f->boxes[box].count += f->boxes[other].count;
    f->boxes[other].dead = true;
}

/* The only dimension in which they differ; NONE where there are more. */
static size_t differing_dim(struct fold *f, size_t box, size_t other)
{
    const struct side_set *a = sides_of(f, box), *b = sides_of(f, other);
    size_t found = NONE;
    for (size_t d = 0; d < f->dims; d++) {
        if (d == f->growing_dim && a[d].hash == b[d].hash)
            settle(f, box);
        if (side_equals(&a[d], &b[d]))
            continue;
        if (found != NONE)
            return NONE;
        found = d;
    }
    return found;
}

/* --- the order of a pass: more names first, then by dimension more indexes, the first and the last as strings --- */

static int compare_numbers(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int compare_boxes(const struct fold *f, size_t a, size_t b)
{
    const struct side_set *x = sides_of(f, a), *y = sides_of(f, b);
    if (f->boxes[a].count != f->boxes[b].count)
        return f->boxes[a].count > f->boxes[b].count ? -1 : 1;
    for (size_t d = 0; d < f->dims; d++) {
        if (x[d].count != y[d].count)
            return x[d].count > y[d].count ? -1 : 1;
        int order = compare_numbers(x[d].lo_order, y[d].lo_order);
        if (!order)
            order = compare_numbers(x[d].hi_order, y[d].hi_order);
        if (order)
            return order;
    }
    return compare_numbers((int64_t)f->boxes[a].place, (int64_t)f->boxes[b].place); /* as they stood */
}

static int by_order(const void *a, const void *b, void *fold) { return compare_boxes(fold, *(const size_t *)a, *(const size_t *)b); }

/* Drops the dead. Those that have not grown (`touched` marks the others) are still in order: only the others are sorted, and merged in. */
static void sort_boxes(struct fold *f, const bool *touched)
{
    size_t still = 0, moved = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t box = f->order[i];
        f->boxes[box].place = i;
        if (f->boxes[box].dead)
            continue;
        if (touched[box])
            f->spare[f->n - ++moved] = box;
        else
            f->order[still++] = box;
    }
    size_t *changed = f->spare + f->n - moved, out = still + moved, a = still, b = moved;
    qsort_r(changed, moved, sizeof *changed, by_order, f);
    f->n = out;
    while (b > 0)
        f->order[--out] = a > 0 && compare_boxes(f, f->order[a - 1], changed[b - 1]) > 0 ? f->order[--a] : changed[--b];
}

/* --- a pass that looks at the next box only --- */

static bool easy_pass(struct fold *f, bool *touched)
{
    bool changed = false;
    for (size_t i = 0; i + 1 < f->n;) {
        size_t box = f->order[i], j = i + 1, dim;
        for (; j < f->n && (dim = differing_dim(f, box, f->order[j])) != NONE; j++) {
            absorb(f, box, f->order[j], dim);
            touched[box] = changed = true;
        }
        settle(f, box);
        i = j;
    }
    return changed;
}

/* --- a pass that compares each with all behind it --- */

/* Chains of places whose boxes are the same but for one dimension: one table for all dimensions, each place in it `dims` times. */
struct chains {
    size_t *heads, mask;  /* by hash: an entry, NONE where empty */
    size_t *next;         /* by entry (place * dims + dim): the next of the chain, at a later place */
    uint64_t *keys;       /* by entry */
};

static uint64_t key_of(const struct side_set *sides, size_t dims, size_t without)
{
    uint64_t key = mix(without + 1);
    for (size_t d = 0; d < dims; d++)
        if (d != without)
            key += mix(sides[d].hash + d);
    return key;
}

/* Where the chain of a key begins: its slot, or the empty one where it would go. */
static size_t *slot_of(const struct chains *c, uint64_t key)
{
    size_t i = mix(key) & c->mask;
    while (c->heads[i] != NONE && c->keys[c->heads[i]] != key)
        i = (i + 1) & c->mask;
    return &c->heads[i];
}

static int make_chains(struct chains *c, const struct fold *f)
{
    size_t entries = f->n * f->dims, slots = 16;
    while (slots < entries * 2)
        slots *= 2;
    *c = (struct chains){malloc(slots * sizeof *c->heads), slots - 1, malloc(entries * sizeof *c->next), malloc(entries * sizeof *c->keys)};
    if (!c->heads || !c->next || !c->keys)
        return -1;
    for (size_t i = 0; i < slots; i++)
        c->heads[i] = NONE;
    for (size_t place = f->n; place-- > 0;)
        for (size_t d = 0; d < f->dims; d++) {
            size_t entry = place * f->dims + d;
            c->keys[entry] = key_of(sides_of(f, f->order[place]), f->dims, d);
            size_t *slot = slot_of(c, c->keys[entry]);
            c->next[entry] = *slot;
            *slot = entry;
        }
    return 0;
}

static void free_chains(struct chains *c)
{
    free(c->heads);
    free(c->next);
    free(c->keys);
}

/* The first entry from `entry` on that is behind `place` and alive; NONE. */
static size_t advance(const struct fold *f, const struct chains *c, size_t entry, size_t place)
{
    while (entry != NONE && (entry / f->dims <= place || f->boxes[f->order[entry / f->dims]].dead))
        entry = c->next[entry];
    return entry;
}

/* Where each dimension's chain goes on behind `place`, after the box grew along `grown`. A chain's head is never moved: with its other keys the box stands in other chains. */
static void find_chains(const struct fold *f, const struct chains *c, size_t box, size_t grown, size_t place, size_t *entries)
{
    for (size_t d = 0; d < f->dims; d++)
        if (d != grown)
            entries[d] = advance(f, c, *slot_of(c, key_of(sides_of(f, box), f->dims, d)), place);
}

/* Lets the box at `place` take in all behind it that it can, the nearest first. entries: room for one a dimension. */
static bool absorb_all(struct fold *f, const struct chains *c, size_t place, size_t *entries)
{
    size_t box = f->order[place], at = place;
    bool changed = false;
    for (size_t d = 0; d < f->dims; d++)
        entries[d] = c->next[place * f->dims + d];
    for (;;) {
        size_t nearest = NONE;
        for (size_t d = 0; d < f->dims; d++) {
            entries[d] = advance(f, c, entries[d], at);
            if (entries[d] < nearest)
                nearest = entries[d];
        }
        if (nearest == NONE)
            break;
        at = nearest / f->dims;
        size_t dim = differing_dim(f, box, f->order[at]);
        if (dim == NONE) /* the hashes alone were the same */
            continue;
        absorb(f, box, f->order[at], dim);
        find_chains(f, c, box, dim, at, entries);
        changed = true;
    }
    settle(f, box);
    return changed;
}

static bool full_pass(struct fold *f, bool *touched)
{
    struct chains c;
    bool changed = false;
    size_t *entries = malloc(f->dims * sizeof *entries);
    f->failed |= make_chains(&c, f) || !entries;
    for (size_t place = 0; place < f->n && !f->failed; place++)
        if (!f->boxes[f->order[place]].dead && absorb_all(f, &c, place, entries))
            touched[f->order[place]] = changed = true;
    free(entries);
    free_chains(&c);
    return changed;
}

/* --- */

static void start(struct fold *f, const struct points *p)
{
    for (size_t i = 0; i < p->n; i++) {
        f->boxes[i].count = 1;
        f->order[i] = i;
        for (size_t d = 0; d < p->dims; d++) {
            int64_t index = p->at[i * p->dims + d], order = index_string_order(index);
            sides_of(f, i)[d] = (struct side_set){mix((uint64_t)index), 1, index, index, order, order, NULL, 1};
        }
    }
}

static void merge(struct fold *f, bool *touched)
{
    memset(touched, 1, f->n * sizeof *touched);
    size_t all = f->n;
    for (bool full = false, changed = true; changed && !f->failed;) {
        sort_boxes(f, touched);
        memset(touched, 0, all * sizeof *touched);
        changed = full ? full_pass(f, touched) : easy_pass(f, touched);
        if (!changed && !full)
            changed = full = true;
    }
}

/* Moves the sides of the boxes that are left to out, in order; frees the others. */
static int hand_over(struct boxes *out, struct fold *f, size_t all)
{
    out->sides = f->failed ? NULL : calloc(f->n ? f->n * f->dims : 1, sizeof *out->sides);
    for (size_t i = 0; out->sides && i < f->n; i++) {
        memcpy(out->sides + i * f->dims, sides_of(f, f->order[i]), f->dims * sizeof *out->sides);
        memset(sides_of(f, f->order[i]), 0, f->dims * sizeof *out->sides);
    }
    out->n = out->sides ? f->n : 0;
    for (size_t i = 0; f->sides && i < all * f->dims; i++)
        free(f->sides[i].at);
    return out->sides ? 0 : -1;
}

int boxes_fold(struct boxes *out, const struct points *points)
{
    size_t n = points->n;
    struct fold f = {.dims = points->dims, .n = n, .growing_dim = NONE};
    *out = (struct boxes){.dims = points->dims};
    if (!n)
        return 0;
    f.boxes = calloc(n, sizeof *f.boxes);
    f.sides = calloc(n * f.dims, sizeof *f.sides);
    f.order = malloc(n * sizeof *f.order);
    f.spare = malloc(n * sizeof *f.spare);
    bool *touched = malloc(n * sizeof *touched);
    f.failed = !f.boxes || !f.sides || !f.order || !f.spare || !touched;
    if (!f.failed) {
        start(&f, points);
        merge(&f, touched);
    }
    int rc = hand_over(out, &f, n);
    indexes_free(&f.growing);
    free(f.boxes);
    free(f.sides);
    free(f.order);
    free(f.spare);
    free(touched);
    return rc;
}

void boxes_free(struct boxes *b)
{
    for (size_t i = 0; i < b->n * b->dims; i++)
        free(b->sides[i].at);
    free(b->sides);
    *b = (struct boxes){.dims = b->dims};
}
