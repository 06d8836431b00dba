/* sshexec show: a run over many hosts, once more from its record. */
#include "fan_show.h"
#include "scatter.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/record_reader.h"
#include "fleet/records.h"
#include "wire/outcome.h"
#include "worker/show.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORDS_MAX 72 /* bytes of a state in the list */

/* --- one record --- */

/* A host, or an item, that the record has no end of: the run was killed, or goes on. It may have run. */
static int end_missing(struct fan_show *show)
{
    static const struct ssx_fleet_timing timing = {0};
    const struct ssx_ending ending = {.outcome = SSX_OUTCOME_LOST, .exit_code = EXIT_UNREACHABLE, .reason = "", .message = "",
                                      .digest = "", .sandbox = "", .text = "lost: the record ends before it did"};
    for (size_t i = 0; i < show->count; i++) {
        const struct ssx_fleet_event of_host = {.kind = SSX_FLEET_END,
                                                .host = i,
                                                .item = SSX_FLEET_NONE,
                                                .name = show->names[i],
                                                .ending = &ending,
                                                .timing = &timing};
        const struct ssx_fleet_event of_item = {
            .kind = SSX_FLEET_DEALT, .host = SSX_FLEET_NONE, .item = i, .ending = &ending, .timing = &timing};
        const struct ssx_fleet_event e = show->rows.items ? of_item : of_host;
        if (show->tally.hosts[i].outcome < 0 && fan_show_event(show, &e))
            return -1;
    }
    return 0;
}

/* Returns 0; 1: nobody reads what we print; -1 with err: a part of the record can't be read. */
static int replay(struct fan_show *show, struct record_reader *r, struct ssx_error *err)
{
    struct ssx_fleet_event e;
    int rc;
    while ((rc = record_reader_next(r, &e, err)) == 1) {
        if (fan_show_is_end(show, &e) && show->tally.hosts[fan_show_row(show, &e)].outcome >= 0)
            continue; /* only a forged record has two */
        if (fan_show_event(show, &e))
            return 1;
    }
    return end_missing(show) ? 1 : rc;
}

/* What stands for its items; NULL: it dealt none. */
static int labels_of(char ***out, const struct record_head *head, struct ssx_error *err)
{
    *out = NULL;
    return head->item_count && scatter_labels(out, head->texts, head->item_count)
               ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", head->item_count)
               : 0;
}

static int show_record(const struct settings *s, struct record_reader *r)
{
    struct ssx_error err = {0};
    struct fan_show show;
    const struct record_head *head = record_reader_head(r);
    char **labels;
    if (labels_of(&labels, head, &err))
        return tool_complain(&err);
    const struct fan_rows rows = {head->hosts, head->count, labels, head->item_count, head->per_host};
    if (fan_show_init(&show, s, &head->descriptor, head->type, &rows, &err)) {
        fan_show_free(&show);
        scatter_labels_free(labels, head->item_count);
        return tool_complain(&err);
    }
    show.progress = false;
    int rc = replay(&show, r, &err);
    fan_show_end(&show, false);
    int output_error = show.output_error;
    fan_show_free(&show);
    scatter_labels_free(labels, head->item_count);
    if (output_error)
        return tool_output_lost(output_error);
    if (record_reader_full(r))
        fputs("sshexec: hosts said more than a record holds: the rest of it is missing here\n", stderr);
    if (rc < 0) {
        tool_complain(&err);
        return EXIT_USAGE;
    }
    return 0;
}

static int show_one(const struct settings *s, const char *name)
{
    char path[PATH_MAX];
    struct ssx_error err = {0};
    struct record_reader *r;
    if (records_find(path, sizeof path, name, &err) || record_reader_open(&r, path, &err))
        return tool_complain(&err);
    int code = show_record(s, r);
    record_reader_close(r);
    return code;
}

/* --- the list --- */

struct listed {
    struct tally tally;
    struct record_reader *reader;
    char **labels;
    int64_t took_us;
}; /* labels of items; NULL: it dealt none */

static int count_ends(struct listed *l, struct ssx_error *err)
{
    struct ssx_fleet_event e;
    const struct record_head *head = record_reader_head(l->reader);
    int rc;
    if (labels_of(&l->labels, head, err))
        return -1;
    if (tally_init(&l->tally, l->labels ? head->item_count : head->count))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the ends of hosts");
    while ((rc = record_reader_next(l->reader, &e, err)) == 1) {
        size_t row = l->labels ? e.item : e.host;
        if (e.kind == (l->labels ? SSX_FLEET_DEALT : SSX_FLEET_END) && l->tally.hosts[row].outcome < 0) {
            tally_add(&l->tally, row, e.ending->outcome, e.ending->exit_code);
            l->took_us = (int64_t)e.timing->total_us > l->took_us ? (int64_t)e.timing->total_us : l->took_us;
        }
    }
    return rc;
}

static void list_line(const char *name, const struct listed *l)
{
    const struct record_head *head = record_reader_head(l->reader);
    struct buf state = {0}, ends = {0};
    if (head->state_size)
        value_show_json(&state, head->descriptor.state, head->state, head->state_size);
    tally_describe(&ends, &l->tally, l->labels ? l->labels : head->hosts, l->labels ? "item" : "host", (double)l->took_us / 1e6);
    if (l->tally.ended < l->tally.count)
        buf_printf(&ends, ", %zu without an end", l->tally.count - l->tally.ended);
    char words[WORDS_MAX];
    size_t n = text_escape(words, sizeof words, buf_data(&state) ? (const char *)buf_data(&state) : "", buf_length(&state));
    printf("%s  %.*s  %s%s\n", name, (int)buf_length(&ends), (const char *)buf_data(&ends), words, n < buf_length(&state) ? "..." : "");
    buf_free(&state);
    buf_free(&ends);
}

static int list_one(const char *name, struct ssx_error *err)
{
    char path[PATH_MAX];
    struct listed l = {0};
    if (records_find(path, sizeof path, name, err) || record_reader_open(&l.reader, path, err))
        return -1;
    int rc = count_ends(&l, err);
    list_line(name, &l);
    tally_free(&l.tally);
    scatter_labels_free(l.labels, record_reader_head(l.reader)->item_count);
    record_reader_close(l.reader);
    return rc;
}

static int list(void)
{
    struct ssx_error err = {0};
    char **names;
    size_t count;
    int code = 0;
    if (records_list(&names, &count, &err))
        return tool_complain(&err);
    for (size_t i = 0; i < count; i++) {
        struct ssx_error why = {0};
        if (list_one(names[i], &why)) {
            tool_complain(&why);
            code = EXIT_USAGE;
        }
    }
    records_list_free(names, count);
    return code;
}

int command_show(int argc, char **argv)
{
    static struct settings s; /* lives as long as the command */
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(&s, OPTIONS_OUTPUT | OPTIONS_JSON | OPTIONS_SHOW,
                   "usage: sshexec show [options] [RECORD]\n       sshexec show --list\n\n"
                   "Shows a run over many hosts once more, the newest one unless RECORD names another.",
                   argc, argv, &words, &count, &rest, &code))
        return code;
    if (count > 1 || rest || (s.list && count)) {
        error_set(&err, SSX_ERROR_USAGE, "show what? sshexec show [RECORD], or sshexec show --list");
        return tool_complain(&err);
    }
    return s.list ? list() : show_one(&s, count ? words[0] : NULL);
}
