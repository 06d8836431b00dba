#include "fan_groups.h"

#include "base/error.h"
#include "base/line_diff.h"

#include <stdlib.h>
#include <unistd.h>

#define RULE "---------------\n"
#define DIFF_MAX (64u << 20) /* bytes of an output that is compared */

/* An output on its way to stdout, line by line, with a name in front (NULL: none). */
struct passing { struct fan_show *show; struct buf *text; struct lines lines; const char *name; };

static int pass(void *ctx, const void *bytes, size_t n)
{
    struct passing *p = ctx;
    lines_add(&p->lines, p->text, p->name, bytes, n);
    return fan_show_text(p->show, p->text, false);
}

/* shown: what stands in front of each line, or NULL. */
static int show_lines(struct fan_show *f, struct buf *text, const char *shown, size_t number, struct ssx_error *err)
{
    struct passing passing = {f, text, {.for_terminal = f->for_terminal}, shown};
    int rc = gather_output(f->gather, number, pass, &passing, err);
    if (rc == 0)
        rc = lines_end(&passing.lines, text, shown);
    buf_free(&passing.lines.rest);
    return rc;
}

/* --- -b --- */

static int show_block(struct fan_show *f, struct buf *text, const struct gather_group *group, size_t number, struct ssx_error *err)
{
    buf_printf(text, RULE "%s", f->colors.head);
    names_fold_these(text, f->names, group->hosts, group->count);
    buf_add_text(text, f->colors.off);
    buf_printf(text, group->count > 1 ? " (%zu)\n" RULE : "\n" RULE, group->count);
    return show_lines(f, text, NULL, number, err);
}

/* --- -L --- */

static int show_named_lines(struct fan_show *f, struct buf *text, const char *name, size_t number, struct ssx_error *err)
{
    char *shown = fan_show_prefix(f, name, STDOUT_FILENO);
    int rc = show_lines(f, text, shown, number, err);
    free(shown);
    return rc;
}

static int show_folded_lines(struct fan_show *f, struct buf *text, const struct gather_group *group, size_t number, struct ssx_error *err)
{
    struct buf names = {0};
    names_fold_these(&names, f->names, group->hosts, group->count);
    buf_add(&names, "", 1);
    int rc = names.failed ? -1 : show_named_lines(f, text, (const char *)buf_data(&names), number, err);
    buf_free(&names);
    return rc;
}

static int show_by_host(struct fan_show *f, struct buf *text, const struct gather_group *groups, size_t count, struct ssx_error *err)
{
    size_t *group_of = calloc(f->count + 1, sizeof *group_of); /* + 1; 0: none */
    int rc = group_of ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", f->count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        for (size_t j = 0; j < groups[i].count; j++)
            group_of[groups[i].hosts[j]] = i + 1;
    for (size_t host = 0; rc == 0 && host < f->count; host++)
        if (group_of[host])
            rc = show_named_lines(f, text, f->names[host], group_of[host] - 1, err);
    free(group_of);
    return rc;
}

/* --- --diff --- */

static int keep(void *ctx, const void *bytes, size_t n) { return buf_add(ctx, bytes, n); }

static int read_output(struct buf *out, struct fan_show *f, const struct gather_group *group, size_t number, struct ssx_error *err)
{
    if (group->size > DIFF_MAX)
        return error_set(err, SSX_ERROR_USAGE, "%s said %llu bytes: too much to compare (--outdir keeps it for diff(1))",
                         f->names[group->hosts[0]], (unsigned long long)group->size);
    return gather_output(f->gather, number, keep, out, err) || out->failed
               ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for outputs")
               : 0;
}

static void diff_head(struct buf *text, struct fan_show *f, const char *sign, const struct gather_group *group)
{
    buf_printf(text, "%s%s ", f->colors.head, sign);
    names_fold_these(text, f->names, group->hosts, group->count);
    buf_printf(text, " (%zu)%s\n", group->count, f->colors.off);
}

/* Between the two outputs; in its lines, too, hosts speak. */
static int show_diff(struct fan_show *f, struct buf *text, const struct buf *most, const struct buf *other)
{
    const struct diff_look look = {f->colors.name, f->colors.removed, f->colors.added, f->colors.off};
    struct lines lines = {.for_terminal = f->for_terminal};
    struct buf changes = {0};
    int rc = diff_lines(&changes, buf_data(most), buf_length(most), buf_data(other), buf_length(other), &look);
    if (rc == 0)
        rc = lines_add(&lines, text, NULL, buf_data(&changes), buf_length(&changes)) || lines_end(&lines, text, NULL)
                 ? -1
                 : fan_show_text(f, text, false);
    buf_free(&lines.rest);
    buf_free(&changes);
    return rc;
}

static int show_diffs(struct fan_show *f, struct buf *text, const struct gather_group *groups, size_t count, struct ssx_error *err)
{
    struct buf most = {0};
    int rc = count > 1 ? read_output(&most, f, &groups[0], 0, err) : 0;
    for (size_t i = 1; rc == 0 && i < count; i++) {
        struct buf other = {0};
        diff_head(text, f, "---", &groups[0]);
        diff_head(text, f, "+++", &groups[i]);
        rc = read_output(&other, f, &groups[i], i, err);
        if (rc == 0)
            rc = show_diff(f, text, &most, &other);
        buf_free(&other);
    }
    buf_free(&most);
    return rc;
}

/* --- all --- */

static int show_each(struct fan_show *f, struct buf *text, const struct gather_group *groups, size_t count, struct ssx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (groups[i].size) /* as dshbak and clush: who said nothing is in the summary alone */
            rc = f->settings->by_host ? show_folded_lines(f, text, &groups[i], i, err) : show_block(f, text, &groups[i], i, err);
    return rc;
}

int fan_groups_show(struct fan_show *f, struct ssx_error *err)
{
    const struct settings *s = f->settings;
    const struct gather_group *groups;
    struct buf text = {0};
    size_t count;
    int rc = gather_groups(f->gather, &groups, &count, err);
    if (rc == 0)
        rc = (s->diff ? show_diffs : s->gather ? show_each : show_by_host)(f, &text, groups, count, err);
    if (rc == 0)
        rc = fan_show_text(f, &text, true);
    buf_free(&text);
    return rc;
}
