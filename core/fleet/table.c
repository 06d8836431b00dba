#include "fleet/table.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/field.h"

#include <stdlib.h>
#include <string.h>

#define GAP 2 /* blanks between columns */

struct cell { size_t at, n; }; /* in bytes; n 0: missing */

struct table {
    const char *const *paths;
    size_t columns, hosts;
    struct cell *cells;              /* a row for each host */
    bool *present;
    struct buf bytes;
};

int table_new(struct table **out, const char *const *paths, size_t columns, size_t hosts, struct ssx_error *err)
{
    struct table *t = calloc(1, sizeof *t);
    if (t) {
        *t = (struct table){.paths = paths, .columns = columns, .hosts = hosts, .cells = calloc(hosts * columns + 1, sizeof *t->cells)};
        t->present = calloc(hosts + 1, sizeof *t->present);
    }
    if (!t || !t->cells || !t->present) {
        table_free(t);
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a table of %zu hosts", hosts);
    }
    *out = t;
    return 0;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    buf_free(&t->bytes);
    free(t->cells);
    free(t->present);
    free(t);
}

int table_put(struct table *t, size_t host, const void *value, size_t n)
{
    for (size_t i = 0; i < t->columns; i++) {
        const void *at;
        struct cell *cell = &t->cells[host * t->columns + i];
        cell->n = 0;
        if (field_find(value, n, t->paths[i], &at, &cell->n))
            continue;
        cell->at = buf_length(&t->bytes);
        if (buf_add(&t->bytes, at, cell->n))
            return -1;
    }
    t->present[host] = true;
    return 0;
}

static const void *cell_of(const struct table *t, size_t host, size_t column, size_t *n)
{
    const struct cell *cell = &t->cells[host * t->columns + column];
    *n = cell->n;
    return cell->n ? buf_data(&t->bytes) + cell->at : NULL;
}

/* The hosts with a result. The caller frees it; NULL without memory. */
static size_t *present_hosts(const struct table *t, size_t *count)
{
    size_t *hosts = malloc((t->hosts + 1) * sizeof *hosts);
    *count = 0;
    for (size_t i = 0; hosts && i < t->hosts; i++)
        if (t->present[i])
            hosts[(*count)++] = i;
    return hosts;
}

struct sorting { const struct table *table; size_t column; bool descending; };

static int by_cell(const void *a, const void *b, void *ctx)
{
    const struct sorting *s = ctx;
    size_t x = *(const size_t *)a, y = *(const size_t *)b, xn, yn;
    const void *p = cell_of(s->table, x, s->column, &xn), *q = cell_of(s->table, y, s->column, &yn);
    int rc = field_compare(p, xn, q, yn);
    if (s->descending && xn && yn) /* what is missing is last all the same */
        rc = -rc;
    return rc ? rc : (x > y) - (x < y);
}

/* --- rows --- */

struct layout { size_t width; bool number; };

static void pad(struct buf *out, size_t n)
{
    for (; n; n--)
        buf_add(out, " ", 1);
}

static void add_cell(struct buf *out, const void *text, size_t n, struct layout l, bool last)
{
    size_t width = text_width(text, n), blanks = l.width > width ? l.width - width : 0;
    if (l.number)
        pad(out, blanks);
    buf_add(out, text, n);
    if (!l.number && !last)
        pad(out, blanks);
}

static struct layout measure(const struct table *t, const size_t *hosts, size_t count, size_t column)
{
    struct layout l = {text_width(t->paths[column], strlen(t->paths[column])), true};
    struct buf text = {0};
    for (size_t i = 0; i < count; i++) {
        long double number;
        bool integer;
        size_t n;
        const void *at = cell_of(t, hosts[i], column, &n);
        buf_consume(&text, buf_length(&text));
        field_text(&text, at, n);
        size_t width = text_width((const char *)buf_data(&text), buf_length(&text));
        l.width = width > l.width ? width : l.width;
        l.number &= !n || field_number(at, n, &number, &integer);
    }
    buf_free(&text);
    return l;
}

static void add_row(struct buf *out, const struct table *t, size_t host, const size_t *columns, size_t count, const struct layout *layout)
{
    struct buf text = {0};
    for (size_t c = 0; c < count; c++) {
        size_t n;
        const void *at = cell_of(t, host, columns[c], &n);
        buf_consume(&text, buf_length(&text));
        field_text(&text, at, n);
        pad(out, GAP);
        add_cell(out, buf_data(&text), buf_length(&text), layout[c], c + 1 == count);
    }
    buf_add_text(out, "\n");
    buf_free(&text);
}

int table_add_rows(struct buf *out, const struct table *t, char *const *names, const size_t *columns, size_t count,
                   struct table_order order, struct table_look look)
{
    size_t rows, *hosts = present_hosts(t, &rows);
    struct layout *layout = calloc(count + 1, sizeof *layout), name = {strlen(look.row), false};
    if (hosts && order.by_column)
        qsort_r(hosts, rows, sizeof *hosts, by_cell, &(struct sorting){t, order.column, order.descending});
    for (size_t i = 0; hosts && i < rows; i++)
        name.width = strlen(names[hosts[i]]) > name.width ? strlen(names[hosts[i]]) : name.width;
    buf_add_text(out, look.before);
    add_cell(out, look.row, strlen(look.row), name, false);
    for (size_t c = 0; hosts && layout && c < count; c++) {
        layout[c] = measure(t, hosts, rows, columns[c]);
        pad(out, GAP);
        add_cell(out, t->paths[columns[c]], strlen(t->paths[columns[c]]), layout[c], c + 1 == count);
    }
    buf_add_text(out, look.after);
    buf_add_text(out, "\n");
    for (size_t i = 0; hosts && layout && i < rows; i++) {
        add_cell(out, names[hosts[i]], strlen(names[hosts[i]]), name, false);
        add_row(out, t, hosts[i], columns, count, layout);
    }
    int rc = hosts && layout && !out->failed ? 0 : -1;
    free(hosts);
    free(layout);
    return rc;
}

/* --- groups --- */

static int larger_first(const void *a, const void *b)
{
    const struct table_group *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : field_compare(x->value, x->n, y->value, y->n);
}

int table_groups(const struct table *t, size_t column, struct table_group **groups, size_t *count, size_t **hosts)
{
    size_t rows;
    *count = 0;
    *hosts = present_hosts(t, &rows);
    *groups = calloc(rows + 1, sizeof **groups);
    if (!*hosts || !*groups) {
        free(*hosts);
        free(*groups);
        return -1;
    }
    qsort_r(*hosts, rows, sizeof **hosts, by_cell, &(struct sorting){t, column, false});
    for (size_t i = 0; i < rows; i++) {
        size_t n;
        const void *at = cell_of(t, (*hosts)[i], column, &n);
        struct table_group *last = *count ? &(*groups)[*count - 1] : NULL;
        if (last && field_compare(last->value, last->n, at, n) == 0)
            last->count++;
        else
            (*groups)[(*count)++] = (struct table_group){at, n, *hosts + i, 1};
    }
    qsort(*groups, *count, sizeof **groups, larger_first);
    return 0;
}

/* --- numbers --- */

static int by_number(const void *a, const void *b)
{
    const struct table_number *x = a, *y = b;
    return x->number != y->number ? (x->number > y->number ? 1 : -1) : (x->host > y->host) - (x->host < y->host);
}

int table_numbers(const struct table *t, size_t column, struct table_number **numbers, size_t *count, bool *integers)
{
    *numbers = malloc((t->hosts + 1) * sizeof **numbers);
    *count = 0;
    *integers = true;
    if (!*numbers)
        return -1;
    for (size_t i = 0; i < t->hosts; i++) {
        struct table_number number = {0, i};
        bool integer;
        size_t n;
        const void *at = cell_of(t, i, column, &n);
        if (!t->present[i] || !field_number(at, n, &number.number, &integer) || number.number != number.number) /* no NaN */
            continue;
        (*numbers)[(*count)++] = number;
        *integers &= integer;
    }
    qsort(*numbers, *count, sizeof **numbers, by_number);
    return 0;
}
