/* Names with several numbers, folded: rack[1-2]-node[1-8] is a box, all combinations of its dimensions' sets, and any
 * set of points is a list of boxes.
 *
 * Which boxes, and in which order, is ClusterShell's choice: rows that differ in one dimension are joined, pass after
 * pass, larger boxes first. Its passes compare every box with every other; here a box finds those that differ from it
 * in one dimension by a hash of the other dimensions. */
#ifndef FLEET_BOXES_H
#define FLEET_BOXES_H
#include "fleet/points.h"

/* One dimension of a box. */
struct side_set {
    uint64_t hash;       /* a sum over the indexes, so that a union of disjoint sets has the sum of theirs */
    int64_t lo, hi;      /* the first and the last index */
    struct interval *at; /* owned; NULL where the one interval lo..hi is all */
    uint32_t n, count;   /* intervals, indexes: small, for there may be as many sides as names */
};

struct boxes {
    size_t dims, n;
    struct side_set *sides; /* owned: n times dims, in order */
};

/* Folds a normalised set. Returns 0, or -1 where memory ran out. Free with boxes_free, also after -1. */
int boxes_fold(struct boxes *out, const struct points *points);

/* The intervals of a side, *n of them. Lives as long as the box. */
const struct interval *side_intervals(const struct side_set *s, struct interval *one, size_t *n);

void boxes_free(struct boxes *b);

#endif
