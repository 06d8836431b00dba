#include "base/line_diff.h"

#include <stdbool.h>
#include <stdlib.h>

#define CONTEXT 3

struct line { const char *at; size_t n; };
struct text { struct line *lines; size_t count; bool *changed; };

/* E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", on the lines from `first` to where the texts' common
 * end begins. */
struct diff {
    struct text a, b;
    size_t first, a_end, b_end;
    int *trace[DIFF_EDITS_MAX + 1];  /* the furthest points after each number of edits, for diagonals -d..d */
};

static bool text_split(struct text *t, const char *at, size_t n)
{
    size_t count = 0;
    for (const char *p = at, *end = at + n; p < end; count++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        p = newline ? newline + 1 : end;
    }
    t->lines = calloc(count + 1, sizeof *t->lines);
    t->changed = calloc(count + 1, sizeof *t->changed);
    for (const char *end = at + n; t->lines && at < end; t->count++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        t->lines[t->count] = (struct line){at, (size_t)((newline ? newline : end) - at)};
        at = newline ? newline + 1 : end;
    }
    return t->lines && t->changed;
}

static bool same(const struct diff *d, size_t i, size_t j)
{
    const struct line *x = &d->a.lines[i], *y = &d->b.lines[j];
    return x->n == y->n && memcmp(x->at, y->at, x->n) == 0;
}

static void trim(struct diff *d)
{
    d->a_end = d->a.count;
    d->b_end = d->b.count;
    while (d->first < d->a_end && d->first < d->b_end && same(d, d->first, d->first))
        d->first++;
    while (d->a_end > d->first && d->b_end > d->first && same(d, d->a_end - 1, d->b_end - 1)) {
        d->a_end--;
        d->b_end--;
    }
}

/* The furthest point on diagonal k with `edits` edits, where those with one fewer are in `before`. */
static int furthest(const struct diff *d, const int *before, int edits, int k)
{
    const int *mid = edits ? before + edits - 1 : NULL; /* of `before`: its diagonal 0 */
    int n = (int)(d->a_end - d->first), m = (int)(d->b_end - d->first), x = 0;
    if (mid)
        x = k == -edits || (k != edits && mid[k - 1] < mid[k + 1]) ? mid[k + 1] : mid[k - 1] + 1;
    while (x < n && x - k < m && x >= 0 && x - k >= 0 && same(d, d->first + (size_t)x, d->first + (size_t)(x - k)))
        x++;
    return x;
}

/* Returns how many edits it takes; -1: too many; -2: no memory. */
static int search(struct diff *d)
{
    int n = (int)(d->a_end - d->first), m = (int)(d->b_end - d->first);
    for (int edits = 0; edits <= DIFF_EDITS_MAX; edits++) {
        int *points = d->trace[edits] = malloc((2 * (size_t)edits + 1) * sizeof *points);
        if (!points)
            return -2;
        for (int k = -edits; k <= edits; k++)
            points[k + edits] = -2; /* diagonals of the other parity are never looked at */
        for (int k = -edits; k <= edits; k += 2) {
            int x = points[k + edits] = furthest(d, edits ? d->trace[edits - 1] : NULL, edits, k);
            if (x >= n && x - k >= m)
                return edits;
        }
    }
    return -1;
}

/* Marks the lines that each edit on the way back took away or added. */
static void mark(struct diff *d, int edits)
{
    int x = (int)(d->a_end - d->first), y = (int)(d->b_end - d->first);
    for (; edits; edits--) {
        const int *mid = d->trace[edits - 1] + edits - 1;
        int k = x - y;
        bool down = k == -edits || (k != edits && mid[k - 1] < mid[k + 1]);
        x = down ? mid[k + 1] : mid[k - 1];
        y = x - (down ? k + 1 : k - 1);
        if (down)
            d->b.changed[d->first + (size_t)y] = true;
        else
            d->a.changed[d->first + (size_t)x] = true;
    }
}

static void mark_all(struct diff *d)
{
    for (size_t i = d->first; i < d->a_end; i++)
        d->a.changed[i] = true;
    for (size_t i = d->first; i < d->b_end; i++)
        d->b.changed[i] = true;
}

/* --- hunks --- */

static void add_line(struct buf *out, const char *before, char sign, const struct line *l, const char *after)
{
    buf_add_text(out, before);
    buf_add(out, &sign, 1);
    buf_add(out, l->at, l->n);
    buf_add_text(out, after);
    buf_add_text(out, "\n");
}

/* From lines i and j, both unchanged or first of a change, to where the hunk ends: after CONTEXT unchanged lines that
 * no change follows soon. */
static void find_end(const struct diff *d, size_t *i, size_t *j)
{
    size_t calm = 0;
    while ((*i < d->a.count || *j < d->b.count) && calm <= 2 * CONTEXT) {
        bool removed = *i < d->a.count && d->a.changed[*i], added = *j < d->b.count && d->b.changed[*j];
        calm = removed || added ? 0 : calm + 1;
        *i += removed || !added;
        *j += added || !removed;
    }
    size_t extra = calm > CONTEXT ? calm - CONTEXT : 0;
    *i -= extra;
    *j -= extra;
}

static void add_hunk(struct buf *out, const struct diff *d, size_t i, size_t j, size_t i_end, size_t j_end, const struct diff_look *look)
{
    const size_t from = i_end > i ? i + 1 : i, to = j_end > j ? j + 1 : j;
    buf_printf(out, "%s@@ -%zu,%zu +%zu,%zu @@%s\n", look->hunk, from, i_end - i, to, j_end - j, *look->hunk ? look->after : "");
    while (i < i_end || j < j_end) {
        for (; i < i_end && d->a.changed[i]; i++)
            add_line(out, look->removed, '-', &d->a.lines[i], *look->removed ? look->after : "");
        for (; j < j_end && d->b.changed[j]; j++)
            add_line(out, look->added, '+', &d->b.lines[j], *look->added ? look->after : "");
        for (; i < i_end && j < j_end && !d->a.changed[i] && !d->b.changed[j]; i++, j++)
            add_line(out, "", ' ', &d->a.lines[i], "");
    }
}

static void add_hunks(struct buf *out, const struct diff *d, const struct diff_look *look)
{
    for (size_t i = 0, j = 0; i < d->a.count || j < d->b.count;) {
        if ((i >= d->a.count || !d->a.changed[i]) && (j >= d->b.count || !d->b.changed[j])) {
            i++;
            j++;
            continue;
        }
        size_t before = i < j ? i : j, i_end = i, j_end = j, context = 0;
        while (context < CONTEXT && context < before && !d->a.changed[i - context - 1] && !d->b.changed[j - context - 1])
            context++;
        find_end(d, &i_end, &j_end);
        add_hunk(out, d, i - context, j - context, i_end, j_end, look);
        i = i_end;
        j = j_end;
    }
}

int diff_lines(struct buf *out, const void *a, size_t an, const void *b, size_t bn, const struct diff_look *look)
{
    struct diff *d = calloc(1, sizeof *d);
    bool good = d && text_split(&d->a, a, an) && text_split(&d->b, b, bn);
    if (good) {
        trim(d);
        int edits = search(d);
        if (edits >= 0)
            mark(d, edits);
        else
            mark_all(d);
        add_hunks(out, d, look);
        good = edits != -2;
    }
    for (size_t i = 0; d && i <= DIFF_EDITS_MAX; i++)
        free(d->trace[i]);
    if (d) {
        free(d->a.lines);
        free(d->a.changed);
        free(d->b.lines);
        free(d->b.changed);
    }
    free(d);
    return good && !out->failed ? 0 : -1;
}
