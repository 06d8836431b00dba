/* What a callback may do: start, cancel and free runs, its own too; and what it may not: wait. */
#include "api.h"

static int started, ended, outputs;
static struct ssx_run *victim;

/* Each run starts the next one and frees itself. */
static void chain(void *context, struct ssx_run *run)
{
    struct ssx_run_options o = ssx_run_defaults();
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    o.on_end = chain;
    ended++;
    if (started < 20) {
        started++;
        run_json(ssx_run_session(run), "hello", NULL, &o);
    }
    ssx_run_free(run);
    (void)context;
}

static void a_run_starts_the_next_one_and_frees_itself(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    o.on_end = chain;
    started = 1;
    run_json(s, "hello", NULL, &o);
    MUST(ssx_session_wait(s, 60000, &err));
    CHECK(started == 20 && ended == 20);
    ssx_session_close(s);
}

static void free_on_output(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    char copy[64] = "";
    (void)context, (void)stream;
    outputs++;
    ssx_run_free(run);
    strncat(copy, bytes, n < 60 ? n : 60); /* still there: borrowed for all of the callback */
    CHECK(!strncmp(copy, "xxx", 3));
}

static void never(void *context, struct ssx_run *run)
{
    (void)context, (void)run;
    CHECK(!"a callback after the run was freed");
}

static void a_run_is_freed_while_it_talks(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    o.on_output = free_on_output;
    o.on_end = never;
    run_json(s, "flood", "{\"bytes\":300000000}", &o);
    MUST(ssx_session_wait(s, 60000, &err));
    CHECK(outputs == 1 && ssx_session_running(s) == 0);
    struct ssx_run *after = run_json(s, "hello", NULL, NULL);
    await(after);
    CHECK(ssx_run_outcome(after) == SSX_OUTCOME_OK);
    ssx_run_free(after);
    ssx_session_close(s);
}

static void cancel_the_other(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    (void)context, (void)stream, (void)bytes, (void)n;
    outputs++;
    if (victim)
        ssx_run_free(victim);
    victim = NULL;
    ssx_run_cancel(run);
}

static void runs_are_cancelled_and_freed_from_another_one(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    o.on_end = never;
    victim = run_json(s, "sleep", "{\"ms\":60000}", &o);
    o.on_end = NULL;
    o.on_output = cancel_the_other;
    struct ssx_run *run = run_shell(s, "echo now; sleep 60", &o);
    await(run);
    CHECK(outputs == 1 && !victim && ssx_run_outcome(run) == SSX_OUTCOME_CANCELLED && ssx_session_running(s) == 0);
    ssx_run_free(run);
    ssx_session_close(s);
}

static void refused(int rc, struct ssx_error *err)
{
    CHECK(rc == -1 && err->code == SSX_ERROR_USAGE && strstr(err->text, "callback"));
    err->code = SSX_ERROR_NONE;
}

static void try_to_wait(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    struct ssx_session *s = ssx_run_session(run);
    char byte;
    (void)context, (void)stream, (void)bytes, (void)n;
    outputs++;
    refused(ssx_run_wait(run, -1, &err), &err);
    refused(ssx_session_wait(s, -1, &err), &err);
    refused(ssx_session_step(s, 0, &err), &err);
    refused((int)ssx_run_read(victim, SSX_STDOUT, &byte, 1, -1, &err), &err);
    CHECK(ssx_run_read(victim, SSX_STDOUT, &byte, 1, 0, &err) == SSX_AGAIN); /* looking is fine */
}

static void waiting_in_a_callback_is_refused(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options pulled = ssx_run_defaults(), o = ssx_run_defaults();
    pulled.pull = SSX_PULL_STDOUT;
    o.on_output = try_to_wait;
    victim = run_json(s, "sleep", "{\"ms\":60000}", &pulled);
    struct ssx_run *run = run_shell(s, "echo now", &o);
    await(run);
    CHECK(outputs == 1 && ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_run_free(victim);
    ssx_session_close(s);
}

const struct api_case callback_cases[] = {
    {"a_run_starts_the_next_one_and_frees_itself", a_run_starts_the_next_one_and_frees_itself},
    {"a_run_is_freed_while_it_talks", a_run_is_freed_while_it_talks},
    {"runs_are_cancelled_and_freed_from_another_one", runs_are_cancelled_and_freed_from_another_one},
    {"waiting_in_a_callback_is_refused", waiting_in_a_callback_is_refused},
    {NULL, NULL},
};
