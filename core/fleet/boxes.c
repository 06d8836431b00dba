#include "fleet/boxes.h"

#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

struct box { uint32_t count, place; bool dead; }; /* place: where it stands in this pass */

struct fold {
    size_t dims, n;         /* dims: of those in which the names differ at all */
    size_t *varying;        /* which these are */
    struct box *boxes;      /* the i-th has sides[i * dims...] */
    struct side_set *sides;
    size_t *order, *spare;  /* boxes in the order of this pass, `n` of them */
    uint64_t *keys;         /* room for one a dimension */
    uint32_t *entries;      /* the same */
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
    s->n = (uint32_t)f->growing.n;
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
    if (t->lo < s->lo)
        s->lo = t->lo;
    if (t->hi > s->hi)
        s->hi = t->hi;
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

static int compare_strings(int64_t a, int64_t b) { return a == b ? 0 : compare_numbers(index_string_order(a), index_string_order(b)); }

static int compare_boxes(const struct fold *f, size_t a, size_t b)
{
    const struct side_set *x = sides_of(f, a), *y = sides_of(f, b);
    if (f->boxes[a].count != f->boxes[b].count)
        return f->boxes[a].count > f->boxes[b].count ? -1 : 1;
    for (size_t d = 0; d < f->dims; d++) {
        if (x[d].count != y[d].count)
            return x[d].count > y[d].count ? -1 : 1;
        int order = compare_strings(x[d].lo, y[d].lo);
        if (!order)
            order = compare_strings(x[d].hi, y[d].hi);
        if (order)
            return order;
    }
    return compare_numbers(f->boxes[a].place, f->boxes[b].place); /* as they stood */
}

static int by_order(const void *a, const void *b, void *fold) { return compare_boxes(fold, *(const size_t *)a, *(const size_t *)b); }

/* Drops the dead. Those that have not grown (`touched` marks the others) are still in order: only the others are
 * sorted, and merged in. */
static void sort_boxes(struct fold *f, const bool *touched)
{
    size_t still = 0, moved = 0;
    for (size_t i = 0; i < f->n; i++) {
        size_t box = f->order[i];
        f->boxes[box].place = (uint32_t)i;
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

/* Chains of places whose boxes are the same but for one dimension: one table for all dimensions, each place in it
 * `dims` times. Half a key will do: whoever follows a chain compares the boxes themselves. */
#define EMPTY UINT32_MAX
struct slot { uint32_t key, head; }; /* head: an entry, place * dims + dim; EMPTY */
struct chains {
    struct slot *slots; /* by hash */
    size_t mask;
    uint32_t *next;     /* by entry: the next of the chain, at a later place; EMPTY */
};

/* One key a dimension: what is the same but for that dimension has the same. */
static void find_keys(const struct fold *f, size_t box, uint64_t *keys)
{
    const struct side_set *sides = sides_of(f, box);
    uint64_t sum = 0;
    for (size_t d = 0; d < f->dims; d++)
        sum += keys[d] = mix(sides[d].hash + d);
    for (size_t d = 0; d < f->dims; d++)
        keys[d] = mix(sum - keys[d] + d);
}

/* Where the chain of a key begins: its slot, or the empty one where it would go. */
static struct slot *slot_of(const struct chains *c, uint64_t key)
{
    size_t i = key >> 32 & c->mask;
    while (c->slots[i].head != EMPTY && c->slots[i].key != (uint32_t)key)
        i = (i + 1) & c->mask;
    return &c->slots[i];
}

static void free_chains(struct chains *c)
{
    free(c->slots);
    free(c->next);
}

/* Slots for so many keys, all empty. */
static int make_slots(struct chains *c, size_t entries)
{
    size_t slots = 16;
    while (slots < entries * 2)
        slots *= 2;
    *c = (struct chains){.slots = malloc(slots * sizeof *c->slots), .mask = slots - 1};
    if (c->slots)
        memset(c->slots, 0xff, slots * sizeof *c->slots);
    return c->slots ? 0 : -1;
}

static int make_chains(struct chains *c, const struct fold *f)
{
    if (make_slots(c, f->n * f->dims) || !(c->next = malloc(f->n * f->dims * sizeof *c->next)))
        return -1;
    for (size_t place = f->n; place-- > 0;) {
        find_keys(f, f->order[place], f->keys);
        for (size_t d = 0; d < f->dims; d++) {
            uint32_t entry = (uint32_t)(place * f->dims + d);
            struct slot *slot = slot_of(c, f->keys[d]);
            c->next[entry] = slot->head;
            *slot = (struct slot){(uint32_t)f->keys[d], entry};
        }
    }
    return 0;
}

/* Whether a box that grew in the last pass may now be the same as another but for one dimension. The others have been
 * compared with each other. */
static bool may_change(struct fold *f, const bool *touched)
{
    struct chains c;
    size_t grown = 0;
    for (size_t i = 0; i < f->n; i++)
        grown += touched[f->order[i]];
    bool found = make_slots(&c, grown * f->dims) != 0;
    f->failed |= found;
    for (int round = 0; round < 2 && !found; round++) /* those that grew go in first */
        for (size_t i = 0; i < f->n && !found; i++) {
            if (touched[f->order[i]] == (round == 1))
                continue;
            find_keys(f, f->order[i], f->keys);
            for (size_t d = 0; d < f->dims && !found; d++) {
                struct slot *slot = slot_of(&c, f->keys[d]);
                found = slot->head != EMPTY;
                if (round == 0)
                    *slot = (struct slot){(uint32_t)f->keys[d], 0};
            }
        }
    free_chains(&c);
    return found;
}

/* The first entry from `entry` on that is behind `place` and alive; EMPTY. */
static uint32_t advance(const struct fold *f, const struct chains *c, uint32_t entry, size_t place)
{
    while (entry != EMPTY && (entry / f->dims <= place || f->boxes[f->order[entry / f->dims]].dead))
        entry = c->next[entry];
    return entry;
}

/* Where each dimension's chain goes on behind `place`, after the box grew along `grown`: but for that dimension it
 * stands in other chains now. */
static void find_chains(const struct fold *f, const struct chains *c, size_t box, size_t grown, size_t place)
{
    find_keys(f, box, f->keys);
    for (size_t d = 0; d < f->dims; d++)
        if (d != grown)
            f->entries[d] = advance(f, c, slot_of(c, f->keys[d])->head, place);
}

/* Lets the box at `place` take in all behind it that it can, the nearest first. */
static bool absorb_all(struct fold *f, const struct chains *c, size_t place)
{
    size_t box = f->order[place], at = place;
    bool changed = false;
    for (size_t d = 0; d < f->dims; d++)
        f->entries[d] = c->next[place * f->dims + d];
    for (;;) {
        uint32_t nearest = EMPTY;
        for (size_t d = 0; d < f->dims; d++) {
            f->entries[d] = advance(f, c, f->entries[d], at);
            if (f->entries[d] < nearest)
                nearest = f->entries[d];
        }
        if (nearest == EMPTY)
            break;
        at = nearest / f->dims;
        size_t dim = differing_dim(f, box, f->order[at]);
        if (dim == NONE) /* the keys alone were the same */
            continue;
        absorb(f, box, f->order[at], dim);
        find_chains(f, c, box, dim, at);
        changed = true;
    }
    settle(f, box);
    return changed;
}

static bool full_pass(struct fold *f, bool *touched)
{
    struct chains c;
    bool changed = false;
    f->failed |= make_chains(&c, f) != 0;
    for (size_t place = 0; place < f->n && !f->failed; place++)
        if (!f->boxes[f->order[place]].dead && absorb_all(f, &c, place))
            touched[f->order[place]] = changed = true;
    free_chains(&c);
    return changed;
}

/* --- */

static void start(struct fold *f, const struct points *p)
{
    for (size_t i = 0; i < p->n; i++) {
        f->boxes[i].count = 1;
        f->order[i] = i;
        for (size_t d = 0; d < f->dims; d++) {
            int64_t index = index_from_string_order(p->at[i * p->dims + f->varying[d]]);
            sides_of(f, i)[d] = (struct side_set){mix((uint64_t)index), index, index, NULL, 1, 1};
        }
    }
}

static void merge(struct fold *f, bool *touched)
{
    size_t all = f->n;
    memset(touched, 0, all * sizeof *touched); /* the points came in the order of the first pass */
    do {
        sort_boxes(f, touched);
        memset(touched, 0, all * sizeof *touched);
    } while (easy_pass(f, touched));
    while (!f->failed && full_pass(f, touched)) {
        sort_boxes(f, touched);
        if (!may_change(f, touched))
            break;
        memset(touched, 0, all * sizeof *touched);
    }
}

/* What the names have in common in the other dimensions, from the first of them. */
static void fill_common(struct side_set *out, const struct fold *f, const struct points *p)
{
    for (size_t d = 0, v = 0; d < p->dims; d++) {
        if (v < f->dims && f->varying[v] == d) {
            v++;
            continue;
        }
        int64_t index = index_from_string_order(p->at[d]);
        out[d] = (struct side_set){.lo = index, .hi = index, .n = 1, .count = 1};
    }
}

/* Moves the sides of the boxes that are left to out, in order; frees the others. */
static int hand_over(struct boxes *out, struct fold *f, const struct points *p)
{
    out->sides = f->failed ? NULL : calloc(f->n * p->dims, sizeof *out->sides);
    for (size_t i = 0; out->sides && i < f->n; i++) {
        struct side_set *from = sides_of(f, f->order[i]), *to = out->sides + i * p->dims;
        fill_common(to, f, p);
        for (size_t d = 0; d < f->dims; d++) {
            to[f->varying[d]] = from[d];
            from[d].at = NULL;
        }
    }
    out->n = out->sides ? f->n : 0;
    for (size_t i = 0; f->sides && i < p->n * f->dims; i++)
        free(f->sides[i].at);
    return out->sides ? 0 : -1;
}

/* The dimensions in which not all names are the same. */
static void find_varying(struct fold *f, const struct points *p)
{
    for (size_t d = 0; d < p->dims; d++) {
        size_t i = 1;
        while (i < p->n && p->at[i * p->dims + d] == p->at[d])
            i++;
        if (i < p->n)
            f->varying[f->dims++] = d;
    }
}

int boxes_fold(struct boxes *out, const struct points *points)
{
    size_t n = points->n;
    struct fold f = {.n = n, .growing_dim = NONE, .varying = malloc(points->dims * sizeof *f.varying)};
    *out = (struct boxes){.dims = points->dims};
    if (f.varying)
        find_varying(&f, points);
    f.boxes = calloc(n + 1, sizeof *f.boxes);
    f.sides = calloc(n * f.dims + 1, sizeof *f.sides);
    f.order = malloc((n + 1) * sizeof *f.order);
    f.spare = malloc((n + 1) * sizeof *f.spare);
    f.keys = malloc((f.dims + 1) * sizeof *f.keys);
    f.entries = malloc((f.dims + 1) * sizeof *f.entries);
    bool *touched = malloc(n + 1);
    f.failed = !f.varying || !f.keys || !f.entries || !f.boxes || !f.sides || !f.order || !f.spare || !touched;
    if (!f.failed) {
        start(&f, points);
        merge(&f, touched);
    }
    int rc = n || f.failed ? hand_over(out, &f, points) : 0;
    indexes_free(&f.growing);
    free(f.varying);
    free(f.keys);
    free(f.entries);
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
