#include "rollout.h"

#include "interrupt.h"
#include "tally.h"
#include "tool.h"

#include "base/error.h"
#include "fleet/gather.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char **names_of(const struct rollout *r)
{
    char **names = calloc(r->count + 1, sizeof *names);
    for (size_t i = 0; names && i < r->count; i++)
        names[i] = r->hosts[i].name;
    return names;
}

/* --- the text of each --- */

/* "OUTCOME: why", or only why where it was refused. */
static void add_complaint(struct buf *out, const struct rollout_host *h)
{
    bool refused = h->outcome == SSX_OUTCOME_REFUSED;
    buf_printf(out, "%s%s%s\n", refused && h->message[0] ? "" : outcome_name(h->outcome), refused || !h->message[0] ? "" : ": ",
               h->message);
}

struct showing { void (*add)(void *user, struct buf *out, const struct rollout_host *h); void *user; struct gather *said, *failed; };

static int take_text(const struct rollout *r, struct showing *s, size_t host, struct ssx_error *err)
{
    const struct rollout_host *h = &r->hosts[host];
    struct gather *g = h->answered ? s->said : s->failed;
    struct buf text = {0};
    if (h->answered)
        s->add(s->user, &text, h);
    else
        add_complaint(&text, h);
    int rc = 0;
    if (buf_length(&text) && buf_data(&text)[0] != '\n')
        rc = gather_add(g, host, " ", 1, err);
    if (rc == 0 && buf_length(&text))
        rc = gather_add(g, host, buf_data(&text), buf_length(&text), err) || gather_end(g, host, err) ? -1 : 0;
    buf_free(&text);
    return rc;
}

static int print(void *to, const void *bytes, size_t n) { return fwrite(bytes, 1, n, to) == n ? 0 : 1; }

/* What hosts said, behind their names. */
static int show_groups(struct gather *g, char *const *names, FILE *to, const char *prefix, struct ssx_error *err)
{
    const struct gather_group *groups;
    size_t count;
    int rc = gather_groups(g, &groups, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct buf head = {0};
        names_fold_these(&head, names, groups[i].hosts, groups[i].count);
        fprintf(to, "%s%.*s:", prefix, (int)buf_length(&head), (const char *)buf_data(&head));
        rc = gather_output(g, i, print, to, err);
        buf_free(&head);
    }
    return rc;
}

/* What can't be written is noticed here, at the latest. */
static void flush(struct rollout *r)
{
    errno = 0;
    if ((fflush(stdout) || ferror(stdout)) && !r->output_error)
        r->output_error = errno ? errno : EIO;
}

static int show_gathered(struct rollout *r, struct showing *s, struct ssx_error *err)
{
    char **names = names_of(r);
    int rc = names ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
    if (rc == 0)
        rc = gather_new(&s->said, r->count, GATHER_MEMORY, err) || gather_new(&s->failed, r->count, GATHER_MEMORY, err) ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = take_text(r, s, i, err);
    if (rc == 0)
        rc = show_groups(s->said, names, stdout, "", err);
    flush(r);
    if (rc == 0)
        rc = show_groups(s->failed, names, stderr, "sshexec: ", err);
    gather_free(s->said);
    gather_free(s->failed);
    free(names);
    return rc;
}

static void show_json(struct rollout *r, const struct showing *s)
{
    for (size_t i = 0; i < r->count; i++) {
        struct buf text = {0};
        s->add(s->user, &text, &r->hosts[i]);
        if (buf_length(&text))
            print(stdout, buf_data(&text), buf_length(&text));
        buf_free(&text);
    }
    flush(r);
}

void rollout_show(struct rollout *r, void (*add)(void *user, struct buf *out, const struct rollout_host *h), void *user)
{
    struct showing s = {.add = add, .user = user};
    struct ssx_error err = {0};
    if (r->settings->json)
        show_json(r, &s);
    else if (show_gathered(r, &s, &err))
        fprintf(stderr, "sshexec: %s\n", err.text);
}

void rollout_json(struct buf *out, const struct rollout_host *h, const char *event)
{
    buf_add_text(out, "{\"host\":");
    json_add_string(out, h->name, strlen(h->name));
    buf_printf(out, ",\"event\":\"%s\",\"outcome\":\"%s\"", h->answered ? event : "end", outcome_name(h->outcome));
    if (h->answered)
        return;
    buf_add_text(out, ",\"reason\":");
    json_add_string(out, h->reason, strlen(h->reason));
    buf_add_text(out, ",\"message\":");
    json_add_string(out, h->message, strlen(h->message));
}

/* --- how all of them ended --- */

int rollout_sum_up(struct rollout *r)
{
    struct tally tally;
    struct buf text = {0};
    char **names = names_of(r);
    if (!names || tally_init(&tally, r->count)) {
        free(names);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        enum ssx_outcome outcome = !h->answered || !h->code ? h->outcome : h->code == EXIT_REFUSED ? SSX_OUTCOME_REFUSED
            : SSX_OUTCOME_FAILED;
        tally_add(&tally, i, outcome, h->answered ? h->code : outcome_exit_code(h->outcome, 0, 0, h->reason));
    }
    tally_describe(&text, &tally, names, "host", (double)r->took_ms / 1000);
    if (r->count > 1 && !r->settings->json && !r->settings->quiet)
        fprintf(stderr, "sshexec: %.*s\n", (int)buf_length(&text), (const char *)buf_data(&text));
    int code = tally_exit_code(&tally, r->settings->largest);
    buf_free(&text);
    tally_free(&tally);
    free(names);
    flush(r);
    return r->output_error ? tool_output_lost(r->output_error) : r->cancelled ? EXIT_SIGNAL + interrupt_signal() : code;
}
