/* Output, input, items: called back and pulled. */
#include "api.h"

struct heard { char out[256], err[256], log[256]; size_t items, bytes, states; uint64_t done, total; int levels, ends; };

static void hear_output(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    struct heard *h = context;
    (void)run;
    CHECK(n < 200);
    strncat(stream == SSX_STDOUT ? h->out : h->err, bytes, n);
}

static void hear_log(void *context, struct ssx_run *run, int level, const char *text)
{
    struct heard *h = context;
    (void)run;
    h->levels += level;
    strcat(strcat(h->log, text), ";");
}

static void hear_progress(void *context, struct ssx_run *run, uint64_t done, uint64_t total, const char *text)
{
    struct heard *h = context;
    (void)run;
    CHECK(!strncmp(text, "number ", 7));
    h->done = done;
    h->total = total;
}

static void hear_item(void *context, struct ssx_run *run, const void *msgpack, size_t n)
{
    struct ssx_error err = {0};
    struct heard *h = context;
    struct items_one one;
    char name[32];
    MUST(ssx_run_item_as(run, items_one, &one, msgpack, n, &err));
    snprintf(name, sizeof name, "number %zu", h->items);
    CHECK(one.number == h->items && !strcmp(one.name, name));
    h->items++;
    h->bytes += one.payload.n;
}

static void hear_state(void *context, struct ssx_run *run, const void *msgpack, size_t n)
{
    size_t kept;
    const void *state = ssx_run_state(run, &kept);
    CHECK(kept == n && !memcmp(state, msgpack, n));
    ((struct heard *)context)->states++;
}

static void hear_end(void *context, struct ssx_run *run)
{
    CHECK(ssx_run_ending(run));
    ((struct heard *)context)->ends++;
}

static struct ssx_run_options hearing(struct heard *h)
{
    struct ssx_run_options o = ssx_run_defaults();
    memset(h, 0, sizeof *h);
    o.context = h;
    o.on_output = hear_output;
    o.on_log = hear_log;
    o.on_progress = hear_progress;
    o.on_item = hear_item;
    o.on_state = hear_state;
    o.on_end = hear_end;
    return o;
}

static void output_is_called_back(void)
{
    struct ssx_session *s = session_here();
    struct heard h;
    struct ssx_run_options o = hearing(&h);
    struct ssx_run *run = run_shell(s, "echo out; echo err >&2", &o);
    CHECK(ssx_run_context(run) == &h && ssx_run_session(run) == s);
    await(run);
    CHECK(!strcmp(h.out, "out\n") && !strcmp(h.err, "err\n") && h.ends == 1);
    ssx_run_free(run);
    ssx_session_close(s);
}

static void items_log_and_progress_are_called_back(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct heard h;
    struct ssx_run_options o = hearing(&h);
    struct items_result sent;
    struct ssx_run *run = run_json(s, "items", "{\"count\":3,\"size\":200000}", &o);
    await(run);
    CHECK(h.items == 3 && h.bytes == 600000 && h.levels == 3 && h.total == 3 && !strcmp(h.log, "number 0;number 1;number 2;"));
    MUST(ssx_run_result_as(run, items_result, &sent, &err));
    CHECK(sent.sent == 3);
    ssx_run_free(run);
    ssx_session_close(s);
}

/* The caller holds the new object: it can be sent again as it is. */
static void a_state_comes_back(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct heard h;
    struct ssx_run_options o = hearing(&h);
    struct ssx_run *run;
    struct items items;
    items_ssx_defaults(&items);
    items.count = 2;
    for (uint32_t wanted = 2; wanted <= 8; wanted *= 2) {
        h.items = 0;
        MUST(ssx_run_start_as(&run, s, "items", items, &items, &o, &err));
        await(run);
        CHECK(h.items == wanted);
        MUST(ssx_run_state_as(run, items, &items, &err));
        ssx_run_free(run);
    }
    CHECK(items.count == 16 && h.states == 3);
    ssx_session_close(s);
}

static void output_is_pulled(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    char text[64] = "", piece[2];
    ssize_t n;
    o.pull = SSX_PULL_STDOUT | SSX_PULL_STDERR;
    struct ssx_run *run = run_shell(s, "echo to stdout; echo to stderr >&2", &o);
    while ((n = ssx_run_read(run, SSX_STDOUT, piece, sizeof piece, -1, &err)) > 0)
        strncat(text, piece, (size_t)n);
    CHECK(n == 0 && !strcmp(text, "to stdout\n"));
    await(run);
    CHECK(ssx_run_read(run, SSX_STDERR, text, sizeof text, 0, &err) == 10 && !memcmp(text, "to stderr\n", 10)); /* after the end too */
    CHECK(ssx_run_read(run, SSX_STDERR, text, sizeof text, 0, &err) == 0 &&
          ssx_run_read(run, SSX_STDOUT, text, sizeof text, -1, &err) == 0);
    CHECK(ssx_run_read(run, 3, text, sizeof text, 0, &err) == -1 && err.code == SSX_ERROR_USAGE);
    ssx_run_free(run);
    run = run_json(s, "sleep", "{\"ms\":3000}", &o);
    long long began = now_ms();
    CHECK(ssx_run_read(run, SSX_STDOUT, text, sizeof text, 100, NULL) == SSX_AGAIN && ssx_run_wait(run, 100, NULL) == SSX_AGAIN);
    CHECK(now_ms() - began >= 200 && ssx_run_read(run, SSX_STDOUT, text, sizeof text, 0, NULL) == SSX_AGAIN);
    ssx_run_free(run);
    ssx_session_close(s);
}

static void items_are_pulled(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    struct items_one one;
    const void *item;
    size_t n;
    uint32_t count = 0;
    int rc;
    o.pull = SSX_PULL_ITEMS;
    struct ssx_run *run = run_json(s, "items", "{\"count\":100,\"size\":100000}", &o); /* ten windows */
    while ((rc = ssx_run_next_item(run, &item, &n, 30000, &err)) == 1) {
        MUST(ssx_run_item_as(run, items_one, &one, item, n, &err));
        CHECK(one.number == count++ && one.payload.n == 100000);
    }
    CHECK(rc == 0 && count == 100 && !item && ssx_run_next_item(run, &item, &n, -1, &err) == 0);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(s);
}

static void what_nobody_asked_for_holds_nothing_up(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run *run = run_json(s, "flood", "{\"bytes\":20000000}", NULL),
                   *items = run_json(s, "items", "{\"count\":50,\"size\":100000}", NULL);
    await(run);
    await(items);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK && ssx_run_ending(run)->out == 20000000 && ssx_run_outcome(items) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_run_free(items);
    ssx_session_close(s);
}

/* Through `cat`, which makes both directions wait for each other. */
static void input_travels_and_comes_back(void)
{
    enum { SIZE = 5000000 };
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    unsigned char *sent = malloc(SIZE), *back = malloc(SIZE + 1);
    size_t given = 0, got = 0;
    o.input = true;
    o.pull = SSX_PULL_STDOUT;
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (unsigned char)(i * 31 + i / 251);
    struct ssx_run *run = run_shell(s, "cat", &o);
    for (ssize_t n; got < SIZE; got += (size_t)(n > 0 ? n : 0)) {
        n = given < SIZE ? ssx_run_write(run, sent + given, SIZE - given, 0, &err) : 0;
        CHECK(n >= 0 || n == SSX_AGAIN);
        given += (size_t)(n > 0 ? n : 0);
        if (given == SIZE)
            ssx_run_write_end(run);
        n = ssx_run_read(run, SSX_STDOUT, back + got, SIZE + 1 - got, n > 0 ? 0 : 10000, &err);
        CHECK(n > 0 || n == SSX_AGAIN);
    }
    CHECK(ssx_run_read(run, SSX_STDOUT, back, 1, -1, &err) == 0 && !memcmp(sent, back, SIZE));
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_write_end(run); /* too late, harmless */
    CHECK(ssx_run_write(run, "x", 1, 0, &err) == -1 && err.code == SSX_ERROR_USAGE);
    ssx_run_free(run);
    free(sent);
    free(back);
    ssx_session_close(s);
}

/* A worker that doesn't read is given no more than its window, and writing waits no longer than asked. */
static void input_is_bounded(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    static const char block[100000];
    size_t given = 0;
    o.input = true;
    struct ssx_run *run = run_json(s, "sleep", "{\"ms\":60000}", &o);
    for (ssize_t n; (n = ssx_run_write(run, block, sizeof block, 300, &err)) != SSX_AGAIN; given += (size_t)n)
        CHECK(n > 0 && given < (16u << 20));
    CHECK(given >= sizeof block);
    ssx_run_free(run);
    run = run_json(s, "sleep", "{\"ms\":10}", NULL);
    CHECK(ssx_run_write(run, block, 1, 0, &err) == -1 && err.code == SSX_ERROR_USAGE);
    ssx_run_free(run);
    ssx_session_close(s);
}

const struct api_case stream_cases[] = {
    {"output_is_called_back", output_is_called_back},
    {"items_log_and_progress_are_called_back", items_log_and_progress_are_called_back},
    {"a_state_comes_back", a_state_comes_back},
    {"output_is_pulled", output_is_pulled},
    {"items_are_pulled", items_are_pulled},
    {"what_nobody_asked_for_holds_nothing_up", what_nobody_asked_for_holds_nothing_up},
    {"input_travels_and_comes_back", input_travels_and_comes_back},
    {"input_is_bounded", input_is_bounded},
    {NULL, NULL},
};
