#include "report.h"

#include "progress_line.h"

#include "base/base64.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/ending.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "worker/schema.h"
#include "worker/show.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const levels[] = {"debug", "info", "warning", "error"};

void report_init(struct report *r, const char *type, const char *host, const struct descriptor *d)
{
    memset(r, 0, sizeof *r);
    r->host = host;
    r->type = type;
    r->descriptor = d;
    r->out_fd = STDOUT_FILENO;
    r->show_output = trait_shows_output(d->traits);
    r->show_result = trait_shows_result(d->traits);
}

void report_free(struct report *r) { buf_free(&r->result); }

/* --- JSON: one object a line --- */

static void json_start(struct buf *out, const struct report *r, uint32_t call, const char *event)
{
    buf_add_text(out, "{\"host\":");
    if (r->host)
        json_add_string(out, r->host, strlen(r->host));
    else
        buf_add_text(out, "null");
    buf_printf(out, ",\"call\":%u,\"event\":\"%s\"", (unsigned)call, event);
    if (r->item)
        buf_printf(out, ",\"item\":%zu", r->item);
}

static void json_text(struct buf *out, const char *key, struct span s)
{
    buf_printf(out, ",\"%s\":", key);
    json_add_string(out, s.at ? s.at : "", s.n);
}

/* Bytes as text where they are UTF-8, else as base64 under another key, so that nothing is lost. */
static void json_bytes(struct buf *out, struct span s)
{
    if (text_is_utf8(s.at, s.n)) {
        json_text(out, "text", s);
        return;
    }
    buf_add_text(out, ",\"base64\":\"");
    base64_encode(out, s.at, s.n);
    buf_add_text(out, "\"");
}

static void json_number(struct buf *out, const char *key, uint64_t n) { buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)n); }

static void json_timing(struct buf *out, const struct ssx_fleet_timing *t)
{
    const struct { const char *name; uint64_t us;
    } steps[] = {
        {"wait", t->wait_us},         {"look", t->look_us}, {"resolve", t->resolve_us}, {"connect", t->connect_us},
        {"exchange", t->exchange_us}, {"auth", t->auth_us}, {"agent", t->agent_us},     {"upload", t->upload_us},
        {"load", t->load_us},         {"run", t->run_us},   {"drain", t->drain_us},     {"total", t->total_us},
    };
    buf_printf(out, ",\"timing\":{\"tries\":%u", t->tries);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        buf_printf(out, ",\"%s_us\":%llu", steps[i].name, (unsigned long long)steps[i].us);
    buf_add_text(out, "}");
}

static void json_end(struct buf *out, const struct report *r, const struct message_end *e)
{
    char digest[DIGEST_HEX + 1], reason[32];
    int exit_code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal, span_copy(reason, sizeof reason, e->reason));
    buf_printf(out, ",\"outcome\":\"%s\",\"exit\":%d", outcome_name(e->outcome), exit_code);
    if (e->outcome == SSX_OUTCOME_FAILED || e->outcome == SSX_OUTCOME_CRASHED)
        json_number(out, "code", e->code);
    if (e->signal)
        json_number(out, "signal", e->signal);
    if (e->reason.n)
        json_text(out, "reason", e->reason);
    if (e->message.n)
        json_text(out, "message", e->message);
    if (e->has_digest) {
        digest_hex(digest, &e->digest);
        buf_printf(out, ",\"digest\":\"%s\"", digest);
        json_number(out, "wall_us", e->wall_us);
        json_number(out, "user_us", e->user_us);
        json_number(out, "sys_us", e->sys_us);
        json_number(out, "rss_kb", e->rss_kb);
        json_number(out, "out", e->out);
        json_number(out, "err", e->err);
        buf_printf(out, ",\"truncated\":%s", e->truncated ? "true" : "false");
        json_text(out, "sandbox", e->sandbox);
    }
    if (r->timing)
        json_timing(out, r->timing);
}

/* What a value should be; NULL: anything. */
static const struct schema_struct *schema_of(const struct report *r, enum message_kind kind)
{
    return kind == MESSAGE_RESULT ? r->descriptor->result : kind == MESSAGE_STATE ? r->descriptor->state : r->descriptor->items;
}

/* Whether it is that. A node may have another version of the type, or lie: the value is shown as it is then, and this
 * said. */
static bool fits(const struct report *r, const struct message *m, struct ssx_error *err)
{
    const struct schema_struct *s = schema_of(r, m->kind);
    return !s || state_check(r->descriptor, s, m->data.bytes.at, m->data.bytes.n, err) == 0;
}

static void json_value(struct buf *out, const struct report *r, const struct message *m)
{
    struct ssx_error why = {0};
    buf_add_text(out, ",\"value\":");
    value_show_json(out, schema_of(r, m->kind), m->data.bytes.at, m->data.bytes.n);
    if (!fits(r, m, &why))
        json_text(out, "problem", span_text(why.text));
}

static int report_json(struct report *r, const struct message *m)
{
    static const char *const events[MESSAGE_KINDS] = {
        [MESSAGE_OUTPUT] = "output", [MESSAGE_LOG] = "log",       [MESSAGE_PROGRESS] = "progress",
        [MESSAGE_ITEM] = "item",     [MESSAGE_RESULT] = "result", [MESSAGE_STATE] = "state",
        [MESSAGE_END] = "end"};
    struct buf line = {0};
    if (!events[m->kind])
        return 0;
    json_start(&line, r, m->id, events[m->kind]);
    switch (m->kind) {
    case MESSAGE_OUTPUT:
        buf_printf(&line, ",\"stream\":\"%s\"", m->data.stream == 1 ? "stdout" : "stderr");
        json_bytes(&line, m->data.bytes);
        break;
    case MESSAGE_LOG:
        buf_printf(&line, ",\"level\":\"%s\"", levels[m->log.level]);
        json_text(&line, "text", m->log.text);
        break;
    case MESSAGE_PROGRESS:
        json_number(&line, "done", m->progress.done);
        json_number(&line, "total", m->progress.total);
        json_text(&line, "text", m->progress.text);
        break;
    case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE: json_value(&line, r, m); break;
    default: json_end(&line, r, &m->end); break;
    }
    buf_add_text(&line, "}\n");
    int rc = line.failed ? -1 : fd_write_all(STDOUT_FILENO, buf_data(&line), buf_length(&line));
    buf_free(&line);
    return rc;
}

int report_returned(const struct report *r, const char *why)
{
    struct buf line = {0};
    json_start(&line, r, 1, "returned");
    json_text(&line, "text", span_text(why));
    buf_add_text(&line, "}\n");
    int rc = line.failed ? -1 : fd_write_all(STDOUT_FILENO, buf_data(&line), buf_length(&line));
    buf_free(&line);
    return rc;
}

/* --- for people and pipes --- */

static void show_progress(const struct report *r, const struct message *m)
{
    char text[256], line[512];
    if (r->quiet || !progress_line_possible())
        return;
    text_escape(text, sizeof text, m->progress.text.at, m->progress.text.n);
    if (m->progress.total)
        snprintf(line, sizeof line, "%s: %3.0f%% %s", r->host, 100.0 * (double)m->progress.done / (double)m->progress.total, text);
    else
        snprintf(line, sizeof line, "%s: %llu %s", r->host, (unsigned long long)m->progress.done, text);
    progress_line_draw(line);
}

static void show_log(struct report *r, const struct message *m)
{
    char text[4200];
    if (m->log.level == 0 && !r->verbose)
        return;
    progress_line_clear();
    text_escape(text, sizeof text, m->log.text.at, m->log.text.n);
    fprintf(stderr, "%s: %s: %s\n", r->host, levels[m->log.level], text);
}

/* A value, laid out on a terminal, one line of JSON in a pipe. */
static int show_value(struct report *r, const struct schema_struct *s, struct span value)
{
    struct buf out = {0};
    int rc;
    progress_line_clear();
    if (isatty(r->out_fd)) {
        rc = value_show(&out, s, value.at, value.n);
    } else {
        rc = value_show_json(&out, s, value.at, value.n);
        buf_add_text(&out, "\n");
    }
    if (rc == 0)
        rc = fd_write_all(r->out_fd, buf_data(&out), buf_length(&out));
    buf_free(&out);
    return rc;
}

static int show_item(struct report *r, const struct message *m)
{
    struct ssx_error why = {0};
    if (!r->item_complained && !fits(r, m, &why)) {
        r->item_complained = true;
        progress_line_clear();
        fprintf(stderr, "sshexec: %s on %s: an item is no struct %s: %s\n", r->type, r->host, r->descriptor->items->name, why.text);
    }
    return show_value(r, r->descriptor->items, m->data.bytes);
}

static void describe_usage(const struct report *r, const struct message_end *e)
{
    char digest[DIGEST_HEX + 1], sandbox[160];
    if (!r->verbose || !e->has_digest)
        return;
    digest_hex(digest, &e->digest);
    fprintf(stderr, "sshexec: ran %.12s in %.1f ms (%.1f ms user, %.1f ms system, %llu KiB), sandbox %s\n", digest,
            (double)e->wall_us / 1000, (double)e->user_us / 1000, (double)e->sys_us / 1000,
            (unsigned long long)e->rss_kb, span_copy(sandbox, sizeof sandbox, e->sandbox));
}

/* One line for an end that isn't ok. A program's exit code speaks for itself, as it does through ssh: exec says nothing
 * more. */
static void explain(const struct report *r, const struct message_end *e)
{
    char text[SSX_ERROR_TEXT];
    if (e->truncated)
        fprintf(stderr, "sshexec: %s on %s: %s\n", r->type, r->host, ENDING_TRUNCATED);
    if (e->outcome == SSX_OUTCOME_OK || (e->outcome == SSX_OUTCOME_FAILED && !e->message.n && !r->show_result && !r->verbose))
        return;
    fprintf(stderr, "sshexec: %s on %s: %s\n", r->type, r->host, ending_describe(text, sizeof text, e));
}

static int show_end(struct report *r, const struct message_end *e)
{
    int rc = 0;
    progress_line_clear();
    if (r->has_result && r->show_result && !r->quiet)
        rc = show_value(r, r->descriptor->result, (struct span){buf_data(&r->result), buf_length(&r->result)});
    explain(r, e);
    describe_usage(r, e);
    return rc;
}

static int pass_output(const struct report *r, const struct message *m)
{
    bool is_stdout = m->data.stream == 1;
    if (is_stdout && !r->show_output)
        return 0;
    progress_line_clear();
    int rc = fd_write_all(is_stdout ? r->out_fd : STDERR_FILENO, m->data.bytes.at, m->data.bytes.n);
    return is_stdout ? rc : 0; /* a stderr that nobody reads ends no call */
}

int report_message(struct report *r, const struct message *m)
{
    if (r->json)
        return report_json(r, m);
    switch (m->kind) {
    case MESSAGE_OUTPUT: return pass_output(r, m);
    case MESSAGE_LOG: show_log(r, m); return 0;
    case MESSAGE_PROGRESS: show_progress(r, m); return 0;
    case MESSAGE_ITEM: return r->quiet ? 0 : show_item(r, m);
    case MESSAGE_RESULT: r->has_result = true; return buf_add(&r->result, m->data.bytes.at, m->data.bytes.n);
    case MESSAGE_END: return show_end(r, &m->end);
    default: return 0;
    }
}
