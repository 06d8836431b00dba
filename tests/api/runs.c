/* Runs: typed and raw, many at once, and each way to end. */
#include "api.h"

static void a_typed_call(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run *run;
    struct hello hello;
    struct hello_result said;
    const char *also[] = {"Bob", "Eve"};
    hello_ssx_defaults(&hello);
    hello.name = "Ada";
    hello.also.at = also;
    hello.also.n = 2;
    MUST(ssx_run_start_as(&run, s, "hello", hello, &hello, NULL, &err));
    CHECK(ssx_run_outcome(run) == -1 && ssx_run_exit_code(run) == -1 && !ssx_run_ending(run));
    MUST(ssx_run_wait(run, -1, &err));
    MUST(ssx_run_result_as(run, hello_result, &said, &err));
    CHECK(!strcmp(said.greeting, "hello, Ada") && said.greeted == 3);
    const struct ssx_ending *e = ssx_run_ending(run);
    CHECK(e->outcome == SSX_OUTCOME_OK && e->exit_code == 0 && strlen(e->digest) == 64 && e->wall_us > 0 &&
          e->out == 33 && !*e->reason && *e->sandbox);
    ssx_session_close(s);
    CHECK(!strcmp(said.greeting, "hello, Ada")); /* the run's, not the session's */
    ssx_run_free(run);
}

static void a_raw_call_gives_back_the_same_value(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run *run = run_json(s, "echo", "{\"value\":{\"a\":[1,-2,3.5,\"x\",null,true]}}", NULL);
    char *json;
    size_t n;
    await(run);
    const void *result = ssx_run_result(run, &n);
    MUST(ssx_value_to_json(&json, result, n, &err));
    CHECK(!strcmp(json, "{\"value\":{\"a\":[1,-2,3.5,\"x\",null,true]}}"));
    ssx_value_free(json);
    ssx_run_free(run);
    ssx_session_close(s);
}

static char ended[8];
static void note_end(void *context, struct ssx_run *run)
{
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    strcat(ended, context);
}

static void runs_end_in_any_order(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run *runs[3];
    static char names[][2] = {"a", "b", "c"};
    const char *states[] = {"{\"ms\":1500}", "{\"ms\":700}", "{\"ms\":0}"};
    struct ssx_run_options o = ssx_run_defaults();
    o.on_end = note_end;
    for (int i = 0; i < 3; i++) {
        o.context = names[i];
        runs[i] = run_json(s, "sleep", states[i], &o);
    }
    CHECK(ssx_session_running(s) == 3);
    MUST(ssx_session_wait(s, 30000, &err));
    CHECK(!strcmp(ended, "cba") && ssx_session_running(s) == 0);
    for (int i = 0; i < 3; i++)
        ssx_run_free(runs[i]);
    ssx_session_close(s);
}

static void hundreds_in_flight(void)
{
    enum { MANY = 300 };
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    static struct ssx_run *runs[MANY];
    char state[64], *json;
    size_t n;
    for (int i = 0; i < MANY; i++) {
        snprintf(state, sizeof state, "{\"value\":%d}", i);
        runs[i] = run_json(s, "echo", state, NULL);
    }
    MUST(ssx_session_wait(s, 120000, &err));
    for (int i = 0; i < MANY; i++) {
        const void *result = ssx_run_result(runs[i], &n);
        CHECK(result);
        MUST(ssx_value_to_json(&json, result, n, &err));
        snprintf(state, sizeof state, "{\"value\":%d}", i);
        CHECK(!strcmp(json, state));
        ssx_value_free(json);
        ssx_run_free(runs[i]);
    }
    ssx_session_close(s);
}

static void check_end(struct ssx_run *run, int outcome, int exit_code, const char *text)
{
    await(run);
    const struct ssx_ending *e = ssx_run_ending(run);
    if (ssx_run_outcome(run) != outcome || ssx_run_exit_code(run) != exit_code || !strstr(e->text, text)) {
        printf("%s, %d: %s; wanted %s, %d: %s\n", ssx_outcome_name(e->outcome), e->exit_code, e->text,
               ssx_outcome_name((enum ssx_outcome)outcome), exit_code, text);
        exit(1);
    }
    ssx_run_free(run);
}

static void every_way_to_end(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options soon = ssx_run_defaults();
    soon.timeout_ms = 200;
    check_end(run_json(s, "hello", NULL, NULL), SSX_OUTCOME_OK, 0, "ok");
    check_end(run_shell(s, "exit 7", NULL), SSX_OUTCOME_FAILED, 7, "failed with code 7");
    check_end(run_json(s, "segfault", NULL, NULL), SSX_OUTCOME_CRASHED, 139, "crashed");
    check_end(run_json(s, "sleep", "{\"ms\":60000}", &soon), SSX_OUTCOME_TIMEOUT, 124, "timeout");
    check_end(run_json(s, "hello", "{\"times\":300}", NULL), SSX_OUTCOME_REFUSED, 126, "times");
    check_end(run_json(s, "no_such_type", NULL, NULL), SSX_OUTCOME_REFUSED, 127, "no_such_type");
    struct ssx_run *run = run_json(s, "sleep", "{\"ms\":60000}", NULL);
    ssx_run_cancel(run);
    check_end(run, SSX_OUTCOME_CANCELLED, 130, "cancelled");
    ssx_session_close(s);
}

static void exactly_one_file(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    char path[4096];
    struct ssx_run *run;
    snprintf(path, sizeof path, "%s/items.so", place.zoo);
    run = run_json(s, path, NULL, NULL);
    await(run);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    CHECK(ssx_run_start(&run, s, "./no/such/file.so", NULL, 0, NULL, &err) == -1 && !run && err.code == SSX_ERROR_USAGE);
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_run_start(&run, s, "/etc/passwd", NULL, 0, NULL, &err) == -1 && !run && err.code == SSX_ERROR_REFUSED);
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_run_start(&run, s, "No Name", NULL, 0, NULL, &err) == -1 && !run && err.code == SSX_ERROR_UNKNOWN_TYPE);
    ssx_session_close(s);
}

/* Refused here, before anything travels, or when what came is looked at. */
static void values_are_checked(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run *run;
    struct hello hello;
    struct items_result wrong;
    hello_ssx_defaults(&hello);
    hello.times = 101;
    CHECK(ssx_run_start_as(&run, s, "hello", hello, &hello, NULL, &err) == -1 && !run &&
          err.code == SSX_ERROR_REFUSED && strstr(err.text, "times"));
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_run_start(&run, s, "hello", "\xc1", 1, NULL, &err) == -1 && err.code == SSX_ERROR_REFUSED);
    err.code = SSX_ERROR_NONE;
    run = run_json(s, "hello", NULL, NULL);
    CHECK(ssx_run_result_as(run, items_result, &wrong, &err) == -1 && strstr(err.text, "no result yet"));
    err.code = SSX_ERROR_NONE;
    await(run);
    CHECK(ssx_run_result_as(run, items_result, &wrong, &err) == -1 && err.code == SSX_ERROR_REFUSED && strstr(err.text, "greeting"));
    ssx_run_free(run);
    err.code = SSX_ERROR_NONE;
    run = run_shell(s, "exit 1", NULL);
    await(run);
    CHECK(ssx_run_state_as(run, items_result, &wrong, &err) == -1 && strstr(err.text, "no state"));
    ssx_run_free(run);
    void *value;
    char *json;
    size_t n;
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_value_from_json(&value, &n, "{\"a\":}", 6, &err) == -1 && !value && err.code == SSX_ERROR_USAGE);
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_value_to_json(&json, "\x92\x01", 2, &err) == -1 && !json && err.code == SSX_ERROR_PROTOCOL);
    ssx_session_close(s);
}

const struct api_case run_cases[] = {
    {"a_typed_call", a_typed_call},
    {"a_raw_call_gives_back_the_same_value", a_raw_call_gives_back_the_same_value},
    {"runs_end_in_any_order", runs_end_in_any_order},
    {"hundreds_in_flight", hundreds_in_flight},
    {"every_way_to_end", every_way_to_end},
    {"exactly_one_file", exactly_one_file},
    {"values_are_checked", values_are_checked},
    {NULL, NULL},
};
