#include "fan_table.h"

#include "tally.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/field.h"
#include "worker/schema.h"

#include <stdlib.h>
#include <string.h>

bool fan_table_wanted(const struct settings *s) { return s->pick_count || s->group_by_count || s->total_count || s->sort; }

/* --- the columns --- */

static int add_path(struct fan_table *f, const char *option, const char *path, struct ssx_error *err)
{
    f->paths[f->count++] = path;
    return field_check(f->descriptor, f->descriptor->result, path, err) ? error_prefix(err, "%s %s", option, path) : 0;
}

static size_t sort_column(const struct settings *s) { return s->pick_count; }
static size_t group_column(const struct settings *s, size_t i) { return s->pick_count + (s->sort != NULL) + i; }
static size_t total_column(const struct settings *s, size_t i) { return group_column(s, s->group_by_count) + i; }

int fan_table_init(struct fan_table *f, const struct settings *s, const struct descriptor *d, size_t hosts, struct ssx_error *err)
{
    *f = (struct fan_table){.settings = s, .descriptor = d};
    if (s->sort && !s->pick_count)
        return error_set(err, SSX_ERROR_USAGE, "--sort says how --pick's table is sorted");
    if (s->json || s->gather || s->by_host || s->diff || s->outdir)
        return error_set(err, SSX_ERROR_USAGE, "a table of fields shows no output: not with --json, -b, -L, --diff or --outdir");
    for (size_t i = 0; i < s->pick_count; i++)
        if (add_path(f, "--pick", s->picks[i], err))
            return -1;
    if (s->sort && add_path(f, "--sort", s->sort + (*s->sort == '-'), err))
        return -1;
    for (size_t i = 0; i < s->group_by_count; i++)
        if (add_path(f, "--group-by", s->group_by[i], err))
            return -1;
    for (size_t i = 0; i < s->total_count; i++)
        if (add_path(f, "--sum, --min, --max, --avg, --pct", s->totals[i].field, err))
            return -1;
    return table_new(&f->table, f->paths, f->count, hosts, err);
}

void fan_table_free(struct fan_table *f) { table_free(f->table); }

int fan_table_put(struct fan_table *f, size_t host, const void *value, size_t n)
{
    struct buf full = {0};
    int rc = schema_fill(&full, f->descriptor->result, NULL, value, n);
    if (rc == 0)
        rc = table_put(f->table, host, buf_data(&full), buf_length(&full));
    buf_free(&full);
    return rc;
}

/* --- groups --- */

static int add_groups(struct buf *out, const struct fan_table *f, char *const *names, size_t column, struct table_look look)
{
    struct table_group *groups;
    size_t count, *hosts, width = text_width(f->paths[column], strlen(f->paths[column]));
    if (table_groups(f->table, column, &groups, &count, &hosts))
        return -1;
    struct buf *values = calloc(count + 1, sizeof *values);
    for (size_t i = 0; values && i < count; i++) {
        field_text(&values[i], groups[i].value, groups[i].n);
        size_t w = text_width((const char *)buf_data(&values[i]), buf_length(&values[i]));
        width = w > width ? w : width;
    }
    buf_printf(out, "%s%-*s  count  %ss%s\n", look.before, (int)width, f->paths[column], look.row, look.after);
    for (size_t i = 0; values && i < count; i++) {
        size_t w = text_width((const char *)buf_data(&values[i]), buf_length(&values[i]));
        buf_add(out, buf_data(&values[i]), buf_length(&values[i]));
        buf_printf(out, "%*s  %5zu  ", (int)(width - w), "", groups[i].count);
        names_fold_these(out, names, groups[i].hosts, groups[i].count);
        buf_add_text(out, "\n");
        buf_free(&values[i]);
    }
    int rc = values && !out->failed ? 0 : -1;
    free(values);
    free(groups);
    free(hosts);
    return rc;
}

/* --- totals --- */

static void add_number(struct buf *out, const char *what, const char *field, long double number, bool integer)
{
    buf_printf(out, "%s %s: ", what, field);
    field_number_text(out, number, integer);
}

/* The nearest rank: of n numbers, the one that this part of them don't exceed. */
static const struct table_number *percentile(const struct table_number *numbers, size_t n, unsigned percent)
{
    return &numbers[(n * percent + 99) / 100 - 1];
}

static void add_known_total(struct buf *out, char *const *names, struct total total, const struct table_number *numbers,
                            size_t n, bool integers)
{
    static const struct { const char *name; unsigned percent; } percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}};
    const struct table_number *one = &numbers[total.kind == TOTAL_MAX ? n - 1 : 0];
    long double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += numbers[i].number;
    while (one > numbers && one[-1].number == one->number)
        one--; /* the first host that has it */
    switch (total.kind) {
    case TOTAL_SUM: add_number(out, "sum", total.field, sum, integers); break;
    case TOTAL_AVG: add_number(out, "avg", total.field, sum / (long double)n, false); break;
    case TOTAL_MIN: case TOTAL_MAX:
        add_number(out, total.kind == TOTAL_MIN ? "min" : "max", total.field, one->number, integers);
        buf_printf(out, " (%s)", names[one->host]);
        break;
    case TOTAL_PCT:
        for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++) {
            add_number(out, percentiles[i].name, total.field, percentile(numbers, n, percentiles[i].percent)->number, integers);
            buf_add_text(out, i < 2 ? "\n" : "");
        }
        break;
    }
    buf_add_text(out, "\n");
}

static int add_total(struct buf *out, const struct fan_table *f, char *const *names, struct total total, size_t column)
{
    static const char *const words[] = {
        [TOTAL_SUM] = "sum", [TOTAL_MIN] = "min", [TOTAL_MAX] = "max", [TOTAL_AVG] = "avg", [TOTAL_PCT] = "pct"};
    struct table_number *numbers;
    size_t count;
    bool integers;
    if (table_numbers(f->table, column, &numbers, &count, &integers))
        return -1;
    if (count)
        add_known_total(out, names, total, numbers, count, integers);
    else
        buf_printf(out, "%s %s: -\n", words[total.kind], total.field);
    free(numbers);
    return out->failed ? -1 : 0;
}

/* --- all of it --- */

static int add_picks(struct buf *out, const struct fan_table *f, char *const *names, struct table_look look)
{
    const struct settings *s = f->settings;
    const struct table_order order = {s->sort != NULL, s->sort && *s->sort == '-', sort_column(s)};
    size_t columns[LIST_MAX];
    for (size_t i = 0; i < s->pick_count; i++)
        columns[i] = i;
    return s->pick_count ? table_add_rows(out, f->table, names, columns, s->pick_count, order, look) : 0;
}

int fan_table_add(struct buf *out, const struct fan_table *f, char *const *names, struct table_look look)
{
    const struct settings *s = f->settings;
    int rc = add_picks(out, f, names, look);
    for (size_t i = 0; rc == 0 && i < s->group_by_count; i++)
        rc = add_groups(out, f, names, group_column(s, i), look);
    for (size_t i = 0; rc == 0 && i < s->total_count; i++)
        rc = add_total(out, f, names, s->totals[i], total_column(s, i));
    return rc;
}
