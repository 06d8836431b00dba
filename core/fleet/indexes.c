#include "fleet/indexes.h"

#include <stdlib.h>

int64_t index_power(unsigned n)
{
    static const int64_t powers[INDEX_DIGITS_MAX + 1] = {
        1,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
    };
    return powers[n];
}

unsigned index_digits(int64_t value)
{
    unsigned n = 1;
    while (n < INDEX_DIGITS_MAX && value >= index_power(n))
        n++;
    return n;
}

bool index_is_padded(int64_t index)
{
    unsigned width = index_width(index);
    return width > 1 && index_value(index) < index_power(width - 1);
}

size_t index_text(char *out, int64_t index)
{
    int64_t value = index_value(index);
    size_t sign = value < 0, n = index_width(index);
    if (sign) {
        value = -value;
        *out = '-';
        n = 1 + index_digits(value);
    }
    for (size_t i = n; i-- > sign; value /= 10)
        out[i] = (char)('0' + value % 10);
    return n;
}

/* The digits moved to the left end, then how many there are: what is the start of another comes first. A minus sorts
 * before any digit. */
int64_t index_string_order(int64_t index)
{
    int64_t value = index_value(index);
    bool negative = value < 0;
    if (negative)
        value = -value;
    unsigned width = negative ? index_digits(value) : index_width(index);
    int64_t order = value * index_power(INDEX_DIGITS_MAX - width) << 5 | width;
    return negative ? INT64_MIN + order : order;
}

int64_t index_from_string_order(int64_t order)
{
    bool negative = order < 0;
    if (negative)
        order -= INT64_MIN;
    unsigned width = (unsigned)(order & 31);
    int64_t value = (order >> 5) / index_power(INDEX_DIGITS_MAX - width);
    return negative ? -value : index_make(value, width);
}

static struct interval *more(struct indexes *s)
{
    if (s->n == s->capacity && !s->failed) {
        size_t capacity = s->capacity ? s->capacity * 2 : 1;
        struct interval *at = realloc(s->at, capacity * sizeof *at);
        s->failed = !at;
        if (at) {
            s->at = at;
            s->capacity = capacity;
        }
    }
    return s->failed ? NULL : &s->at[s->n++];
}

void indexes_add(struct indexes *s, int64_t lo, int64_t hi)
{
    struct interval *last = s->n ? &s->at[s->n - 1] : NULL;
    if (last && !s->unsorted && lo == last->hi + 1) {
        last->hi = hi;
        return;
    }
    if (last && lo <= last->hi)
        s->unsorted = true;
    struct interval *new = more(s);
    if (new)
        *new = (struct interval){lo, hi};
}

static int by_start(const void *a, const void *b)
{
    int64_t x = ((const struct interval *)a)->lo, y = ((const struct interval *)b)->lo;
    return (x > y) - (x < y);
}

void indexes_normalise(struct indexes *s)
{
    if (!s->unsorted)
        return;
    qsort(s->at, s->n, sizeof *s->at, by_start);
    size_t kept = 0;
    for (size_t i = 1; i < s->n; i++) {
        struct interval *last = &s->at[kept];
        if (s->at[i].lo > last->hi + 1)
            s->at[++kept] = s->at[i];
        else if (s->at[i].hi > last->hi)
            last->hi = s->at[i].hi;
    }
    s->n = kept + 1;
    s->unsorted = false;
}

void indexes_free(struct indexes *s)
{
    free(s->at);
    *s = (struct indexes){0};
}

uint64_t indexes_count(const struct indexes *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += (uint64_t)(s->at[i].hi - s->at[i].lo) + 1;
    return n;
}

static bool holds(char operation, bool a, bool b)
{
    switch (operation) {
    case '!': return a && !b;
    case '&': return a && b;
    case '^': return a != b;
    default: return a || b;
    }
}

/* One side of the sweep: where its next edge is, and whether the place before that edge is inside. */
struct side { const struct interval *at, *end; bool inside; };

static int64_t edge(const struct side *s) { return s->at == s->end ? INT64_MAX : s->inside ? s->at->hi + 1 : s->at->lo; }

static void cross(struct side *s)
{
    if (s->inside)
        s->at++;
    s->inside = !s->inside;
}

void indexes_combine(struct indexes *a, const struct indexes *b, char operation)
{
    struct indexes out = {.failed = a->failed || b->failed};
    struct side x = {a->at, a->n ? a->at + a->n : a->at, false}, y = {b->at, b->n ? b->at + b->n : b->at, false};
    int64_t start = 0;
    for (bool inside = false; x.at != x.end || y.at != y.end;) {
        int64_t ex = edge(&x), ey = edge(&y), here = ex < ey ? ex : ey;
        if (ex == here)
            cross(&x);
        if (ey == here)
            cross(&y);
        bool now = holds(operation, x.inside, y.inside);
        if (now && !inside)
            start = here;
        else if (!now && inside)
            indexes_add(&out, start, here - 1);
        inside = now;
    }
    indexes_free(a);
    *a = out;
}

/* Whether a number can't go on in the manner of those before it. */
static bool differs(const struct index_runs *r, int64_t index)
{
    return r->padded ? index_width(index) != r->width : index_is_padded(index);
}

bool index_runs_next(struct index_runs *r, struct interval *run)
{
    if (r->i == r->n)
        return false;
    *run = r->at[r->i];
    if (r->i == 0 || r->several || differs(r, run->lo)) {
        r->padded = index_is_padded(run->lo);
        r->width = index_width(run->lo);
    }
    while (++r->i < r->n && !differs(r, r->at[r->i].lo) && index_value(r->at[r->i].lo) == index_value(run->hi) + 1)
        run->hi = r->at[r->i].hi;
    r->several = run->lo != run->hi;
    return true;
}

void indexes_print(struct buf *out, const struct interval *at, size_t n)
{
    char text[INDEX_TEXT_MAX * 2 + 2];
    struct index_runs runs = {.at = at, .n = n};
    struct interval run;
    for (bool first = true; index_runs_next(&runs, &run); first = false) {
        size_t length = 0;
        if (!first)
            text[length++] = ',';
        length += index_text(text + length, run.lo);
        if (run.lo != run.hi) {
            text[length++] = '-';
            length += index_text(text + length, run.hi);
        }
        buf_add(out, text, length);
    }
}
