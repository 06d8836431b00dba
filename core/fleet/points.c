#include "fleet/points.h"

#include <stdlib.h>
#include <string.h>

static int compare(const int64_t *a, const int64_t *b, size_t dims)
{
    for (size_t d = 0; d < dims; d++)
        if (a[d] != b[d])
            return a[d] < b[d] ? -1 : 1;
    return 0;
}

static void add(struct points *p, const int64_t *row)
{
    if (p->n == p->capacity && !p->failed) {
        size_t capacity = p->capacity ? p->capacity * 2 : 1;
        int64_t *at = realloc(p->at, capacity * p->dims * sizeof *at);
        p->failed = !at;
        if (at) {
            p->at = at;
            p->capacity = capacity;
        }
    }
    if (p->failed)
        return;
    int64_t *new = p->at + p->n * p->dims;
    if (p->n && !p->unsorted && compare(new - p->dims, row, p->dims) >= 0)
        p->unsorted = true;
    memcpy(new, row, p->dims * sizeof *row);
    p->n++;
}

/* Each dimension in turn, the last one fastest. */
static void add_from(struct points *p, const struct indexes *sets, size_t dim, int64_t *row)
{
    if (dim == p->dims) {
        add(p, row);
        return;
    }
    for (size_t i = 0; i < sets[dim].n; i++)
        for (int64_t index = sets[dim].at[i].lo; index <= sets[dim].at[i].hi; index++) {
            row[dim] = index_string_order(index);
            add_from(p, sets, dim + 1, row);
        }
}

void points_add_product(struct points *p, const struct indexes *sets)
{
    int64_t *row = malloc(p->dims * sizeof *row);
    if (row)
        add_from(p, sets, 0, row);
    else
        p->failed = true;
    free(row);
}

void points_add_all(struct points *p, const struct points *from)
{
    for (size_t i = 0; i < from->n; i++)
        add(p, from->at + i * p->dims);
    p->failed |= from->failed;
}

static int by_row(const void *a, const void *b, void *dims) { return compare(a, b, *(const size_t *)dims); }

void points_normalise(struct points *p)
{
    if (!p->unsorted)
        return;
    qsort_r(p->at, p->n, p->dims * sizeof *p->at, by_row, &p->dims);
    size_t kept = 0;
    for (size_t i = 1; i < p->n; i++) {
        const int64_t *row = p->at + i * p->dims;
        if (compare(p->at + kept * p->dims, row, p->dims))
            memmove(p->at + ++kept * p->dims, row, p->dims * sizeof *row);
    }
    p->n = kept + 1;
    p->unsorted = false;
}

void points_combine(struct points *a, const struct points *b, char operation)
{
    struct points out = {.dims = a->dims, .failed = a->failed || b->failed};
    for (size_t i = 0, j = 0; i < a->n || j < b->n;) {
        const int64_t *x = a->n ? a->at + i * a->dims : NULL, *y = b->n ? b->at + j * a->dims : NULL; /* NULL + 0 is undefined in C */
        int order = i == a->n ? 1 : j == b->n ? -1 : compare(x, y, a->dims);
        bool wanted = operation == '!' ? order < 0 : operation == '&' ? order == 0 : operation == '^' ? order != 0 : true;
        if (wanted)
            add(&out, order <= 0 ? x : y);
        i += order <= 0;
        j += order >= 0;
    }
    points_free(a);
    *a = out;
}

void points_free(struct points *p)
{
    free(p->at);
    *p = (struct points){.dims = p->dims};
}
