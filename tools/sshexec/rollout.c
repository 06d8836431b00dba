#include "rollout.h"

#include "host_sets.h"
#include "interrupt.h"
#include "progress_line.h"
#include "size_text.h"
#include "tally.h"
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/json.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_US 100000
#define TELL_US 250000 /* between two events of a host */
#define LOOK_MS 200 /* how often the progress line is drawn anew */

/* --- the hosts --- */

static int add_host(void *user, const char *name, size_t n)
{
    struct rollout *r = user;
    r->hosts[r->count].name = strndup(name, n);
    return r->hosts[r->count].name ? (r->count++, 0) : 1;
}

/* A host may be called web.ssx; where there is such a file, it is what deploy takes, and asking the network for a host
 * of that name would only delay saying so. */
static int refuse_bundle(const char *command, const char *word, struct ssx_error *err)
{
    size_t n = strlen(word);
    if (n < 4 || strcmp(word + n - 4, ".ssx") || access(word, R_OK))
        return 0;
    if (strcmp(command, "deploy") == 0)
        return error_set(err, SSX_ERROR_USAGE, "deploy takes one bundle and then hosts, and %s is a second bundle "
                         "(-w %s for a host of that name)", word, word);
    if (strcmp(command, "rollback") == 0)
        return error_set(err, SSX_ERROR_USAGE, "rollback takes hosts, and %s is a bundle: --to N for an earlier generation "
                         "(sshexec generations shows them), sshexec deploy %s for this bundle", word, word);
    return error_set(err, SSX_ERROR_USAGE, "%s takes hosts, and %s is a bundle: sshexec bundle show %s says what is in it",
                     command, word, word);
}

/* Words are sets as behind -w. */
static int take_sets(struct rollout *r, struct host_sets *sets, char **words, int count, struct ssx_error *err)
{
    const struct settings *s = r->settings;
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = refuse_bundle(r->command, words[i], err) || host_sets_take(sets, 'w', words[i], err) ? -1 : 0;
    for (size_t i = 0; rc == 0 && i < s->host_word_count; i++)
        rc = host_sets_take(sets, s->host_words[i].option, s->host_words[i].value, err);
    if (rc == 0 && s->rerun)
        rc = host_sets_rerun(sets, s->rerun, s->record, err);
    if (rc || host_sets_finish(sets, r->command, err))
        return -1;
    r->hosts = calloc(hostset_count(sets->included), sizeof *r->hosts);
    return r->hosts && hostset_each(sets->included, add_host, r, err) == 0 ? 0
        : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
}

int rollout_init(struct rollout *r, const struct settings *s, const char *command, char **words, int count, struct ssx_error *err)
{
    const struct groups_options groups = {.source = s->group_source, .ssh_config = s->ssh_config, .watch = interrupt_watch,
                                          .unwatch = interrupt_unwatch};
    static const char here[] = "this machine";
    struct host_sets sets;
    bool named = count || settings_name_hosts(s);
    int rc = 0;
    *r = (struct rollout){.settings = s, .command = command, .here = !named && !settings_go_out(s, NULL)};
    if (named) {
        rc = host_sets_init(&sets, &groups, err) || take_sets(r, &sets, words, count, err) ? -1 : 0;
        host_sets_dispose(&sets);
    } else {
        r->hosts = calloc(1, sizeof *r->hosts);
        rc = r->hosts && add_host(r, here, sizeof here - 1) == 0 ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
    }
    r->interrupt_fd = interrupt_watch();
    return rc;
}

void rollout_free(struct rollout *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->hosts[i].name);
        buf_free(&r->hosts[i].value);
    }
    free(r->hosts);
}

/* --- what they say --- */

/* A batch; numbers: of all hosts of the round, those of the batch from `first` on, which of ours. */
struct round {
    struct rollout *rollout;
    const struct rollout_order *order;
    struct ssx_session_options session;
    struct ssx_fleet *fleet;
    const size_t *numbers;
};

static struct rollout_host *host_of(struct round *round, size_t host) { return &round->rollout->hosts[round->numbers[host]]; }

static void take_answer(struct round *round, struct rollout_host *h, const struct ssx_fleet_event *e)
{
    const struct ssx_bundle_answer *a = e->answer;
    h->generation = a->generation;
    h->changes = a->changes;
    if (!round->order->follows) {
        h->needs = a->needs;
        h->bytes = a->bytes;
        text_escape(h->has, sizeof h->has, a->has, strlen(a->has));
    }
    if (buf_add(&h->value, e->bytes, e->n))
        snprintf(h->message, sizeof h->message, "out of memory for its answer");
}

static void take_end(struct round *round, struct rollout_host *h, const struct ssx_ending *e)
{
    struct rollout *r = round->rollout;
    h->outcome = e->outcome;
    h->answered = e->outcome == SSX_OUTCOME_OK && !h->message[0];
    snprintf(h->reason, sizeof h->reason, "%s", e->reason);
    if (e->outcome != SSX_OUTCOME_OK)
        text_escape(h->message, sizeof h->message, e->message, strlen(e->message));
    else if (!h->answered)
        h->outcome = SSX_OUTCOME_LOST;
    r->done++;
    rolling_ended(&r->rolling, h->outcome);
    if (rolling_stopped(&r->rolling))
        ssx_fleet_stop(round->fleet);
}

static void take_noise(const struct ssx_fleet_event *e)
{
    progress_line_clear();
    (void)!fd_write_all(STDERR_FILENO, e->bytes, e->n);
}

static void take_note(struct round *round, const struct ssx_fleet_event *e)
{
    progress_line_clear();
    if (round->rollout->settings->verbose >= e->level)
        fprintf(stderr, "sshexec: %s: %s\n", host_of(round, e->host)->name, e->text);
}

static void on_event(void *context, const struct ssx_fleet_event *e)
{
    struct round *round = context;
    if (e->kind == SSX_FLEET_RESULT)
        take_answer(round, host_of(round, e->host), e);
    else if (e->kind == SSX_FLEET_END)
        take_end(round, host_of(round, e->host), e->ending);
    else if (e->kind == SSX_FLEET_NOISE)
        take_noise(e);
    else if (e->kind == SSX_FLEET_NOTE)
        take_note(round, e);
}

/* --- the bytes that travel --- */

/* Of a batch. */
static void count_bytes(const struct round *round, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rollout_host *h = &round->rollout->hosts[round->numbers[i]];
        ssx_fleet_sent(round->fleet, i, &h->sent, &h->total);
    }
}

/* With --json: an event for each host that has got on since it was last told of. */
static void tell_bytes(struct round *round, size_t count, int64_t every_us)
{
    struct rollout *r = round->rollout;
    struct buf text = {0};
    if (!r->settings->json || clock_us() - r->told_us < every_us)
        return;
    r->told_us = clock_us();
    count_bytes(round, count);
    for (size_t i = 0; i < count; i++) {
        struct rollout_host *h = host_of(round, i);
        if (h->sent == h->told)
            continue;
        h->told = h->sent;
        buf_add_text(&text, "{\"host\":");
        json_add_string(&text, h->name, strlen(h->name));
        buf_printf(&text, ",\"event\":\"progress\",\"done\":%llu,\"total\":%llu}\n", (unsigned long long)h->sent,
                   (unsigned long long)h->total);
    }
    if (buf_length(&text) &&
        (fwrite(buf_data(&text), 1, buf_length(&text), stdout) < buf_length(&text) || fflush(stdout)) &&
        !r->output_error)
        r->output_error = errno; /* said at the end: what was begun is finished */
    buf_free(&text);
}

/* --- the progress line, and who is pending --- */

static bool draws(const struct rollout *r) { return !r->settings->json && !r->settings->quiet && progress_line_possible(); }

static int add_bytes(char *line, size_t size, const struct rollout *r, double seconds)
{
    char some[32], all[32], each[32];
    uint64_t sent = 0, asked = 0;
    for (size_t i = 0; i < r->count; i++) {
        sent += r->hosts[i].sent;
        asked += r->hosts[i].total;
    }
    if (!asked)
        return 0;
    double rate = seconds > 0 ? (double)sent / seconds : 0;
    int n = snprintf(line, size, ", %s of %s, %s/s", size_text(some, sent), size_text(all, asked), size_text(each, (uint64_t)rate));
    if (rate > 0 && sent < asked)
        n += snprintf(line + n, size - (size_t)n, ", %.0f s left", (double)(asked - sent) / rate);
    return n;
}

static void draw(const struct round *round, size_t count)
{
    struct rollout *r = round->rollout;
    char line[256];
    int64_t now = clock_us();
    if (!draws(r) || now - r->drawn_us < DRAW_US)
        return;
    r->drawn_us = now;
    int n = snprintf(line, sizeof line, "%s: %zu of %zu", r->doing, r->done, r->asked);
    count_bytes(round, count);
    add_bytes(line + n, sizeof line - (size_t)n, r, (double)(now - r->began_us) / 1e6);
    progress_line_draw(line);
}

static void wipe(struct rollout *r)
{
    progress_line_clear();
    r->drawn_us = 0;
}

/* Of a batch: the names of those that are there. */
static void show_place(struct round *round, size_t count, enum ssx_fleet_place place, const char *word)
{
    struct buf text = {0};
    char **names = calloc(count, sizeof *names);
    size_t *numbers = calloc(count, sizeof *numbers), n = 0;
    for (size_t i = 0; names && numbers && i < count; i++) {
        names[i] = host_of(round, i)->name;
        if (ssx_fleet_where(round->fleet, i) == place)
            numbers[n++] = i;
    }
    if (n) {
        names_fold_these(&text, names, numbers, n);
        fprintf(stderr, "sshexec: %s%s: %.*s\n", place == SSX_FLEET_RUNNING ? "not yet " : "", word,
                (int)buf_length(&text), (const char *)buf_data(&text));
    }
    buf_free(&text);
    free(names);
    free(numbers);
}

static void take_interrupts(struct round *round, size_t count)
{
    struct rollout *r = round->rollout;
    char bytes[16];
    if (interrupt_count() == r->interrupts)
        return;
    (void)!read(r->interrupt_fd, bytes, sizeof bytes);
    bool first = r->interrupts == 0 && interrupt_count() == 1 && interrupt_signal() == SIGINT && r->count > 1;
    r->interrupts = interrupt_count();
    wipe(r);
    if (!first) {
        r->cancelled = true;
        ssx_fleet_cancel(round->fleet);
        return;
    }
    show_place(round, count, SSX_FLEET_RUNNING, r->doing);
    show_place(round, count, SSX_FLEET_OPENING, "connecting");
    show_place(round, count, SSX_FLEET_WAITING, "waiting");
    fputs("sshexec: interrupt again to cancel\n", stderr);
}

/* --- asking --- */

static int add_batch(struct round *round, size_t count, struct ssx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct rollout_host *h = host_of(round, i);
        h->answered = false;
        h->message[0] = h->reason[0] = 0;
        buf_free(&h->value);
        if (ssx_fleet_add(round->fleet, round->rollout->here ? NULL : h->name, NULL, 0, NULL, err))
            return -1;
    }
    return 0;
}

static void converse(struct round *round, size_t count)
{
    struct rollout *r = round->rollout;
    struct pollfd fds[] = {{ssx_fleet_fd(round->fleet), POLLIN, 0}, {r->interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, 2, draws(r) || r->settings->json ? LOOK_MS : -1);
        take_interrupts(round, count);
        draw(round, count);
        tell_bytes(round, count, TELL_US);
    } while (ssx_fleet_step(round->fleet, 0));
    wipe(r);
    count_bytes(round, count);
    tell_bytes(round, count, 0); /* how far each came */
}

static int make_fleet(struct round *round, struct ssx_error *err)
{
    const struct rollout *r = round->rollout;
    struct ssx_fleet_options o = ssx_fleet_defaults();
    int64_t left_ms = r->settings->deadline_ms - r->took_ms - (clock_us() - r->began_us) / 1000;
    o.session = &round->session;
    o.fanout = (size_t)r->settings->fanout;
    o.deadline_ms = !r->settings->deadline_ms ? 0 : left_ms > 0 ? (uint64_t)left_ms : 1;
    o.notes = r->settings->verbose > 0;
    o.context = round;
    o.on_event = on_event;
    return round->order->open(&round->fleet, round->order->what, &o, err);
}

static int run_batch(struct round *round, size_t count, struct ssx_error *err)
{
    struct rollout *r = round->rollout;
    int rc = make_fleet(round, err) || add_batch(round, count, err) || ssx_fleet_start(round->fleet, err) ? -1 : 0;
    if (rc == 0 && !r->fanout_said) {
        r->fanout_said = true;
        tool_say_fanout(r->settings, ssx_fleet_fanout(round->fleet), count);
    }
    if (rc == 0)
        converse(round, count);
    ssx_fleet_close(round->fleet);
    round->fleet = NULL;
    round->numbers += count;
    return rc;
}

/* Those whose batch never came. */
static void end_unbegun(struct round *round, size_t count)
{
    struct rollout *r = round->rollout;
    char why[128];
    for (size_t i = 0; i < count; i++) {
        struct rollout_host *h = host_of(round, i);
        h->answered = false;
        h->outcome = SSX_OUTCOME_CANCELLED;
        h->reason[0] = 0;
        snprintf(h->message, sizeof h->message, "%s", r->cancelled ? "before its turn" : rolling_reason(why, sizeof why, &r->rolling));
    }
}

static int run_batches(struct round *round, struct ssx_error *err)
{
    struct rollout *r = round->rollout;
    int rc = 0;
    for (size_t n; rc == 0 && !r->cancelled && (n = rolling_next(&r->rolling));)
        rc = run_batch(round, n, err);
    end_unbegun(round, r->asked - r->rolling.begun);
    return rc;
}

int rollout_ask(struct rollout *r, const struct rollout_order *order, const struct rolling_options *rolling,
                struct ssx_error *err)
{
    size_t *numbers = calloc(r->count, sizeof *numbers);
    struct round round = {.rollout = r, .order = order, .numbers = numbers};
    settings_session(r->settings, &round.session);
    if (r->here) /* a command that leads to hosts is not for this machine */
        round.session.transport_command = NULL;
    r->done = r->asked = 0;
    r->began_us = clock_us();
    r->doing = order->doing;
    for (size_t i = 0; numbers && i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        h->sent = h->total = h->told = 0;
        if (!h->skip)
            numbers[r->asked++] = i;
    }
    rolling_init(&r->rolling, r->asked, rolling);
    int rc = numbers ? run_batches(&round, err) : error_set(err, SSX_ERROR_SYSTEM, "out of memory for the hosts");
    free(numbers);
    r->took_ms += (clock_us() - r->began_us) / 1000;
    return rc;
}
