/* Outputs that are the same end in one group, whatever pieces they came in and wherever they were kept meanwhile. */
#include "base/buf.h"
#include "base/io.h"
#include "fleet/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct gather *make(size_t hosts, size_t memory)
{
    struct gather *g;
    assert_int_equal(gather_new(&g, hosts, memory, NULL), 0);
    return g;
}

static void say(struct gather *g, size_t host, const char *text) { assert_int_equal(gather_add(g, host, text, strlen(text), NULL), 0); }

static int add(void *ctx, const void *bytes, size_t n) { return buf_add(ctx, bytes, n); }

static void assert_output(struct gather *g, size_t group, const void *wanted, size_t n)
{
    struct buf out = {0};
    assert_int_equal(gather_output(g, group, add, &out, NULL), 0);
    assert_int_equal(buf_length(&out), n);
    assert_true(n == 0 || memcmp(buf_data(&out), wanted, n) == 0);
    buf_free(&out);
}

static void hosts_that_said_the_same_are_one_group_the_largest_first(void **state)
{
    (void)state;
    const struct gather_group *groups;
    size_t count;
    struct gather *g = make(6, GATHER_MEMORY);
    say(g, 0, "odd\n");
    for (size_t i = 1; i < 4; i++) {
        say(g, i, "ev");
        say(g, i, "en\n");
    }
    for (size_t i = 0; i < 5; i++) /* 4 said nothing, 5 never ends */
        assert_int_equal(gather_end(g, i, NULL), 0);
    say(g, 5, "even\n");
    assert_int_equal(gather_groups(g, &groups, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(groups[0].count, 3);
    assert_int_equal(groups[0].hosts[0], 1);
    assert_int_equal(groups[0].hosts[2], 3);
    assert_int_equal(groups[0].size, 5);
    assert_output(g, 0, "even\n", 5);
    assert_output(g, 1, "odd\n", 4);
    assert_int_equal(groups[2].hosts[0], 4);
    assert_output(g, 2, "", 0);
    assert_int_equal(gather_end(g, 5, NULL), 0); /* late, and still welcome */
    assert_int_equal(gather_groups(g, &groups, &count, NULL), 0);
    assert_int_equal(groups[0].count, 4);
    gather_free(g);
}

static void outputs_beyond_the_memory_come_back_whole(void **state)
{
    (void)state;
    enum { HOSTS = 40, PIECES = 300 };
    const struct gather_group *groups;
    size_t count;
    struct gather *g = make(HOSTS, 4096);
    struct buf wanted[2] = {0};
    for (int piece = 0; piece < PIECES; piece++)
        for (size_t host = 0; host < HOSTS; host++) {
            char text[64];
            snprintf(text, sizeof text, "%d of the %s kind\n", piece, host % 4 ? "usual" : "other");
            say(g, host, text);
            if (host < 2)
                buf_add_text(&wanted[host], text);
        }
    for (size_t host = 0; host < HOSTS; host++)
        assert_int_equal(gather_end(g, host, NULL), 0);
    assert_int_equal(gather_groups(g, &groups, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_int_equal(groups[0].count, HOSTS * 3 / 4);
    assert_output(g, 0, buf_data(&wanted[1]), buf_length(&wanted[1]));
    assert_output(g, 1, buf_data(&wanted[0]), buf_length(&wanted[0]));
    buf_free(&wanted[0]);
    buf_free(&wanted[1]);
    gather_free(g);
}

static void ten_thousand_different_outputs_take_no_time(void **state)
{
    (void)state;
    enum { HOSTS = 10000 };
    const struct gather_group *groups;
    size_t count;
    struct gather *g = make(HOSTS, GATHER_MEMORY);
    int64_t began = clock_ms();
    for (size_t host = 0; host < HOSTS; host++) {
        char text[32];
        snprintf(text, sizeof text, "I am number %zu\n", host);
        say(g, host, text);
        assert_int_equal(gather_end(g, host, NULL), 0);
    }
    assert_int_equal(gather_groups(g, &groups, &count, NULL), 0);
    assert_int_equal(count, HOSTS);
    assert_int_equal(groups[7].hosts[0], 7);
    assert_true(clock_ms() - began < 1000);
    gather_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_that_said_the_same_are_one_group_the_largest_first),
        cmocka_unit_test(outputs_beyond_the_memory_come_back_whole),
        cmocka_unit_test(ten_thousand_different_outputs_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
