#include "fan_show.h"

#include "fan_groups.h"
#include "fan_timing.h"
#include "progress_line.h"

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
        return error_set(err, SSX_ERROR_USAGE, "--outdir shows nothing: not with -b, -L or --diff (sshexec show -b shows it after the run)");
    if (s->outdir)
        return outdir_open(&f->outdir, s->outdir, f->count, err);
    return (s->gather || s->by_host || s->diff) && !s->json ? gather_new(&f->gather, f->count, GATHER_MEMORY, err) : 0;
}

int fan_show_init(struct fan_show *f, const struct settings *s, const struct descriptor *d, const char *type, char *const *names, size_t count, struct ssx_error *err)
{
    *f = (struct fan_show){.settings = s, .names = names, .count = count, .colors = colors_of(s), .outdir.fd = -1,
                           .voices = calloc(count, sizeof *f->voices), .began_us = clock_us()};
    report_init(&f->report, type, "", d);
    f->report.json = s->json;
    f->progress = progress_line_possible() && !s->quiet && !s->json;
    f->for_terminal = isatty(STDOUT_FILENO);
    f->times = s->timing ? calloc(count, sizeof *f->times) : NULL;
    if (!f->voices || (s->timing && !f->times) || tally_init(&f->tally, count))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", count);
    for (size_t i = 0; i < count; i++) {
        f->voices[i].out.for_terminal = f->for_terminal;
        f->voices[i].err.for_terminal = isatty(STDERR_FILENO);
    }
    return init_kept(f, s, d, err);
}

void fan_show_free(struct fan_show *f)
{
    for (size_t i = 0; f->voices && i < f->count; i++) {
        buf_free(&f->voices[i].out.rest);
        buf_free(&f->voices[i].err.rest);
        buf_free(&f->voices[i].result);
    }
    free(f->voices);
    free(f->times);
    gather_free(f->gather);
    fan_table_free(&f->table);
    outdir_close(&f->outdir);
    tally_free(&f->tally);
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

/* Whole lines of one host, at once. */
static int say(struct fan_show *f, struct lines *l, int fd, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct buf text = {0};
    char *prefix = fan_show_prefix(f, e->name, fd);
    lines_add(l, &text, prefix, bytes, n);
    free(prefix);
    return write_out(f, fd, &text);
}

/* stdout, or what stands for it: now, or with those who say the same. */
static int say_out(struct fan_show *f, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    if (f->table.table)
        return 0;
    if (!f->gather && !f->settings->outdir)
        return say(f, &f->voices[e->host].out, STDOUT_FILENO, e, bytes, n);
    if ((f->gather ? gather_add(f->gather, e->host, bytes, n, &err) : outdir_write(&f->outdir, e->host, e->name, bytes, n, &err)) == 0)
        return 0;
    progress_line_clear();
    fprintf(stderr, "sshexec: %s\n", err.text);
    return -1;
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

static int end_host(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *v = &f->voices[e->host];
    struct buf out = {0}, err = {0};
    const struct descriptor *d = f->report.descriptor;
    int rc = 0;
    if (v->has_result && f->report.show_result && !f->settings->quiet)
        rc = say_value(f, e, d->result, buf_data(&v->result), buf_length(&v->result));
    buf_free(&v->result);
    char *of_out = fan_show_prefix(f, e->name, STDOUT_FILENO), *of_err = fan_show_prefix(f, e->name, STDERR_FILENO);
    lines_end(&v->out, &out, of_out);
    lines_end(&v->err, &err, of_err);
    free(of_out);
    free(of_err);
    if (write_out(f, STDOUT_FILENO, &out) || write_out(f, STDERR_FILENO, &err))
        rc = -1;
    if (f->gather)
        gather_end(f->gather, e->host, NULL);
    if (f->settings->outdir && say_out(f, e, NULL, 0)) /* who said nothing has a file, too */
        rc = -1;
    tally_add(&f->tally, e->host, e->ending->outcome, e->ending->exit_code);
    if (e->ending->outcome != SSX_OUTCOME_OK) {
        progress_line_clear();
        fprintf(stderr, "sshexec: %s on %s: %s\n", f->report.type, e->name, e->ending->text);
    }
    return rc;
}

static int keep_result(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *v = &f->voices[e->host];
    if (f->table.table)
        return fan_table_put(&f->table, e->host, e->bytes, e->n);
    v->has_result = f->report.show_result && buf_add(&v->result, e->bytes, e->n) == 0;
    return 0;
}

static int show_text(struct fan_show *f, const struct ssx_fleet_event *e)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    switch (e->kind) {
    case SSX_FLEET_OUTPUT:
        if (e->stream == SSX_STDERR)
            return say(f, &f->voices[e->host].err, STDERR_FILENO, e, e->bytes, e->n);
        return f->report.show_output ? say_out(f, e, e->bytes, e->n) : 0;
    case SSX_FLEET_NOISE: return say(f, &f->voices[e->host].err, STDERR_FILENO, e, e->bytes, e->n);
    case SSX_FLEET_LOG:
        if (e->level > 0 || f->settings->verbose)
            fan_show_remark(e->name, levels[e->level & 3], e->text);
        return 0;
    case SSX_FLEET_ITEM: return f->settings->quiet ? 0 : say_value(f, e, f->report.descriptor->items, e->bytes, e->n);
    case SSX_FLEET_RESULT: return keep_result(f, e);
    case SSX_FLEET_END: return end_host(f, e);
    default: return 0;
    }
}

/* The same event as the wire has it, for the one place that makes JSON of it. */
static void as_message(struct message *m, const struct ssx_fleet_event *e)
{
    static const enum message_kind kinds[] = {
        [SSX_FLEET_OUTPUT] = MESSAGE_OUTPUT, [SSX_FLEET_LOG] = MESSAGE_LOG, [SSX_FLEET_PROGRESS] = MESSAGE_PROGRESS, [SSX_FLEET_ITEM] = MESSAGE_ITEM,
        [SSX_FLEET_RESULT] = MESSAGE_RESULT, [SSX_FLEET_STATE] = MESSAGE_STATE, [SSX_FLEET_END] = MESSAGE_END,
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
    } else if (e->kind == SSX_FLEET_END) {
        m->end = (struct message_end){.outcome = x->outcome, .code = x->code, .signal = x->signal, .reason = span_text(x->reason), .message = span_text(x->message),
                                      .sandbox = span_text(x->sandbox), .wall_us = x->wall_us, .user_us = x->user_us, .sys_us = x->sys_us, .rss_kb = x->rss_kb,
                                      .out = x->out, .err = x->err, .truncated = x->truncated};
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
        return say(f, &f->voices[e->host].err, STDERR_FILENO, e, e->bytes, e->n);
    as_message(&m, e);
    f->report.host = e->name;
    f->report.timing = e->timing;
    if (e->kind == SSX_FLEET_END)
        tally_add(&f->tally, e->host, e->ending->outcome, e->ending->exit_code);
    int rc = report_message(&f->report, &m);
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
    return f->settings->json ? show_json(f, e) : show_text(f, e);
}

/* --- progress --- */

void fan_show_progress(struct fan_show *f, struct ssx_fleet *fleet)
{
    size_t counts[SSX_FLEET_PLACES];
    char line[256];
    int64_t now = clock_us();
    if (!f->progress || now - f->drawn_us < DRAW_US)
        return;
    f->drawn_us = now;
    ssx_fleet_count(fleet, counts);
    double seconds = (double)(now - f->began_us) / 1e6, rate = seconds > 0 ? (double)f->tally.ended / seconds : 0;
    int n = snprintf(line, sizeof line, "%zu/%zu done, %zu running, %zu failed, %zu to go", f->tally.ended, f->count, counts[SSX_FLEET_OPENING] + counts[SSX_FLEET_RUNNING],
                     f->tally.failed, counts[SSX_FLEET_WAITING] + f->count - f->first - f->batch);
    if (f->tally.ended)
        snprintf(line + n, sizeof line - (size_t)n, ", %.1f/s, %.0f s left", rate, (double)(f->count - f->tally.ended) / rate);
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
    static const char *const words[SSX_FLEET_ENDED] = {[SSX_FLEET_WAITING] = "waiting", [SSX_FLEET_OPENING] = "connecting", [SSX_FLEET_RUNNING] = "running"};
    struct buf text = {0};
    for (int place = SSX_FLEET_ENDED - 1; place >= 0; place--) {
        struct buf names = {0};
        names_fold(&names, f->names, f->count, is_pending, &(struct pending){f, fleet, (enum ssx_fleet_place)place}, PENDING_MAX);
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

static int show_table(struct fan_show *f)
{
    struct buf text = {0};
    int rc = fan_table_add(&text, &f->table, f->names, (struct table_look){f->colors.head, f->colors.off});
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

static void summarise(struct fan_show *f, struct buf *out)
{
    buf_add_text(out, "sshexec: ");
    tally_describe(out, &f->tally, f->names, (double)(f->took_us ? f->took_us : clock_us() - f->began_us) / 1e6);
    buf_add_text(out, "\n");
}

int fan_show_end(struct fan_show *f, bool largest)
{
    struct buf text = {0};
    progress_line_clear();
    if (!f->output_error)
        show_kept(f);
    if (f->times)
        fan_timing_table(&text, f->names, f->times, f->count);
    if (f->times && isatty(STDERR_FILENO))
        fan_timing_histogram(&text, f->times, f->count);
    if (!f->settings->quiet)
        summarise(f, &text);
    write_out(f, STDERR_FILENO, &text);
    return tally_exit_code(&f->tally, largest);
}
