#include "fleet/session.h"

#include "base/error.h"
#include "wire/outcome.h"

/* Runs that have been started while the agent had as many calls open as it takes at once: they travel in their order as
 * others end. */

static int call(struct ssx_run *run, const void *state, size_t n, struct ssx_error *err)
{
    struct ssx_session *s = run->session;
    const struct known_type *t = run->type;
    struct client_request request = {.type = t->here ? t->type.plugin.descriptor.type : t->word, .state = state, .state_size = n,
                                     .timeout_ms = run->o.timeout_ms, .grace_ms = run->o.grace_ms, .input = run->o.input};
    if (t->here)
        type_offer(&t->type, &request);
    if (session_reserve(s))
        return error_set(err, SSX_ERROR_SYSTEM, "can't run %s: out of memory", t->word);
    if (client_call(s->link.client, &run->id, &request, err))
        return -1;
    session_know(s, run);
    s->calls++;
    if (run->input_ended)
        client_input_end(s->link.client, run->id);
    return 0;
}

static int wait_for_turn(struct ssx_run *run, const void *state, size_t n, struct ssx_error *err)
{
    struct ssx_session *s = run->session;
    if (buf_add(&run->waiting_state, state, n))
        return error_set(err, SSX_ERROR_SYSTEM, "can't run %s: out of memory", run->type->word);
    run->waits = true;
    run->waits_after = s->last_waiting;
    *(s->last_waiting ? &s->last_waiting->waits_before : &s->first_waiting) = run;
    s->last_waiting = run;
    return 0;
}

int queue_start(struct ssx_run *run, const void *state, size_t n, struct ssx_error *err)
{
    struct ssx_session *s = run->session;
    return s->calls < s->calls_max && !s->first_waiting ? call(run, state, n, err) : wait_for_turn(run, state, n, err);
}

void queue_leave(struct ssx_run *run)
{
    struct ssx_session *s = run->session;
    if (!run->waits)
        return;
    *(run->waits_after ? &run->waits_after->waits_before : &s->first_waiting) = run->waits_before;
    *(run->waits_before ? &run->waits_before->waits_after : &s->last_waiting) = run->waits_after;
    run->waits = false;
    run->waits_after = run->waits_before = NULL;
    buf_free(&run->waiting_state);
    s->cancelled_waiting -= run->cancelled;
}

static void end_unsent(struct ssx_run *run, enum ssx_outcome outcome, const char *why)
{
    struct message m = {.kind = MESSAGE_END, .end = {.outcome = outcome, .message = span_text(why)}};
    queue_leave(run);
    run_end(run->session, run, &m.end);
}

/* Returns whether there was one. */
static bool end_a_cancelled_one(struct ssx_session *s)
{
    struct ssx_run *run = s->cancelled_waiting ? s->first_waiting : NULL;
    while (run && !run->cancelled)
        run = run->waits_before;
    if (run)
        end_unsent(run, SSX_OUTCOME_CANCELLED, "before it was sent");
    return run != NULL;
}

static void start_first(struct ssx_session *s)
{
    struct ssx_run *run = s->first_waiting;
    struct ssx_error why = {0};
    struct buf state = run->waiting_state;
    run->waiting_state = (struct buf){0};
    queue_leave(run);
    if (call(run, buf_data(&state), buf_length(&state), &why))
        end_unsent(run, SSX_OUTCOME_UNREACHABLE, why.text);
    buf_free(&state);
}

bool queue_advance(struct ssx_session *s)
{
    bool moved = false;
    for (; end_a_cancelled_one(s); moved = true)
        ;
    for (; s->first_waiting && s->link.ended; moved = true)
        end_unsent(s->first_waiting, SSX_OUTCOME_UNREACHABLE, s->error.text);
    for (; s->first_waiting && s->calls < s->calls_max; moved = true)
        start_first(s);
    return moved;
}
