#include "fan_show.h"

#include "fan_groups.h"
#include "fan_timing.h"
#include "progress_line.h"
#include "size_text.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/outcome.h"
#include "worker/show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_US 100000
#define PENDING_MAX 400 /* bytes of names */
#define PIECE (64u << 10)

/* What stdout's words become instead of lines. */
static int init_kept(struct fan_show *f, const struct settings *s, const struct descriptor *d, struct ssx_error *err)
{
    if (fan_table_wanted(s) && fan_table_init(&f->table, s, d, f->count, err))
        return -1;
    if (s->json && (s->by_host || s->diff || s->outdir))
        return error_set(err, SSX_ERROR_USAGE, "--json shows all as it comes: not with -L, --diff or --outdir");
    if (s->outdir && (s->gather || s->by_host || s->diff))
        return error_set(err, SSX_ERROR_USAGE,
                         "--outdir shows nothing: not with -b, -L or --diff (sshexec show -b shows it after the run)");
    if (s->outdir && !s->keep_order)
        return outdir_open(&f->outdir, s->outdir, f->count, err);
    if (s->keep_order && !f->rows.items)
        return error_set(err, SSX_ERROR_USAGE, "-k is for items (--scatter FIELD)");
    if (s->keep_order && (s->json || s->gather || s->by_host || s->diff || s->outdir || f->table.table))
        return error_set(
            err, SSX_ERROR_USAGE,
            "-k orders lines that are shown as they come: not with --json (which names the item), -b, -L, --diff, --outdir or a table");
    if (s->keep_order)
        return in_order_new(&f->in_order, f->count, err);
    return (s->gather || s->by_host || s->diff) && !s->json ? gather_new(&f->gather, f->count, GATHER_MEMORY, err) : 0;
}

int fan_show_init(struct fan_show *f, const struct settings *s, const struct descriptor *d, const char *type,
                  const struct fan_rows *rows, struct ssx_error *err)
{
    size_t count = rows->items ? rows->item_count : rows->host_count, each = rows->items ? 1 + rows->per_host : 1;
    *f = (struct fan_show){.settings = s,
                           .rows = *rows,
                           .names = rows->items ? rows->items : rows->hosts,
                           .count = count,
                           .colors = colors_of(s),
                           .outdir.fd = -1,
                           .voices = calloc(rows->host_count * each, sizeof *f->voices),
                           .voices_each = each,
                           .began_us = clock_us()};
    report_init(&f->report, type, "", d);
    f->report.json = s->json;
    f->progress = progress_line_possible() && !s->quiet && !s->json;
    f->for_terminal = isatty(STDOUT_FILENO);
    f->times = s->timing ? calloc(rows->host_count, sizeof *f->times) : NULL;
    if (!f->voices || (s->timing && !f->times) || tally_init(&f->tally, count) ||
        (rows->items && tally_init(&f->host_tally, rows->host_count)))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu %s", count, rows->items ? "items" : "hosts");
    for (size_t i = 0; i < rows->host_count * each; i++) {
        f->voices[i].item = SSX_FLEET_NONE;
        f->voices[i].out.for_terminal = f->for_terminal;
        f->voices[i].err.for_terminal = isatty(STDERR_FILENO);
    }
    return init_kept(f, s, d, err);
}

void fan_show_free(struct fan_show *f)
{
    for (size_t i = 0; f->voices && i < f->rows.host_count * f->voices_each; i++) {
        buf_free(&f->voices[i].out.rest);
        buf_free(&f->voices[i].err.rest);
        buf_free(&f->voices[i].result);
    }
    free(f->voices);
    free(f->times);
    gather_free(f->gather);
    in_order_free(f->in_order);
    fan_table_free(&f->table);
    outdir_close(&f->outdir);
    tally_free(&f->tally);
    tally_free(&f->host_tally);
    report_free(&f->report);
}

char *fan_show_prefix(const struct fan_show *f, const char *name, int fd)
{
    struct buf text = {0};
    if (f->settings->no_names)
        return NULL;
    if (fd == STDOUT_FILENO) /* whose colours these are */
        buf_printf(&text, "%s%s%s", f->colors.name, name, f->colors.off);
    else
        buf_add_text(&text, name);
    buf_add(&text, "", 1);
    if (text.failed)
        buf_free(&text);
    return (char *)buf_data(&text);
}

/* --- who speaks --- */

size_t fan_show_row(const struct fan_show *f, const struct ssx_fleet_event *e) { return f->rows.items ? e->item : e->host; }

bool fan_show_is_end(const struct fan_show *f, const struct ssx_fleet_event *e)
{
    return e->kind == (f->rows.items ? SSX_FLEET_DEALT : SSX_FLEET_END);
}

/* The host's own, or that of the item that it says something of. Only a forged record has more items than it may
 * have. */
static struct voice *voice_of(const struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *own = &f->voices[e->host * f->voices_each], *of_item = own + f->voices_each - 1;
    if (e->item == SSX_FLEET_NONE || !f->rows.items)
        return own;
    for (struct voice *v = own + 1; v < own + f->voices_each; v++) {
        if (v->item == e->item)
            return v;
        of_item = v->item == SSX_FLEET_NONE ? v : of_item;
    }
    of_item->item = e->item;
    return of_item;
}

static void voice_clear(struct voice *v)
{
    buf_free(&v->out.rest);
    buf_free(&v->err.rest);
    buf_free(&v->result);
    v->has_result = false;
    v->item = SSX_FLEET_NONE;
}

/* --- lines --- */

/* rc: what came of writing to stdout, with errno. */
static void note_output(struct fan_show *f, int rc)
{
    if (rc && !f->output_error)
        f->output_error = errno ? errno : EIO;
}

static int write_out(struct fan_show *f, int fd, struct buf *text)
{
    int rc = 0;
    if (buf_length(text)) {
        progress_line_clear();
        rc = fd_write_all(fd, buf_data(text), buf_length(text));
    }
    rc = rc && fd == STDOUT_FILENO ? -1 : 0;
    note_output(f, rc);
    buf_free(text);
    return rc;
}

static int complain(const struct ssx_error *err)
{
    fprintf(stderr, "sshexec: %s\n", err->text);
    return -1;
}

static int pass(void *ctx, const void *bytes, size_t n)
{
    struct buf text = {0};
    buf_add(&text, bytes, n);
    return text.failed ? -1 : write_out(ctx, STDOUT_FILENO, &text);
}

/* Lines of a host, now or when the item that they are about has its turn. */
static int put_lines(struct fan_show *f, int fd, const struct ssx_fleet_event *e, struct buf *text)
{
    struct ssx_error err = {0};
    if (!f->in_order || fd != STDOUT_FILENO)
        return write_out(f, fd, text);
    int rc = in_order_add(f->in_order, e->item, buf_data(text), buf_length(text), &err);
    buf_free(text);
    return rc ? complain(&err) : 0;
}

/* An item has ended: it and those that waited for it have their turn. */
static int end_in_order(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct ssx_error err = {0};
    int rc = f->in_order ? in_order_end(f->in_order, e->item, pass, f, &err) : 0;
    return rc && err.code ? complain(&err) : rc;
}

/* Whole lines of one host, at once. */
static int say(struct fan_show *f, struct lines *l, int fd, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct buf text = {0};
    char *prefix = fan_show_prefix(f, e->name, fd);
    lines_add(l, &text, prefix, bytes, n);
    free(prefix);
    return put_lines(f, fd, e, &text);
}

/* A host's file has its name, an item's its number. */
static int write_file(struct fan_show *f, const struct ssx_fleet_event *e, const void *bytes, size_t n, struct ssx_error *err)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", e->item + 1);
    return outdir_write(&f->outdir, fan_show_row(f, e), f->rows.items ? number : e->name, bytes, n, err);
}

/* stdout, or what stands for it: now, or with those who say the same. */
static int say_out(struct fan_show *f, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    if (f->table.table)
        return 0;
    if (!f->gather && !f->settings->outdir)
        return say(f, &voice_of(f, e)->out, STDOUT_FILENO, e, bytes, n);
    if ((f->gather ? gather_add(f->gather, fan_show_row(f, e), bytes, n, &err) : write_file(f, e, bytes, n, &err)) == 0)
        return 0;
    progress_line_clear();
    return complain(&err);
}

static int say_value(struct fan_show *f, const struct ssx_fleet_event *e, const struct schema_struct *s, const void *value, size_t n)
{
    struct buf text = {0};
    if (f->for_terminal) {
        value_show(&text, s, value, n);
    } else {
        value_show_json(&text, s, value, n);
        buf_add_text(&text, "\n");
    }
    int rc = say_out(f, e, buf_data(&text), buf_length(&text));
    buf_free(&text);
    return rc;
}

void fan_show_remark(const char *name, const char *word, const char *text)
{
    char safe[4200];
    text_escape(safe, sizeof safe, text, strlen(text));
    progress_line_clear();
    fprintf(stderr, "%s: %s%s%s\n", name, word ? word : "", word ? ": " : "", safe);
}

/* --- events --- */

static void complain_of_end(const struct fan_show *f, const struct ssx_fleet_event *e)
{
    progress_line_clear();
    if (e->item != SSX_FLEET_NONE)
        fprintf(stderr, "sshexec: %s of %s on %s: %s\n", f->report.type, f->names[e->item], e->name, e->ending->text);
    else
        fprintf(stderr, "sshexec: %s on %s: %s\n", f->report.type, e->name, e->ending->text);
}

static int show_result(struct fan_show *f, const struct ssx_fleet_event *e, const struct voice *v)
{
    if (!v->has_result)
        return 0;
    if (f->table.table)
        return fan_table_put(&f->table, fan_show_row(f, e), buf_data(&v->result), buf_length(&v->result));
    return f->settings->quiet ? 0 : say_value(f, e, f->report.descriptor->result, buf_data(&v->result), buf_length(&v->result));
}

/* The end of a row: of all that was said of it. */
static int end_row(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *v = voice_of(f, e);
    struct buf out = {0}, err = {0};
    int rc = show_result(f, e, v);
    char *of_out = fan_show_prefix(f, e->name, STDOUT_FILENO), *of_err = fan_show_prefix(f, e->name, STDERR_FILENO);
    lines_end(&v->out, &out, of_out);
    lines_end(&v->err, &err, of_err);
    free(of_out);
    free(of_err);
    if (put_lines(f, STDOUT_FILENO, e, &out) || put_lines(f, STDERR_FILENO, e, &err))
        rc = -1;
    if (f->gather)
        gather_end(f->gather, fan_show_row(f, e), NULL);
    if (f->settings->outdir && say_out(f, e, NULL, 0)) /* who said nothing has a file, too */
        rc = -1;
    voice_clear(v);
    if (e->ending->outcome != SSX_OUTCOME_OK)
        complain_of_end(f, e);
    return rc;
}

/* Those that came to no host are only counted: there may be a million of them. */
static int end_text(struct fan_show *f, const struct ssx_fleet_event *e)
{
    if (fan_show_is_end(f, e))
        return (e->host != SSX_FLEET_NONE && end_row(f, e)) || end_in_order(f, e) ? -1 : 0;
    if (e->ending->outcome != SSX_OUTCOME_OK)
        complain_of_end(f, e);
    return 0;
}

/* What was kept of it is not: another host will say it all. */
static void forget(struct fan_show *f, const struct ssx_fleet_event *e)
{
    voice_clear(voice_of(f, e));
    if (f->in_order)
        in_order_forget(f->in_order, e->item);
    if (f->gather)
        gather_forget(f->gather, e->item);
    if (f->settings->outdir)
        outdir_forget(&f->outdir, e->item);
    if (f->settings->verbose)
        fan_show_remark(e->name, f->names[e->item], e->text);
}

static int keep_result(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *v = voice_of(f, e);
    bool shown = f->of_files ? f->settings->verbose > 0 : f->report.show_result;
    v->has_result = (f->table.table || shown) && buf_add(&v->result, e->bytes, e->n) == 0;
    return 0;
}

static int show_text(struct fan_show *f, const struct ssx_fleet_event *e)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    switch (e->kind) {
    case SSX_FLEET_OUTPUT:
        if (e->stream == SSX_STDERR)
            return say(f, &voice_of(f, e)->err, STDERR_FILENO, e, e->bytes, e->n);
        return f->report.show_output ? say_out(f, e, e->bytes, e->n) : 0;
    case SSX_FLEET_NOISE: return say(f, &voice_of(f, e)->err, STDERR_FILENO, e, e->bytes, e->n);
    case SSX_FLEET_LOG:
        if (e->level > 0 || f->settings->verbose)
            fan_show_remark(e->name, levels[e->level & 3], e->text);
        return 0;
    case SSX_FLEET_ITEM:
        return f->settings->quiet || f->of_files ? 0 : say_value(f, e, f->report.descriptor->items, e->bytes, e->n);
    case SSX_FLEET_RESULT: return keep_result(f, e);
    case SSX_FLEET_END: case SSX_FLEET_DEALT: return end_text(f, e);
    case SSX_FLEET_RETURNED: forget(f, e); return 0;
    default: return 0;
    }
}

/* The same event as the wire has it, for the one place that makes JSON of it. */
static void as_message(struct message *m, const struct ssx_fleet_event *e)
{
    static const enum message_kind kinds[] = {
        [SSX_FLEET_OUTPUT] = MESSAGE_OUTPUT,     [SSX_FLEET_LOG] = MESSAGE_LOG,
        [SSX_FLEET_PROGRESS] = MESSAGE_PROGRESS, [SSX_FLEET_ITEM] = MESSAGE_ITEM,
        [SSX_FLEET_RESULT] = MESSAGE_RESULT,     [SSX_FLEET_STATE] = MESSAGE_STATE,
        [SSX_FLEET_END] = MESSAGE_END,           [SSX_FLEET_DEALT] = MESSAGE_END,
    };
    const struct ssx_ending *x = e->ending;
    *m = (struct message){.kind = kinds[e->kind], .id = 1};
    if (e->kind == SSX_FLEET_LOG) {
        m->log.level = (uint64_t)e->level;
        m->log.text = span_text(e->text);
    } else if (e->kind == SSX_FLEET_PROGRESS) {
        m->progress.done = e->done;
        m->progress.total = e->total;
        m->progress.text = span_text(e->text);
    } else if (m->kind == MESSAGE_END) {
        m->end = (struct message_end){.outcome = x->outcome,
                                      .code = x->code,
                                      .signal = x->signal,
                                      .reason = span_text(x->reason),
                                      .message = span_text(x->message),
                                      .sandbox = span_text(x->sandbox),
                                      .wall_us = x->wall_us,
                                      .user_us = x->user_us,
                                      .sys_us = x->sys_us,
                                      .rss_kb = x->rss_kb,
                                      .out = x->out,
                                      .err = x->err,
                                      .truncated = x->truncated};
        m->end.has_digest = *x->digest && text_unhex(m->end.digest.bytes, DIGEST_SIZE, x->digest) == 0;
    } else {
        m->data.bytes = (struct span){e->bytes, e->n};
        m->data.stream = (uint64_t)e->stream;
    }
}

static int show_json(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct message m;
    if (e->kind == SSX_FLEET_NOISE)
        return say(f, &voice_of(f, e)->err, STDERR_FILENO, e, e->bytes, e->n);
    f->report.host = e->name;
    f->report.item = e->item + 1; /* SSX_FLEET_NONE: 0 */
    f->report.timing = e->timing;
    if (e->kind != SSX_FLEET_RETURNED)
        as_message(&m, e);
    int rc = e->kind == SSX_FLEET_RETURNED ? report_returned(&f->report, e->text) : report_message(&f->report, &m);
    note_output(f, rc);
    return rc;
}

int fan_show_event(struct fan_show *f, const struct ssx_fleet_event *e)
{
    if (e->kind == SSX_FLEET_NOTE) {
        if (e->level <= f->settings->verbose)
            fan_show_remark("sshexec", NULL, e->text);
        return 0;
    }
    if (e->kind == SSX_FLEET_END && f->times)
        f->times[e->host] = *e->timing;
    if (fan_show_is_end(f, e)) {
        tally_add(&f->tally, fan_show_row(f, e), e->ending->outcome, e->ending->exit_code);
        if (e->timing->total_us > f->took_us)
            f->took_us = e->timing->total_us;
    } else if (e->kind == SSX_FLEET_END) {
        tally_add(&f->host_tally, e->host, e->ending->outcome, e->ending->exit_code);
    }
    return f->settings->json ? show_json(f, e) : show_text(f, e);
}

/* --- progress --- */

/* Nearly all of a transfer goes one way. */
static uint64_t moved_by(const struct ssx_fleet *fleet)
{
    uint64_t in, out;
    ssx_fleet_moved(fleet, &in, &out);
    return in + out;
}

void fan_show_moved(struct fan_show *f, const struct ssx_fleet *fleet) { f->moved += moved_by(fleet); }

static void add_bytes(char *line, size_t size, const struct fan_show *f, const struct ssx_fleet *fleet, double seconds)
{
    char all[32], each[32];
    uint64_t moved = f->moved + moved_by(fleet);
    double rate = seconds > 0 ? (double)moved / seconds : 0;
    snprintf(line, size, ", %s, %s/s", size_text(all, moved), size_text(each, (uint64_t)rate));
}

void fan_show_progress(struct fan_show *f, struct ssx_fleet *fleet)
{
    size_t counts[SSX_FLEET_PLACES];
    char line[256];
    int64_t now = clock_us();
    if (!f->progress || now - f->drawn_us < DRAW_US)
        return;
    f->drawn_us = now;
    (f->rows.items ? ssx_fleet_count_items : ssx_fleet_count)(fleet, counts);
    size_t unbegun = f->rows.items ? 0 : f->count - f->first - f->batch;
    double seconds = (double)(now - f->began_us) / 1e6, rate = seconds > 0 ? (double)f->tally.ended / seconds : 0;
    int n = snprintf(line, sizeof line, "%zu/%zu done, %zu running, %zu failed, %zu to go", f->tally.ended, f->count,
                     counts[SSX_FLEET_OPENING] + counts[SSX_FLEET_RUNNING], f->tally.failed,
                     counts[SSX_FLEET_WAITING] + unbegun);
    if (f->tally.ended)
        n += snprintf(line + n, sizeof line - (size_t)n, ", %.1f/s, %.0f s left", rate,
                      (double)(f->count - f->tally.ended) / rate);
    if (f->of_files)
        add_bytes(line + n, sizeof line - (size_t)n, f, fleet, seconds);
    progress_line_draw(line);
}

struct pending { const struct fan_show *show; struct ssx_fleet *fleet; enum ssx_fleet_place place; };

static bool is_pending(void *ctx, size_t host)
{
    const struct pending *p = ctx;
    if (host < p->show->first)
        return false;
    if (host - p->show->first >= p->show->batch) /* its batch is still to come */
        return p->place == SSX_FLEET_WAITING;
    return ssx_fleet_where(p->fleet, host - p->show->first) == p->place;
}

void fan_show_pending(struct fan_show *f, struct ssx_fleet *fleet)
{
    static const char *const words[SSX_FLEET_ENDED] = {
        [SSX_FLEET_WAITING] = "waiting", [SSX_FLEET_OPENING] = "connecting", [SSX_FLEET_RUNNING] = "running"};
    struct buf text = {0};
    for (int place = SSX_FLEET_ENDED - 1; place >= 0; place--) {
        struct buf names = {0};
        names_fold(&names, f->rows.hosts, f->rows.host_count, is_pending,
                   &(struct pending){f, fleet, (enum ssx_fleet_place)place}, PENDING_MAX);
        if (buf_length(&names))
            buf_printf(&text, "sshexec: %s: %.*s\n", words[place], (int)buf_length(&names), (const char *)buf_data(&names));
        buf_free(&names);
    }
    buf_add_text(&text, "sshexec: interrupt again to cancel\n");
    write_out(f, STDERR_FILENO, &text);
}

/* --- the end --- */

int fan_show_text(struct fan_show *f, struct buf *text, bool all)
{
    return all || buf_length(text) >= PIECE ? write_out(f, STDOUT_FILENO, text) : text->failed ? -1 : 0;
}

static const char *row_word(const struct fan_show *f) { return f->rows.items ? "item" : "host"; }

static int show_table(struct fan_show *f)
{
    struct buf text = {0};
    int rc = fan_table_add(&text, &f->table, f->names, (struct table_look){f->colors.head, f->colors.off, row_word(f)});
    return rc ? (buf_free(&text), rc) : fan_show_text(f, &text, true);
}

/* What was kept until now. */
static void show_kept(struct fan_show *f)
{
    struct ssx_error err = {0};
    if (f->gather && fan_groups_show(f, &err) && err.code)
        fprintf(stderr, "sshexec: %s\n", err.text);
    if (f->table.table)
        show_table(f);
}

void fan_show_describe(struct buf *out, const struct fan_show *f, double seconds)
{
    const struct tally *hosts = &f->host_tally;
    tally_describe(out, &f->tally, f->names, row_word(f), seconds);
    if (!f->rows.items)
        return;
    buf_printf(out, "; %zu host%s", hosts->count, hosts->count == 1 ? "" : "s");
    if (hosts->failed)
        tally_outcomes(out, hosts, f->rows.hosts);
}

static void summarise(struct fan_show *f, struct buf *out)
{
    buf_add_text(out, "sshexec: ");
    fan_show_describe(out, f, (double)f->took_us / 1e6);
    buf_add_text(out, "\n");
}

int fan_show_end(struct fan_show *f, bool largest)
{
    struct buf text = {0};
    progress_line_clear();
    if (!f->output_error)
        show_kept(f);
    if (f->times)
        fan_timing_table(&text, f->rows.hosts, f->times, f->rows.host_count);
    if (f->times && isatty(STDERR_FILENO))
        fan_timing_histogram(&text, f->times, f->rows.host_count);
    if (!f->settings->quiet)
        summarise(f, &text);
    write_out(f, STDERR_FILENO, &text);
    return tally_exit_code(&f->tally, largest);
}
