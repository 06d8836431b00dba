#include "fan_show.h"

#include "fan_timing.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/outcome.h"
#include "worker/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_US 100000
#define PENDING_MAX 400 /* bytes of names */
#define PIECE (64u << 10)
#define RULE "---------------\n"

int fan_show_init(struct fan_show *f, const struct settings *s, const struct descriptor *d, const char *type, char *const *names, size_t count, struct ssx_error *err)
{
    *f = (struct fan_show){.settings = s, .names = names, .count = count, .voices = calloc(count, sizeof *f->voices), .began_us = clock_us()};
    report_init(&f->report, type, "", d);
    f->report.json = s->json;
    f->progress = isatty(STDERR_FILENO) && !s->quiet && !s->json;
    f->times = s->timing ? calloc(count, sizeof *f->times) : NULL;
    if (!f->voices || (s->timing && !f->times) || tally_init(&f->tally, count))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu hosts", count);
    return s->gather && !s->json ? gather_new(&f->gather, count, GATHER_MEMORY, err) : 0;
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
    tally_free(&f->tally);
    report_free(&f->report);
}

static void clear_progress(struct fan_show *f)
{
    if (f->progress_shown)
        (void)!fd_write_all(STDERR_FILENO, "\r\033[K", 4);
    f->progress_shown = false;
}

static const char *prefix(const struct fan_show *f, const char *name) { return f->settings->no_names ? NULL : name; }

/* --- lines --- */

static int write_out(struct fan_show *f, int fd, struct buf *text)
{
    int rc = 0;
    if (buf_length(text)) {
        clear_progress(f);
        rc = fd_write_all(fd, buf_data(text), buf_length(text));
    }
    f->broken |= rc && fd == STDOUT_FILENO;
    buf_free(text);
    return rc && fd == STDOUT_FILENO ? -1 : 0;
}

/* Whole lines of one host, at once. */
static int say(struct fan_show *f, struct lines *l, int fd, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct buf text = {0};
    lines_add(l, &text, prefix(f, e->name), bytes, n);
    return write_out(f, fd, &text);
}

/* stdout, or what stands for it: now, or with those who say the same. */
static int say_out(struct fan_show *f, const struct ssx_fleet_event *e, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    if (!f->gather)
        return say(f, &f->voices[e->host].out, STDOUT_FILENO, e, bytes, n);
    if (gather_add(f->gather, e->host, bytes, n, &err) == 0)
        return 0;
    clear_progress(f);
    fprintf(stderr, "sshexec: %s\n", err.text);
    return -1;
}

static int say_value(struct fan_show *f, const struct ssx_fleet_event *e, const struct schema_struct *s, const void *value, size_t n)
{
    struct buf text = {0};
    if (isatty(STDOUT_FILENO)) {
        value_show(&text, s, value, n);
    } else {
        value_show_json(&text, s, value, n);
        buf_add_text(&text, "\n");
    }
    int rc = say_out(f, e, buf_data(&text), buf_length(&text));
    buf_free(&text);
    return rc;
}

/* One line on stderr: "NAME: WORD: TEXT", or without the word (NULL). */
static void remark(struct fan_show *f, const char *name, const char *word, const char *text)
{
    char safe[4200];
    text_escape(safe, sizeof safe, text, strlen(text));
    clear_progress(f);
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
    lines_end(&v->out, &out, prefix(f, e->name));
    lines_end(&v->err, &err, prefix(f, e->name));
    if (write_out(f, STDOUT_FILENO, &out) || write_out(f, STDERR_FILENO, &err))
        rc = -1;
    if (f->gather)
        gather_end(f->gather, e->host, NULL);
    tally_add(&f->tally, e->host, e->ending->outcome, e->ending->exit_code);
    if (e->ending->outcome != SSX_OUTCOME_OK) {
        clear_progress(f);
        fprintf(stderr, "sshexec: %s on %s: %s\n", f->report.type, e->name, e->ending->text);
    }
    return rc;
}

static int keep_result(struct fan_show *f, const struct ssx_fleet_event *e)
{
    struct voice *v = &f->voices[e->host];
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
            remark(f, e->name, levels[e->level & 3], e->text);
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
    f->broken |= rc != 0;
    return rc;
}

int fan_show_event(struct fan_show *f, const struct ssx_fleet_event *e)
{
    if (e->kind == SSX_FLEET_NOTE) {
        if (e->level <= f->settings->verbose)
            remark(f, "sshexec", NULL, e->text);
        return 0;
    }
    if (e->kind == SSX_FLEET_END && f->times)
        f->times[e->host] = *e->timing;
    return f->settings->json ? show_json(f, e) : show_text(f, e);
}

/* --- progress --- */

void fan_show_progress(struct fan_show *f, struct ssx_fleet *fleet)
{
    struct winsize size = {.ws_col = 80};
    size_t counts[SSX_FLEET_PLACES];
    char line[256];
    int64_t now = clock_us();
    if (!f->progress || now - f->drawn_us < DRAW_US)
        return;
    f->drawn_us = now;
    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    ssx_fleet_count(fleet, counts);
    double seconds = (double)(now - f->began_us) / 1e6, rate = seconds > 0 ? (double)f->tally.ended / seconds : 0;
    int n = snprintf(line, sizeof line, "%zu/%zu done, %zu running, %zu failed, %zu to go", f->tally.ended, f->count, counts[SSX_FLEET_OPENING] + counts[SSX_FLEET_RUNNING],
                     f->tally.failed, counts[SSX_FLEET_WAITING]);
    if (f->tally.ended)
        n += snprintf(line + n, sizeof line - (size_t)n, ", %.1f/s, %.0f s left", rate, (double)(f->count - f->tally.ended) / rate);
    fprintf(stderr, "\r\033[K%.*s", size.ws_col > 1 ? size.ws_col - 1 : 79, line);
    f->progress_shown = true;
}

struct pending { struct ssx_fleet *fleet; enum ssx_fleet_place place; };

static bool is_pending(void *ctx, size_t host)
{
    const struct pending *p = ctx;
    return ssx_fleet_where(p->fleet, host) == p->place;
}

void fan_show_pending(struct fan_show *f, struct ssx_fleet *fleet)
{
    static const char *const words[SSX_FLEET_ENDED] = {[SSX_FLEET_WAITING] = "waiting", [SSX_FLEET_OPENING] = "connecting", [SSX_FLEET_RUNNING] = "running"};
    struct buf text = {0};
    for (int place = SSX_FLEET_ENDED - 1; place >= 0; place--) {
        struct buf names = {0};
        names_fold(&names, f->names, f->count, is_pending, &(struct pending){fleet, (enum ssx_fleet_place)place}, PENDING_MAX);
        if (buf_length(&names))
            buf_printf(&text, "sshexec: %s: %.*s\n", words[place], (int)buf_length(&names), (const char *)buf_data(&names));
        buf_free(&names);
    }
    buf_add_text(&text, "sshexec: interrupt again to cancel\n");
    write_out(f, STDERR_FILENO, &text);
}

/* --- the end --- */

/* What is shown at the end goes out in large pieces. */
static int add_text(struct fan_show *f, struct buf *text) { return buf_length(text) >= PIECE ? write_out(f, STDOUT_FILENO, text) : text->failed ? -1 : 0; }

struct group_output { struct fan_show *show; struct buf *text; };

static int add_bytes(void *ctx, const void *bytes, size_t n)
{
    struct group_output *o = ctx;
    buf_add(o->text, bytes, n);
    return add_text(o->show, o->text);
}

static int show_group(struct fan_show *f, struct buf *text, const struct gather_group *group, size_t number, struct ssx_error *err)
{
    buf_add_text(text, RULE);
    names_fold_these(text, f->names, group->hosts, group->count);
    buf_printf(text, group->count > 1 ? " (%zu)\n" RULE : "\n" RULE, group->count);
    return gather_output(f->gather, number, add_bytes, &(struct group_output){f, text}, err);
}

static void show_groups(struct fan_show *f)
{
    struct ssx_error err = {0};
    const struct gather_group *groups;
    struct buf text = {0};
    size_t count;
    int rc = gather_groups(f->gather, &groups, &count, &err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (groups[i].size) /* as dshbak and clush: who said nothing is in the summary alone */
            rc = show_group(f, &text, &groups[i], i, &err);
    if (rc == 0)
        write_out(f, STDOUT_FILENO, &text);
    buf_free(&text);
    if (rc && err.code)
        fprintf(stderr, "sshexec: %s\n", err.text);
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
    clear_progress(f);
    if (f->gather && !f->broken)
        show_groups(f);
    if (f->times)
        fan_timing_table(&text, f->names, f->times, f->count);
    if (f->times && isatty(STDERR_FILENO))
        fan_timing_histogram(&text, f->times, f->count);
    if (!f->settings->quiet)
        summarise(f, &text);
    write_out(f, STDERR_FILENO, &text);
    return tally_exit_code(&f->tally, largest);
}
