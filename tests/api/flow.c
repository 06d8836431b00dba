/* Flow control for each run: one that is not read neither stalls its siblings nor fills memory. */
#include "api.h"

#define ROOM_KIB 12288 /* a window, libssh's own buffers and what malloc keeps; far below what the floods would send */

static void siblings_go_on(struct ssx_session *s, int count)
{
    for (int i = 0; i < count; i++) {
        struct ssx_run *run = run_json(s, "echo", "{\"value\":\"sibling\"}", NULL);
        await(run);
        CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
        ssx_run_free(run);
    }
}

static void a_flood_that_is_not_read(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    static char piece[65536];
    size_t got = 0;
    o.pull = SSX_PULL_STDOUT;
    siblings_go_on(s, 5);
    long before = rss_kib();
    struct ssx_run *run = run_json(s, "flood", "{\"bytes\":300000000}", &o);
    siblings_go_on(s, 50);
    CHECK(rss_kib() - before < ROOM_KIB && ssx_run_outcome(run) == -1);
    for (ssize_t n; got < 20000000; got += (size_t)n) { /* credit comes as it is read: far more than a window arrives */
        n = ssx_run_read(run, SSX_STDOUT, piece, sizeof piece, 30000, &err);
        CHECK(n > 0);
    }
    siblings_go_on(s, 20);
    CHECK(rss_kib() - before < ROOM_KIB);
    ssx_run_free(run); /* with a window of unread bytes */
    siblings_go_on(s, 5);
    CHECK(ssx_session_running(s) == 0);
    ssx_session_close(s);
}

/* Items larger than the window: of those that wait, only the first may be. */
static void large_items_that_are_not_read(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    const void *item;
    size_t n;
    int count = 0, rc;
    o.pull = SSX_PULL_ITEMS;
    siblings_go_on(s, 5);
    long before = rss_kib();
    struct ssx_run *run = run_json(s, "items", "{\"count\":40,\"size\":3000000}", &o);
    siblings_go_on(s, 100);
    CHECK(rss_kib() - before < ROOM_KIB && ssx_run_outcome(run) == -1);
    while ((rc = ssx_run_next_item(run, &item, &n, 30000, &err)) == 1) {
        CHECK(n > 3000000);
        count++;
    }
    CHECK(rc == 0 && count == 40 && ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(s);
}

/* A window full of items of a byte, until no more comes. */
static void small_items_that_are_not_read(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    const void *item;
    size_t n;
    int count = 0, rc;
    o.pull = SSX_PULL_ITEMS;
    siblings_go_on(s, 5);
    long before = rss_kib();
    struct ssx_run *run = run_json(s, "tiny_items", "{\"count\":1100000}", &o);
    for (long grown = -1; grown < rss_kib() - before;) {
        grown = rss_kib() - before;
        siblings_go_on(s, 200);
        CHECK(rss_kib() - before < ROOM_KIB && ssx_run_outcome(run) == -1);
    }
    while ((rc = ssx_run_next_item(run, &item, &n, 30000, &err)) == 1) {
        CHECK(n == 1);
        count++;
    }
    CHECK(rc == 0 && count == 1100000 && ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(s);
}

/* A cancel ends a run that nobody reads, and what had come stays to be read. */
static void a_cancel_needs_no_reader(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    static char piece[65536];
    o.pull = SSX_PULL_STDOUT;
    struct ssx_run *run = run_json(s, "flood", "{\"bytes\":300000000}", &o);
    CHECK(ssx_run_read(run, SSX_STDOUT, piece, 1, -1, &err) == 1); /* it has begun */
    siblings_go_on(s, 20);
    ssx_run_cancel(run);
    await(run);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_CANCELLED && ssx_run_read(run, SSX_STDOUT, piece, sizeof piece, 0, &err) > 0);
    ssx_run_free(run);
    ssx_session_close(s);
}

const struct api_case flow_cases[] = {
    {"a_flood_that_is_not_read", a_flood_that_is_not_read}, {"large_items_that_are_not_read", large_items_that_are_not_read},
    {"small_items_that_are_not_read", small_items_that_are_not_read}, {"a_cancel_needs_no_reader", a_cancel_needs_no_reader}, {NULL, NULL},
};
