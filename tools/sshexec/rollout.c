#include "rollout.h"

#include "agents.h"
#include "host_sets.h"
#include "interrupt.h"
#include "progress_line.h"
#include "tally.h"
#include "tool.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "fleet/engine.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "wire/value.h"

#include <errno.h>
#include <limits.h>
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

/* A host may be called web.ssx; where there is such a file, it is what deploy takes, and asking the network for a host of
 * that name would only delay saying so. */
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
struct round { struct rollout *rollout; struct engine *engine; const size_t *numbers; };

static struct rollout_host *host_of(struct round *round, size_t host) { return &round->rollout->hosts[round->numbers[host]]; }

static int take_key(struct rollout_host *h, struct value_reader *r, const struct value *key)
{
    const char *at;
    size_t n;
    if (value_is_text(key, "generation"))
        return value_take_uint(r, UINT32_MAX, &h->generation);
    if (value_is_text(key, "needs"))
        return value_take_uint(r, UINT32_MAX, &h->needs);
    if (value_is_text(key, "bytes"))
        return value_take_uint(r, INT64_MAX, &h->bytes);
    if (value_is_text(key, "changes"))
        return value_take_bool(r, &h->changes);
    if (!value_is_text(key, "has"))
        return value_skip(r);
    if (value_take_str(r, &at, &n))
        return -1;
    text_escape(h->has, sizeof h->has, at, n);
    return 0;
}

/* The answer's map; what isn't known in it is passed over. */
static int take_answer(struct rollout_host *h, const struct span *bytes)
{
    struct value_reader r = value_reader(bytes->at, bytes->n);
    size_t pairs;
    h->value.end = h->value.start;
    if (buf_add(&h->value, bytes->at, bytes->n) || value_take_map(&r, &pairs))
        return -1;
    for (struct value key; pairs; pairs--)
        if (value_next(&r, &key) || key.kind != VALUE_STR || take_key(h, &r, &key))
            return -1;
    return 0;
}

static void on_message(void *user, size_t host, const struct message *m)
{
    struct rollout_host *h = host_of(user, host);
    if (m->kind == MESSAGE_PROGRESS)
        h->announced = m->progress.total;
    if (m->kind == MESSAGE_RESULT && take_answer(h, &m->data.bytes))
        snprintf(h->message, sizeof h->message, "its agent's answer makes no sense");
}

static void on_end(void *user, size_t host, struct message_end *e, const struct timing *t)
{
    struct round *round = user;
    struct rollout *r = round->rollout;
    struct rollout_host *h = host_of(round, host);
    (void)t;
    h->outcome = e->outcome;
    h->answered = e->outcome == SSX_OUTCOME_OK && buf_length(&h->value) && !h->message[0];
    span_copy(h->reason, sizeof h->reason, e->reason);
    if (e->outcome != SSX_OUTCOME_OK)
        text_escape(h->message, sizeof h->message, e->message.n ? e->message.at : "", e->message.n);
    else if (!h->answered)
        h->outcome = SSX_OUTCOME_LOST;
    r->done++;
    rolling_ended(&r->rolling, h->outcome);
    if (rolling_stopped(&r->rolling))
        engine_stop(round->engine);
}

static void on_stderr(void *user, size_t host, const void *bytes, size_t n)
{
    (void)user;
    (void)host;
    progress_line_clear();
    (void)!fd_write_all(STDERR_FILENO, bytes, n);
}

static void on_note(void *user, size_t host, int level, const char *text)
{
    struct round *round = user;
    progress_line_clear();
    if (round->rollout->settings->verbose >= level)
        fprintf(stderr, "sshexec: %s: %s\n", host_of(round, host)->name, text);
}

/* --- the bytes that travel --- */

/* Of a batch. */
static void count_bytes(const struct round *round, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct rollout_host *h = &round->rollout->hosts[round->numbers[i]];
        uint64_t asked;
        engine_upload(round->engine, i, &h->sent, &asked);
        h->total = asked > h->announced ? asked : h->announced;
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
        buf_printf(&text, ",\"event\":\"progress\",\"done\":%llu,\"total\":%llu}\n", (unsigned long long)h->sent, (unsigned long long)h->total);
    }
    if (buf_length(&text) && (fwrite(buf_data(&text), 1, buf_length(&text), stdout) < buf_length(&text) || fflush(stdout)) && !r->output_error)
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
static void show_place(struct round *round, size_t count, enum engine_place place, const char *word)
{
    struct buf text = {0};
    char **names = calloc(count, sizeof *names);
    size_t *numbers = calloc(count, sizeof *numbers), n = 0;
    for (size_t i = 0; names && numbers && i < count; i++) {
        names[i] = host_of(round, i)->name;
        if (engine_where(round->engine, i) == place)
            numbers[n++] = i;
    }
    if (n) {
        names_fold_these(&text, names, numbers, n);
        fprintf(stderr, "sshexec: %s%s: %.*s\n", place == ENGINE_RUNNING ? "not yet " : "", word, (int)buf_length(&text), (const char *)buf_data(&text));
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
        engine_cancel(round->engine);
        return;
    }
    show_place(round, count, ENGINE_RUNNING, r->doing);
    show_place(round, count, ENGINE_OPENING, "connecting");
    show_place(round, count, ENGINE_WAITING, "waiting");
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
        if (engine_add(round->engine, h->name, NULL, 0, err))
            return -1;
    }
    return 0;
}

static void converse(struct round *round, size_t count)
{
    struct rollout *r = round->rollout;
    struct pollfd fds[] = {{engine_fd(round->engine), POLLIN, 0}, {r->interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, 2, draws(r) || r->settings->json ? LOOK_MS : -1);
        take_interrupts(round, count);
        draw(round, count);
        tell_bytes(round, count, TELL_US);
    } while (engine_work(round->engine, 0));
    wipe(r);
    count_bytes(round, count);
    tell_bytes(round, count, 0); /* how far each came */
}

static int run_batch(struct round *round, const struct engine_options *options, size_t count, struct ssx_error *err)
{
    struct rollout *r = round->rollout;
    size_t fanout = 0;
    int rc = engine_new(&round->engine, options, err) || add_batch(round, count, err) || engine_start(round->engine, &fanout, err) ? -1 : 0;
    if (rc == 0 && !r->fanout_said) {
        r->fanout_said = true;
        tool_say_fanout(r->settings, fanout, count);
    }
    if (rc == 0)
        converse(round, count);
    engine_free(round->engine);
    round->engine = NULL;
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

static int run_batches(struct round *round, struct engine_options *options, struct ssx_error *err)
{
    struct rollout *r = round->rollout;
    int rc = 0;
    for (size_t n; rc == 0 && !r->cancelled && (n = rolling_next(&r->rolling));) {
        int64_t passed_ms = (clock_us() - r->began_us) / 1000, left_ms = r->settings->deadline_ms - r->took_ms - passed_ms;
        options->deadline_ms = !r->settings->deadline_ms ? 0 : left_ms > 0 ? left_ms : 1;
        rc = run_batch(round, options, n, err);
    }
    end_unbegun(round, r->asked - r->rolling.begun);
    return rc;
}

int rollout_ask(struct rollout *r, const struct client_offer *offer, const struct rolling_options *rolling, const char *doing,
                struct ssx_error *err)
{
    char path[PATH_MAX];
    const char *local[] = {install_agent(path, sizeof path), NULL};
    struct agent_image image;
    size_t *numbers = calloc(r->count, sizeof *numbers);
    struct round round = {.rollout = r, .numbers = numbers};
    struct engine_options options = {.call = {.offer = offer}, .agent = &image, .bootstrap = r->settings->bootstrap, .input_fd = -1,
                                     .fanout = (size_t)r->settings->fanout, .local_argv = r->here ? local : NULL,
                                     .listener = {.user = &round, .on_message = on_message, .on_end = on_end, .on_stderr = on_stderr,
                                                  .on_note = r->settings->verbose ? on_note : NULL}};
    settings_target(r->settings, &options.target);
    r->done = r->asked = 0;
    r->began_us = clock_us();
    r->doing = doing;
    for (size_t i = 0; numbers && i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        h->sent = h->total = h->announced = h->told = 0;
        if (!h->skip)
            numbers[r->asked++] = i;
    }
    rolling_init(&r->rolling, r->asked, rolling);
    int rc = !numbers ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the hosts") : own_agent_open(&image, err) ? -1
        : run_batches(&round, &options, err);
    free(numbers);
    r->took_ms += (clock_us() - r->began_us) / 1000;
    return rc;
}
