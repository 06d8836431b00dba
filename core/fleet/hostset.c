#include "fleet/hostset.h"

#include "base/error.h"
#include "fleet/boxes.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    char *text;     /* owned */
    size_t dims;
    uint64_t hash;
    bool plain;           /* no number: the name is there */
    struct indexes one;   /* one number */
    struct points many;   /* more */
};

struct hostset {
    struct pattern *at;
    size_t n, capacity;
    size_t *slots, mask; /* by hash: a pattern's number + 1; 0: empty */
    size_t last;         /* the pattern that was asked for last: names come in families */
    size_t bound;        /* at most so many names */
};

struct hostset *hostset_new(void) { return calloc(1, sizeof(struct hostset)); }

static void pattern_clear(struct pattern *p)
{
    p->plain = false;
    indexes_free(&p->one);
    points_free(&p->many);
}

void hostset_free(struct hostset *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        pattern_clear(&s->at[i]);
        free(s->at[i].text);
    }
    free(s->at);
    free(s->slots);
    free(s);
}

/* --- patterns by their text --- */

static uint64_t hash_text(const char *text, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static bool is_pattern(const struct pattern *p, uint64_t hash, const char *text, size_t n)
{
    return p->hash == hash && strncmp(p->text, text, n) == 0 && !p->text[n];
}

static size_t *find_slot(const struct hostset *s, uint64_t hash, const char *text, size_t n)
{
    size_t i = hash & s->mask;
    while (s->slots[i] && !is_pattern(&s->at[s->slots[i] - 1], hash, text, n))
        i = (i + 1) & s->mask;
    return &s->slots[i];
}

static struct pattern *find(const struct hostset *s, uint64_t hash, const char *text, size_t n)
{
    if (!s->n)
        return NULL;
    if (is_pattern(&s->at[s->last], hash, text, n))
        return &s->at[s->last];
    size_t number = *find_slot(s, hash, text, n);
    return number ? &s->at[number - 1] : NULL;
}

/* Room for one more pattern, the slots at most half full. */
static int grow(struct hostset *s)
{
    if (s->n < s->capacity)
        return 0;
    size_t capacity = s->capacity ? s->capacity * 2 : 4, slots = capacity * 2;
    struct pattern *at = realloc(s->at, capacity * sizeof *at);
    if (!at)
        return -1;
    s->at = at;
    size_t *table = calloc(slots, sizeof *table);
    if (!table)
        return -1;
    free(s->slots);
    s->slots = table;
    s->mask = slots - 1;
    s->capacity = capacity;
    for (size_t i = 0; i < s->n; i++)
        *find_slot(s, at[i].hash, at[i].text, strlen(at[i].text)) = i + 1;
    return 0;
}

/* NULL where memory ran out. */
static struct pattern *find_or_add(struct hostset *s, const char *text, size_t n, size_t dims)
{
    uint64_t hash = hash_text(text, n);
    struct pattern *p = find(s, hash, text, n);
    if (!p) {
        char *copy = grow(s) ? NULL : strndup(text, n);
        if (!copy)
            return NULL;
        s->at[s->n] = (struct pattern){.text = copy, .dims = dims, .hash = hash, .many.dims = dims};
        *find_slot(s, hash, text, n) = s->n + 1;
        p = &s->at[s->n++];
    }
    s->last = (size_t)(p - s->at);
    return p;
}

/* --- counting --- */

static void pattern_normalise(struct pattern *p)
{
    indexes_normalise(&p->one);
    points_normalise(&p->many);
}

static size_t pattern_count(const struct pattern *p) { return p->dims == 0 ? p->plain : p->dims == 1 ? indexes_count(&p->one) : p->many.n; }

size_t hostset_count(struct hostset *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        pattern_normalise(&s->at[i]);
        n += pattern_count(&s->at[i]);
    }
    return n;
}

int hostset_check(struct hostset *s, struct ssx_error *err)
{
    if (s->bound > HOSTSET_MAX)
        s->bound = hostset_count(s);
    return s->bound > HOSTSET_MAX ? error_set(err, SSX_ERROR_USAGE, "that makes more than %d names", HOSTSET_MAX) : 0;
}

/* Whether n names more are not too many. Up to twice as many may wait: which of them are there twice is only looked at
 * when it matters. */
static int admit(struct hostset *s, size_t n, struct ssx_error *err)
{
    if (n > HOSTSET_MAX)
        return error_set(err, SSX_ERROR_USAGE, "that makes more than %d names", HOSTSET_MAX);
    if (s->bound + n > 2 * HOSTSET_MAX && hostset_check(s, err))
        return -1;
    s->bound += n;
    return 0;
}

/* HOSTSET_MAX + 1: that many or more. */
static size_t product_count(const struct indexes *sets, size_t dims)
{
    size_t n = 1;
    for (size_t d = 0; d < dims; d++) {
        uint64_t count = indexes_count(&sets[d]);
        n = count > HOSTSET_MAX || n * count > HOSTSET_MAX ? HOSTSET_MAX + 1 : n * count;
    }
    return n;
}

/* --- adding and combining --- */

static int out_of_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names"); }

static int pattern_check(const struct pattern *p, struct ssx_error *err)
{
    return p->one.failed || p->many.failed ? out_of_memory(err) : 0;
}

int hostset_add(struct hostset *s, const char *pattern, size_t n, const struct indexes *sets, size_t dims, struct ssx_error *err)
{
    if (admit(s, product_count(sets, dims), err))
        return -1;
    struct pattern *p = find_or_add(s, pattern, n, dims);
    if (!p)
        return out_of_memory(err);
    if (dims == 0)
        p->plain = true;
    else if (dims == 1)
        for (size_t i = 0; i < sets->n; i++)
            indexes_add(&p->one, sets->at[i].lo, sets->at[i].hi);
    else
        points_add_product(&p->many, sets);
    return pattern_check(p, err);
}

static void add_all(struct pattern *to, const struct pattern *from)
{
    to->plain |= from->plain;
    for (size_t i = 0; i < from->one.n; i++)
        indexes_add(&to->one, from->one.at[i].lo, from->one.at[i].hi);
    points_add_all(&to->many, &from->many);
}

static void pattern_combine(struct pattern *a, struct pattern *b, char operation)
{
    pattern_normalise(a);
    pattern_normalise(b);
    if (a->dims == 0)
        a->plain = operation == '!' ? a->plain && !b->plain : operation == '&' ? a->plain && b->plain : a->plain != b->plain;
    else if (a->dims == 1)
        indexes_combine(&a->one, &b->one, operation);
    else
        points_combine(&a->many, &b->many, operation);
}

/* What both keep, where nothing new can come in. */
static int intersect(struct hostset *a, struct hostset *b, struct ssx_error *err)
{
    for (size_t i = 0; i < a->n; i++) {
        struct pattern *p = &a->at[i], *q = find(b, p->hash, p->text, strlen(p->text));
        if (q)
            pattern_combine(p, q, '&');
        else
            pattern_clear(p);
        if (pattern_check(p, err))
            return -1;
    }
    return 0;
}

int hostset_combine(struct hostset *a, struct hostset *b, char operation, struct ssx_error *err)
{
    if (operation == '&')
        return intersect(a, b, err);
    if (operation != '!' && admit(a, hostset_count(b), err))
        return -1;
    for (size_t i = 0; i < b->n; i++) {
        struct pattern *q = &b->at[i];
        struct pattern *p = operation == '!' ? find(a, q->hash, q->text, strlen(q->text))
                                             : find_or_add(a, q->text, strlen(q->text), q->dims);
        if (!p && operation != '!')
            return out_of_memory(err);
        if (p && operation == ',')
            add_all(p, q);
        else if (p)
            pattern_combine(p, q, operation);
        if (p && pattern_check(p, err))
            return -1;
    }
    return 0;
}

/* --- names and folded names --- */

/* A pattern's text between its numbers, the percent signs single: dims + 1 pieces. */
struct pieces { char *text; size_t start[HOSTSET_DIMS + 2]; };

static int take_pieces(struct pieces *out, const struct pattern *p)
{
    size_t n = 0, dim = 0;
    out->text = malloc(strlen(p->text) + 1);
    if (!out->text)
        return -1;
    out->start[0] = 0;
    for (const char *at = p->text; *at; at++) {
        if (*at == '%' && *++at == 's')
            out->start[++dim] = n;
        else
            out->text[n++] = *at;
    }
    out->start[dim + 1] = n;
    return 0;
}

static void add_piece(struct buf *out, const struct pieces *pieces, size_t i)
{
    buf_add(out, pieces->text + pieces->start[i], pieces->start[i + 1] - pieces->start[i]);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp((*(const struct pattern *const *)a)->text, (*(const struct pattern *const *)b)->text);
}

/* The patterns that have names, in order; NULL where memory ran out. The caller frees the array. */
static struct pattern **in_order(struct hostset *s, size_t *n)
{
    struct pattern **out = malloc((s->n ? s->n : 1) * sizeof *out);
    *n = 0;
    for (size_t i = 0; out && i < s->n; i++) {
        pattern_normalise(&s->at[i]);
        if (pattern_count(&s->at[i]))
            out[(*n)++] = &s->at[i];
    }
    if (out)
        qsort(out, *n, sizeof(struct pattern *), compare_texts);
    return out;
}

struct naming { const struct pieces *pieces; struct buf name; hostset_visit *visit; void *ctx; };

/* Puts each combination of the sides from `dim` on behind what the name is so far. */
static int name_box(struct naming *n, const struct side_set *sides, size_t dim, size_t dims)
{
    char text[INDEX_TEXT_MAX];
    if (dim == dims)
        return n->name.failed ? -1 : n->visit(n->ctx, (const char *)buf_data(&n->name), buf_length(&n->name));
    struct interval one;
    size_t count, kept = n->name.end;
    const struct interval *at = side_intervals(&sides[dim], &one, &count);
    for (size_t i = 0; i < count; i++)
        for (int64_t index = at[i].lo; index <= at[i].hi; index++) {
            n->name.end = kept;
            buf_add(&n->name, text, index_text(text, index));
            add_piece(&n->name, n->pieces, dim + 1);
            int rc = name_box(n, sides, dim + 1, dims);
            if (rc)
                return rc;
        }
    return 0;
}

static int name_pattern(struct naming *n, const struct pattern *p)
{
    int rc = 0;
    n->name.end = n->name.start;
    add_piece(&n->name, n->pieces, 0);
    if (p->dims < 2) {
        struct side_set side = {.at = p->one.at, .n = p->one.n};
        return name_box(n, &side, 0, p->dims);
    }
    struct boxes boxes;
    size_t kept = n->name.end;
    rc = boxes_fold(&boxes, &p->many);
    for (size_t i = 0; i < boxes.n && rc == 0; i++) {
        n->name.end = kept;
        rc = name_box(n, boxes.sides + i * p->dims, 0, p->dims);
    }
    boxes_free(&boxes);
    return rc;
}

int hostset_each(struct hostset *s, hostset_visit *visit, void *ctx, struct ssx_error *err)
{
    size_t count;
    struct pattern **patterns = in_order(s, &count);
    struct naming n = {.visit = visit, .ctx = ctx};
    int rc = patterns ? 0 : -1;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct pieces pieces;
        rc = take_pieces(&pieces, patterns[i]);
        n.pieces = &pieces;
        if (rc == 0)
            rc = name_pattern(&n, patterns[i]);
        free(pieces.text);
    }
    free(patterns);
    buf_free(&n.name);
    return rc < 0 ? out_of_memory(err) : rc;
}

static void fold_box(struct buf *out, const struct pieces *pieces, const struct side_set *sides, size_t dims)
{
    add_piece(out, pieces, 0);
    for (size_t d = 0; d < dims; d++) {
        struct interval one;
        size_t n;
        const struct interval *at = side_intervals(&sides[d], &one, &n);
        bool single = n == 1 && at->lo == at->hi;
        if (!single)
            buf_add(out, "[", 1);
        indexes_print(out, at, n);
        if (!single)
            buf_add(out, "]", 1);
        add_piece(out, pieces, d + 1);
    }
}

static int fold_pattern(struct buf *out, const struct pattern *p)
{
    struct pieces pieces;
    struct boxes boxes = {0};
    int rc = take_pieces(&pieces, p);
    if (rc == 0 && p->dims < 2) {
        struct side_set side = {.at = p->one.at, .n = p->one.n};
        fold_box(out, &pieces, &side, p->dims);
    } else if (rc == 0) {
        rc = boxes_fold(&boxes, &p->many);
        for (size_t i = 0; i < boxes.n; i++) {
            if (i)
                buf_add(out, ",", 1);
            fold_box(out, &pieces, boxes.sides + i * p->dims, p->dims);
        }
        boxes_free(&boxes);
    }
    free(pieces.text);
    return rc;
}

int hostset_fold(struct hostset *s, struct buf *out, struct ssx_error *err)
{
    size_t count;
    struct pattern **patterns = in_order(s, &count);
    int rc = patterns ? 0 : -1;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (i)
            buf_add(out, ",", 1);
        rc = fold_pattern(out, patterns[i]);
    }
    free(patterns);
    return rc || out->failed ? out_of_memory(err) : 0;
}
