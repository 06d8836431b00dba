#include "fan_out.h"

#include "fan_show.h"
#include "interrupt.h"
#include "scatter.h"
#include "state_map.h"
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/record.h"
#include "fleet/rolling.h"
#include "wire/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 200 /* how often the progress line is drawn anew */

/* What is called on each host; no state where hosts have their own. */
struct call { const char *name; struct buf state; int input_fd; struct ssx_session_options session; };

struct fan {
    const struct settings *settings;
    const struct type *type;
    char *const *names;
    struct buf *states;              /* of each host; NULL: all have the same */
    size_t count;
    struct scatter scatter;          /* count 0: nothing is dealt */
    char **labels;                   /* of its items */
    struct ssx_fleet *fleet;         /* of the batch that runs */
    struct rolling rolling;
    int64_t waited_us;               /* until that batch began */
    struct fan_show show;
    struct record *record;           /* NULL: it can't be kept, which was said */
    int interrupt_fd, interrupts;    /* how many have been dealt with */
    bool cancelled;
};

/* --- stdin for all --- */

/* Into a file without a name, for each host reads it at its own pace, some not before others have ended. */
static int spool(int *out, struct ssx_error *err)
{
    char piece[65536];
    const char *dir = getenv("TMPDIR");
    ssize_t n;
    *out = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*out < 0)
        return error_system(err, "can't keep stdin for all hosts in a temporary file (-n: no input)");
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR && !interrupt_count())
            continue;
        if (n < 0 || fd_write_all(*out, piece, (size_t)n))
            return interrupt_count() ? error_set(err, SSX_ERROR_INTERRUPTED, "interrupted") : error_system(err, "can't keep stdin for all hosts in a temporary file");
    }
    return 0;
}

static int open_input(int *out, struct ssx_error *err)
{
    struct stat st;
    if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && lseek(STDIN_FILENO, 0, SEEK_CUR) == 0) {
        *out = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        return *out < 0 ? error_system(err, "can't read stdin") : 0;
    }
    return spool(out, err);
}

/* --- the fleet --- */

static void take_event(struct fan *f, const struct ssx_fleet_event *e)
{
    if (f->record)
        record_event(f->record, e);
    if (fan_show_is_end(&f->show, e))
        rolling_ended(&f->rolling, e->ending->outcome);
    if (fan_show_event(&f->show, e) && !f->cancelled) { /* nobody reads what we print */
        f->cancelled = true;
        ssx_fleet_cancel(f->fleet);
    }
}

/* An event of a batch, as one of the whole run. */
static void tell(void *context, const struct ssx_fleet_event *event)
{
    struct fan *f = context;
    struct ssx_fleet_event e = *event;
    struct ssx_fleet_timing timing;
    e.host += f->show.first;
    if (e.timing) {
        timing = *e.timing;
        timing.wait_us += f->waited_us;
        timing.total_us += f->waited_us;
        e.timing = &timing;
    }
    take_event(f, &e);
    if (fan_show_is_end(&f->show, &e) && rolling_stopped(&f->rolling))
        ssx_fleet_stop(f->fleet);
}

static int make_fleet(struct fan *f, const struct call *call, struct ssx_error *err)
{
    const struct settings *s = f->settings;
    struct ssx_fleet_options o = ssx_fleet_defaults();
    int64_t left_ms = s->deadline_ms - f->waited_us / 1000;
    o.session = &call->session;
    o.fanout = (size_t)s->fanout;
    o.timeout_ms = (uint64_t)s->timeout_ms;
    o.deadline_ms = !s->deadline_ms ? 0 : left_ms > 0 ? (uint64_t)left_ms : 1;
    o.input_fd = call->input_fd;
    o.notes = s->verbose > 0;
    o.per_host = (size_t)s->per_host;
    o.context = f;
    o.on_event = tell;
    int rc = ssx_fleet_open(&f->fleet, call->name, buf_data(&call->state), buf_length(&call->state), &o, err);
    for (size_t i = f->show.first; rc == 0 && i < f->show.first + f->show.batch; i++)
        rc = ssx_fleet_add(f->fleet, f->names[i], f->states ? buf_data(&f->states[i]) : NULL, f->states ? buf_length(&f->states[i]) : 0, NULL, err);
    if (rc == 0)
        rc = scatter_deal(&f->scatter, f->fleet, err);
    return rc ? -1 : ssx_fleet_start(f->fleet, err);
}

/* The first Ctrl-C only shows who is pending: the run goes on. The second, and any other signal, ends it everywhere. */
static void take_interrupts(struct fan *f)
{
    char bytes[16];
    if (interrupt_count() == f->interrupts)
        return;
    (void)!read(f->interrupt_fd, bytes, sizeof bytes);
    bool first = f->interrupts == 0 && interrupt_count() == 1 && interrupt_signal() == SIGINT;
    f->interrupts = interrupt_count();
    if (first) {
        fan_show_pending(&f->show, f->fleet);
        return;
    }
    f->cancelled = true;
    ssx_fleet_cancel(f->fleet);
}

static void converse(struct fan *f)
{
    struct ssx_error err = {0};
    int running;
    struct pollfd fds[] = {{ssx_fleet_fd(f->fleet), POLLIN, 0}, {f->interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, 2, f->show.progress ? LOOK_MS : -1);
        take_interrupts(f);
        fan_show_progress(&f->show, f->fleet);
        running = ssx_fleet_step(f->fleet, 0);
        if (f->record && record_flush(f->record, &err))
            tool_complain(&err);
    } while (running);
}

/* --- the run --- */

/* A run that can't be recorded runs all the same. */
static void begin_record(struct fan *f, const struct call *call)
{
    struct ssx_error err = {0};
    const struct scatter *d = &f->scatter;
    const struct record_run run = {.descriptor = &f->type->plugin.descriptor, .type = call->name, .state = buf_data(&call->state), .state_size = buf_length(&call->state),
                                   .hosts = f->names, .count = f->count, .texts = d->secret ? NULL : d->texts, .item_count = d->count, .per_host = scatter_per_host(f->settings)};
    if (record_open(&f->record, &run, &err))
        tool_complain(&err);
}

static int run_batch(struct fan *f, const struct call *call, struct ssx_error *err)
{
    f->show.batch = f->scatter.count ? f->count : f->rolling.batch;
    f->waited_us = clock_us() - f->show.began_us;
    int rc = make_fleet(f, call, err);
    if (rc == 0) {
        tool_say_fanout(f->settings, ssx_fleet_fanout(f->fleet), f->show.first ? 0 : f->rolling.batch); /* once */
        converse(f);
    }
    ssx_fleet_close(f->fleet);
    f->fleet = NULL;
    f->show.first += f->rolling.batch;
    return rc;
}

/* Those whose batch never came. */
static void end_unbegun(struct fan *f)
{
    const char *why = f->cancelled ? "cancelled: before it had begun there" : "cancelled: the run was stopped before it had begun there";
    const struct ssx_ending ending = {.outcome = SSX_OUTCOME_CANCELLED, .exit_code = EXIT_INTERRUPTED, .reason = "", .message = "",
                                      .digest = "", .sandbox = "", .text = why};
    const uint64_t waited_us = (uint64_t)(clock_us() - f->show.began_us);
    const struct ssx_fleet_timing timing = {.wait_us = waited_us, .total_us = waited_us};
    for (size_t i = f->rolling.begun; i < f->count && !f->scatter.count; i++)
        take_event(f, &(struct ssx_fleet_event){.kind = SSX_FLEET_END, .host = i, .item = SSX_FLEET_NONE, .name = f->names[i], .ending = &ending, .timing = &timing});
}

static int run_batches(struct fan *f, const struct call *call, struct ssx_error *err)
{
    char reason[128];
    rolling_init(&f->rolling, f->show.count, &f->settings->rolling);
    while (!f->cancelled && rolling_next(&f->rolling)) {
        if (f->show.first == 0)
            begin_record(f, call);
        if (run_batch(f, call, err))
            return -1;
    }
    end_unbegun(f);
    if (rolling_stopped(&f->rolling))
        fan_show_remark("sshexec", "stopped", rolling_reason(reason, sizeof reason, &f->rolling));
    return 0;
}

static int run(struct fan *f, struct call *call)
{
    struct ssx_error err = {0};
    settings_session(f->settings, &call->session);
    const struct fan_rows rows = {f->names, f->count, f->labels, f->scatter.count, scatter_per_host(f->settings)};
    int rc = fan_show_init(&f->show, f->settings, &f->type->plugin.descriptor, call->name, &rows, &err) || run_batches(f, call, &err);
    record_close(f->record);
    int code = rc ? tool_complain(&err) : fan_show_end(&f->show, f->settings->largest);
    int output_error = f->show.output_error;
    fan_show_free(&f->show);
    if (f->cancelled && f->interrupts)
        return EXIT_SIGNAL + interrupt_signal();
    return output_error ? tool_output_lost(output_error) : code;
}

static int make_host_state(struct fan *f, size_t i, const struct word_list *words, const struct state_map *map, struct ssx_error *err)
{
    struct word_host host = {.state = NULL};
    const struct transport_target target = {.host = f->names[i], .login = f->settings->login, .port = f->settings->port};
    if (target_split(&host.parts, &target, err))
        return -1;
    snprintf(host.number, sizeof host.number, "%zu", i);
    if (f->settings->state_map && !(host.state = state_map_find(map, f->names[i], &host.state_size)))
        return error_set(err, SSX_ERROR_USAGE, "--state-map %s has no state for %s", f->settings->state_map, f->names[i]);
    return words_state(&f->states[i], words, &host, err) ? error_prefix(err, "%s", f->names[i]) : 0;
}

/* What is dealt, with the first of it in the states that are made next, for checking: each of the others then has its place there. */
static int make_items(struct fan *f, struct word_list *words, struct word *first, struct ssx_error *err)
{
    struct scatter *d = &f->scatter;
    if (!f->settings->scatter)
        return 0;
    if (scatter_read(d, f->settings, words, err) || scatter_type(d, f->settings, words, err))
        return -1;
    if (scatter_labels(&f->labels, d->secret ? NULL : d->texts, d->count))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", d->count);
    *first = (struct word){.name = d->field, .operator = d->operator, .value = d->texts[0].at, .n = d->texts[0].n};
    words->last = first;
    return 0;
}

/* All of them, before any is sent. */
static int make_states(struct fan *f, struct call *call, const struct word_list *words, struct ssx_error *err)
{
    struct state_map map = {0};
    if (!words->by_host && !f->settings->state_map)
        return words_state(&call->state, words, NULL, err);
    f->states = calloc(f->count, sizeof *f->states);
    int rc = f->states ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu states", f->count);
    if (rc == 0 && f->settings->state_map)
        rc = state_map_read(&map, f->settings->state_map, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++)
        rc = make_host_state(f, i, words, &map, err);
    state_map_free(&map);
    return rc;
}

static bool takes_input(const struct fan *f, const struct word_list *words)
{
    bool map_is_stdin = f->settings->state_map && strcmp(f->settings->state_map, "-") == 0;
    bool wanted = (f->type->plugin.descriptor.traits & TRAIT_TAKES_INPUT) && !f->settings->no_input;
    return wanted && !words->read_stdin && !map_is_stdin && !scatter_reads_stdin(f->settings) && !isatty(STDIN_FILENO);
}

static void dispose(struct fan *f, struct call *call)
{
    fd_close(&call->input_fd);
    buf_free(&call->state);
    for (size_t i = 0; f->states && i < f->count; i++)
        buf_free(&f->states[i]);
    free(f->states);
    scatter_labels_free(f->labels, f->scatter.count);
    scatter_free(&f->scatter);
}

int fan_out(const struct settings *s, const struct fan_hosts *hosts, const struct type *type, const char *name, const struct word_list *words)
{
    struct fan f = {.settings = s, .type = type, .names = hosts->names, .count = hosts->count};
    struct ssx_error err = {0};
    struct call call = {.name = name, .input_fd = -1};
    struct word_list all = *words;
    struct word first;
    f.interrupt_fd = interrupt_watch();
    int rc = make_items(&f, &all, &first, &err);
    if (rc == 0)
        rc = make_states(&f, &call, &all, &err);
    if (rc == 0 && takes_input(&f, words))
        rc = open_input(&call.input_fd, &err);
    int code = rc ? (interrupt_count() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err)) : run(&f, &call);
    dispose(&f, &call);
    return code;
}
