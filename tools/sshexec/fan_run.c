#include "fan_run.h"

#include "fan_held.h"
#include "fan_show.h"
#include "interrupt.h"
#include "near_halves.h"
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/record.h"
#include "fleet/rolling.h"
#include "wire/outcome.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_MS 200 /* how often the progress line is drawn anew */

struct fan {
    const struct settings *settings;
    const struct fan_call *call;
    char *const *names;
    size_t count;
    struct ssx_session_options session;
    struct ssx_fleet *fleet;         /* of the batch that runs */
    struct rolling rolling;
    int64_t waited_us;               /* until that batch began */
    struct fan_show show;
    struct record *record;           /* NULL: it can't be kept, which was said */
    struct fan_held held;            /* ends of those whose near halves still run */
    int interrupt_fd, interrupts;    /* how many have been dealt with */
    bool cancelled;
};

/* --- what hosts say --- */

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

static void take_one(struct fan *f, const struct ssx_fleet_event *e)
{
    take_event(f, e);
    if (fan_show_is_end(&f->show, e) && rolling_stopped(&f->rolling))
        ssx_fleet_stop(f->fleet);
}

/* Of a transfer: what the host says of its half is one thing, what became of ours another. */
static void take_end_of_both(struct fan *f, const struct ssx_fleet_event *event)
{
    struct ssx_fleet_event e = *event;
    struct ssx_ending ending = *event->ending;
    if (ending.outcome == SSX_OUTCOME_OK && near_halves_state(f->call->near, e.host) != NEAR_HALF_COMPLETE) {
        ending.outcome = SSX_OUTCOME_FAILED;
        ending.exit_code = 1;
        ending.code = 1;
        ending.message = "the host says that all is done, but it is not";
        ending.text = "failed: the host says that all is done, but it is not";
    }
    e.ending = &ending;
    take_one(f, &e);
}

static bool has_gone(void *user, size_t host)
{
    const struct fan *f = user;
    return near_halves_state(f->call->near, host) != NEAR_HALF_RUNS;
}

/* Those that waited only for their near halves. */
static void take_held_ends(struct fan *f)
{
    if (!f->call->near)
        return;
    near_halves_look(f->call->near);
    for (struct held *held; (held = fan_held_take(&f->held, has_gone, f)); free(held))
        take_end_of_both(f, &held->event);
}

/* The host has ended, and with it its pipes: its near half will soon see that, if it has not. */
static void end_transfer(struct fan *f, const struct ssx_fleet_event *e)
{
    near_halves_look(f->call->near);
    if (has_gone(f, e->host) || fan_held_keep(&f->held, e))
        take_end_of_both(f, e);
}

/* The host has begun: its worker gets somebody to converse with. Without one it fails, and says so. */
static void join(struct fan *f, size_t host)
{
    struct ssx_error err = {0};
    int from = -1, to = -1;
    int rc = near_halves_begin(f->call->near, f->show.first + host, &from, &to, &err);
    if (rc)
        tool_complain(&err);
    if (ssx_fleet_join(f->fleet, host, from, to, &err) == 0)
        return;
    if (rc == 0)
        tool_complain(&err);
    fd_close(&from);
    fd_close(&to);
}

/* An event of a batch, as one of the whole run. */
static void tell(void *context, const struct ssx_fleet_event *event)
{
    struct fan *f = context;
    struct ssx_fleet_event e = *event;
    struct ssx_fleet_timing timing;
    if (e.kind == SSX_FLEET_BEGUN) {
        join(f, e.host);
        return;
    }
    e.host += f->show.first;
    if (e.timing) {
        timing = *e.timing;
        timing.wait_us += f->waited_us;
        timing.total_us += f->waited_us;
        e.timing = &timing;
    }
    if (f->call->near && e.kind == SSX_FLEET_END)
        end_transfer(f, &e);
    else
        take_one(f, &e);
}

/* --- the fleet that runs --- */

static int make_fleet(struct fan *f, struct ssx_error *err)
{
    const struct settings *s = f->settings;
    const struct fan_call *call = f->call;
    struct ssx_fleet_options o = ssx_fleet_defaults();
    int64_t left_ms = s->deadline_ms - f->waited_us / 1000;
    o.session = &f->session;
    o.fanout = (size_t)s->fanout;
    o.timeout_ms = (uint64_t)s->timeout_ms;
    o.deadline_ms = !s->deadline_ms ? 0 : left_ms > 0 ? (uint64_t)left_ms : 1;
    o.input_fd = call->input_fd;
    o.joined = call->near ? SSX_FLEET_JOIN_INPUT | SSX_FLEET_JOIN_OUTPUT : 0;
    o.notes = s->verbose > 0;
    o.per_host = (size_t)s->per_host;
    o.context = f;
    o.on_event = tell;
    int rc = ssx_fleet_open(&f->fleet, call->name, buf_data(&call->state), buf_length(&call->state), &o, err);
    for (size_t i = f->show.first; rc == 0 && i < f->show.first + f->show.batch; i++)
        rc = ssx_fleet_add(f->fleet, f->names[i], call->states ? buf_data(&call->states[i]) : NULL,
                           call->states ? buf_length(&call->states[i]) : 0, NULL, err);
    if (rc == 0)
        rc = scatter_deal(call->scatter, f->fleet, err);
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
    do {
        struct pollfd fds[] = {{ssx_fleet_fd(f->fleet), POLLIN, 0},
                               {f->interrupt_fd, POLLIN, 0},
                               {f->held.first ? near_halves_fd(f->call->near) : -1, POLLIN, 0}};
        poll(fds, 3, f->show.progress ? LOOK_MS : -1);
        take_interrupts(f);
        fan_show_progress(&f->show, f->fleet);
        running = ssx_fleet_step(f->fleet, 0);
        take_held_ends(f);
        if (f->record && record_flush(f->record, &err))
            tool_complain(&err);
    } while (running || f->held.first);
}

/* --- the run --- */

/* A run that can't be recorded runs all the same. */
static void begin_record(struct fan *f)
{
    struct ssx_error err = {0};
    const struct fan_call *call = f->call;
    const struct scatter *d = call->scatter;
    const struct record_run run = {.descriptor = &call->type->plugin.descriptor,
                                   .type = call->name,
                                   .state = buf_data(&call->state),
                                   .state_size = buf_length(&call->state),
                                   .hosts = f->names,
                                   .count = f->count,
                                   .texts = d->secret ? NULL : d->texts,
                                   .item_count = d->count,
                                   .per_host = scatter_per_host(f->settings)};
    if (record_open(&f->record, &run, &err))
        tool_complain(&err);
}

static int run_batch(struct fan *f, struct ssx_error *err)
{
    f->show.batch = f->call->scatter->count ? f->count : f->rolling.batch;
    f->waited_us = clock_us() - f->show.began_us;
    int rc = make_fleet(f, err);
    if (rc == 0) {
        tool_say_fanout(f->settings, ssx_fleet_fanout(f->fleet), f->show.first ? 0 : f->rolling.batch); /* once */
        converse(f);
        fan_show_moved(&f->show, f->fleet);
    }
    ssx_fleet_close(f->fleet);
    f->fleet = NULL;
    f->show.first += f->rolling.batch;
    return rc;
}

/* Those whose batch never came. */
static void end_unbegun(struct fan *f)
{
    const char *why = f->cancelled ? "cancelled: before it had begun there"
                                   : "cancelled: the run was stopped before it had begun there";
    const struct ssx_ending ending = {.outcome = SSX_OUTCOME_CANCELLED,
                                      .exit_code = EXIT_INTERRUPTED,
                                      .reason = "",
                                      .message = "",
                                      .digest = "",
                                      .sandbox = "",
                                      .text = why};
    const uint64_t waited_us = (uint64_t)(clock_us() - f->show.began_us);
    const struct ssx_fleet_timing timing = {.wait_us = waited_us, .total_us = waited_us};
    for (size_t i = f->rolling.begun; i < f->count && !f->call->scatter->count; i++)
        take_event(f, &(struct ssx_fleet_event){.kind = SSX_FLEET_END,
                                                .host = i,
                                                .item = SSX_FLEET_NONE,
                                                .name = f->names[i],
                                                .ending = &ending,
                                                .timing = &timing});
}

static int run_batches(struct fan *f, struct ssx_error *err)
{
    char reason[128];
    rolling_init(&f->rolling, f->show.count, &f->settings->rolling);
    while (!f->cancelled && rolling_next(&f->rolling)) {
        if (f->show.first == 0)
            begin_record(f);
        if (run_batch(f, err))
            return -1;
    }
    end_unbegun(f);
    if (rolling_stopped(&f->rolling))
        fan_show_remark("sshexec", "stopped", rolling_reason(reason, sizeof reason, &f->rolling));
    return 0;
}

int fan_run(const struct settings *s, const struct fan_hosts *hosts, const struct fan_call *call, int interrupt_fd)
{
    struct fan f = {
        .settings = s, .call = call, .names = hosts->names, .count = hosts->count, .interrupt_fd = interrupt_fd};
    const struct fan_rows rows = {f.names, f.count, call->labels, call->scatter->count, scatter_per_host(s)};
    struct ssx_error err = {0};
    settings_session(s, &f.session);
    int rc = fan_show_init(&f.show, s, &call->type->plugin.descriptor, call->name, &rows, &err);
    f.show.of_files = call->near;
    if (rc == 0)
        rc = run_batches(&f, &err);
    record_close(f.record);
    int code = rc ? tool_complain(&err) : fan_show_end(&f.show, s->largest);
    int output_error = f.show.output_error;
    fan_show_free(&f.show);
    if (f.cancelled && f.interrupts)
        return EXIT_SIGNAL + interrupt_signal();
    return output_error ? tool_output_lost(output_error) : code;
}
