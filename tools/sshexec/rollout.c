#include "rollout.h"

#include "agents.h"
#include "host_sets.h"
#include "interrupt.h"
#include "tally.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "fleet/engine.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "wire/value.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- the hosts --- */

static int add_host(void *user, const char *name, size_t n)
{
    struct rollout *r = user;
    r->hosts[r->count].name = strndup(name, n);
    return r->hosts[r->count].name ? (r->count++, 0) : 1;
}

/* Words are sets as behind -w. */
static int take_sets(struct rollout *r, struct host_sets *sets, char **words, int count, struct ssx_error *err)
{
    const struct settings *s = r->settings;
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = host_sets_take(sets, 'w', words[i], err);
    for (size_t i = 0; rc == 0 && i < s->host_word_count; i++)
        rc = host_sets_take(sets, s->host_words[i].option, s->host_words[i].value, err);
    if (rc || host_sets_finish(sets, "deploy", err))
        return -1;
    r->hosts = calloc(hostset_count(sets->included), sizeof *r->hosts);
    return r->hosts && hostset_each(sets->included, add_host, r, err) == 0 ? 0
        : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
}

int rollout_init(struct rollout *r, const struct settings *s, char **words, int count, struct ssx_error *err)
{
    const struct groups_options groups = {.source = s->group_source, .ssh_config = s->ssh_config, .watch = interrupt_watch,
                                          .unwatch = interrupt_unwatch};
    struct host_sets sets;
    *r = (struct rollout){.settings = s, .here = !count && !s->host_word_count && !settings_go_out(s, NULL)};
    if (count || s->host_word_count) {
        int rc = host_sets_init(&sets, &groups, err) || take_sets(r, &sets, words, count, err) ? -1 : 0;
        host_sets_dispose(&sets);
        return rc;
    }
    static const char here[] = "this machine";
    r->hosts = calloc(1, sizeof *r->hosts);
    return r->hosts && add_host(r, here, sizeof here - 1) == 0 ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
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

struct round { struct rollout *rollout; struct engine *engine; size_t *numbers; }; /* of the engine's hosts: which of ours */

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
    if (r->doing)
        fprintf(stderr, "\r%s: %zu of %zu\033[K%s", r->doing, r->done, r->asked, r->done == r->asked ? "\r\033[K" : "");
}

static void on_stderr(void *user, size_t host, const void *bytes, size_t n)
{
    (void)user;
    (void)host;
    (void)!fd_write_all(STDERR_FILENO, bytes, n);
}

static void on_note(void *user, size_t host, int level, const char *text)
{
    struct round *round = user;
    if (round->rollout->settings->verbose >= level)
        fprintf(stderr, "sshexec: %s: %s\n", host_of(round, host)->name, text);
}

/* --- asking --- */

static int add_all(struct round *round, struct ssx_error *err)
{
    struct rollout *r = round->rollout;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_host *h = &r->hosts[i];
        if (h->skip)
            continue;
        h->answered = false;
        h->message[0] = h->reason[0] = 0;
        buf_free(&h->value);
        round->numbers[r->asked++] = i;
        if (engine_add(round->engine, h->name, NULL, 0, err))
            return -1;
    }
    return 0;
}

static void converse(struct round *round)
{
    struct pollfd fds[] = {{engine_fd(round->engine), POLLIN, 0}, {round->rollout->interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, interrupt_signal() ? 1 : 2, -1);
        if (interrupt_signal())
            engine_cancel(round->engine);
    } while (engine_work(round->engine, 0));
}

static int start(struct round *round, const struct engine_options *options, struct ssx_error *err)
{
    return engine_new(&round->engine, options, err) || add_all(round, err) || engine_start(round->engine, NULL, err) ? -1 : 0;
}

int rollout_ask(struct rollout *r, const struct client_offer *offer, struct ssx_error *err)
{
    char path[PATH_MAX];
    const char *local[] = {install_agent(path, sizeof path), NULL};
    struct agent_image image;
    const int64_t began_ms = clock_ms();
    struct round round = {.rollout = r, .numbers = calloc(r->count, sizeof *round.numbers)};
    struct engine_options options = {.call = {.offer = offer}, .agent = &image, .bootstrap = r->settings->bootstrap, .input_fd = -1,
                                     .fanout = (size_t)r->settings->fanout, .deadline_ms = r->settings->deadline_ms, .local_argv = r->here
                                         ? local : NULL,
                                     .listener = {&round, on_message, on_end, on_stderr, r->settings->verbose ? on_note : NULL}};
    settings_target(r->settings, &options.target);
    r->done = r->asked = 0;
    int rc = !round.numbers ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the hosts") : own_agent_open(&image, err) ||
        start(&round, &options, err) ? -1 : 0;
    if (rc == 0)
        converse(&round);
    engine_free(round.engine);
    free(round.numbers);
    r->took_ms += clock_ms() - began_ms;
    return rc;
}

/* --- what came of it --- */

int rollout_sum_up(const struct rollout *r)
{
    struct tally tally;
    struct buf text = {0};
    char **names = calloc(r->count, sizeof *names);
    if (!names || tally_init(&tally, r->count)) {
        free(names);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_host *h = &r->hosts[i];
        names[i] = h->name;
        tally_add(&tally, i, h->answered ? SSX_OUTCOME_OK : h->outcome, h->answered ? 0 : outcome_exit_code(h->outcome, 0, 0, h->reason));
    }
    tally_describe(&text, &tally, names, (double)r->took_ms / 1000);
    if (r->count > 1 && !r->settings->json)
        fprintf(stderr, "sshexec: %.*s\n", (int)buf_length(&text), (const char *)buf_data(&text));
    int code = tally_exit_code(&tally, r->settings->largest);
    buf_free(&text);
    tally_free(&tally);
    free(names);
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : code;
}

void rollout_complain(const struct rollout_host *h)
{
    fprintf(stderr, "sshexec: %s: %s%s%s\n", h->name, h->outcome == SSX_OUTCOME_REFUSED && h->message[0] ? "" : outcome_name(h->outcome),
            h->outcome == SSX_OUTCOME_REFUSED || !h->message[0] ? "" : ": ", h->message);
}

void rollout_json(struct buf *out, const struct rollout_host *h)
{
    buf_add_text(out, "{\"host\":");
    json_add_string(out, h->name, strlen(h->name));
    buf_printf(out, ",\"outcome\":\"%s\"", outcome_name(h->outcome));
    if (h->answered)
        return;
    buf_add_text(out, ",\"reason\":");
    json_add_string(out, h->reason, strlen(h->reason));
    buf_add_text(out, ",\"message\":");
    json_add_string(out, h->message, strlen(h->message));
}
