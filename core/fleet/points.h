/* Sets of host names with several numbers in them, rack1-node07: each name a row of indexes (indexes.h), the rows in
 * order.
 *
 * An index is kept as index_string_order() of it: that is the order in which folding starts (boxes.h), and any other
 * would do as well here. */
#ifndef FLEET_POINTS_H
#define FLEET_POINTS_H
#include "fleet/indexes.h"

/* A zeroed struct with `dims` set (at least 2) is an empty set. */
struct points {
    int64_t *at;     /* owned: n rows of `dims` indexes, as string orders */
    size_t dims, n, capacity;
    bool unsorted;   /* not in order, or with rows twice */
    bool failed;     /* memory ran out; sticky until points_free */
};

/* Adds every combination of the sets' indexes. The caller has seen to it that there are not too many. */
void points_add_product(struct points *p, const struct indexes *sets);

void points_add_all(struct points *p, const struct points *from);

/* Sorts and drops what is there twice; points_combine and whoever reads the rows need it done. */
void points_normalise(struct points *p);

/* As indexes_combine. */
void points_combine(struct points *a, const struct points *b, char operation);

void points_free(struct points *p);

#endif
