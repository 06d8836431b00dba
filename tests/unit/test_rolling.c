/* Batches, and where they stop. */
#include "fleet/rolling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct rolling make(size_t count, const char *serial, const char *max_fail, size_t canary)
{
    struct rolling_options o = {.canary = canary};
    struct rolling r;
    assert_true(!serial || amount_parse(&o.serial, "--serial", serial, 1, NULL) == 0);
    assert_true(!max_fail || amount_parse(&o.max_fail, "--max-fail", max_fail, 0, NULL) == 0);
    rolling_init(&r, count, &o);
    return r;
}

static void end(struct rolling *r, size_t n, enum ssx_outcome outcome)
{
    while (n--)
        rolling_ended(r, outcome);
}

static void all_at_once(void **state)
{
    (void)state;
    struct rolling r = make(7, NULL, NULL, 0);
    assert_int_equal(rolling_next(&r), 7);
    end(&r, 7, SSX_OUTCOME_FAILED);
    assert_int_equal(rolling_next(&r), 0);
    assert_false(rolling_stopped(&r));
}

static void batches_after_a_canary(void **state)
{
    (void)state;
    static const size_t wanted[] = {1, 3, 3, 3, 3, 3, 3, 2, 0};
    struct rolling r = make(21, "11%", NULL, 1); /* 2.31 hosts: a part of one is one */
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_int_equal(rolling_next(&r), wanted[i]);
        end(&r, wanted[i], i ? SSX_OUTCOME_FAILED : SSX_OUTCOME_OK);
    }
    assert_false(rolling_stopped(&r));
}

static void a_canary_must_be_ok(void **state)
{
    (void)state;
    struct rolling r = make(10, "5", NULL, 2);
    assert_int_equal(rolling_next(&r), 2);
    end(&r, 1, SSX_OUTCOME_OK);
    assert_false(rolling_stopped(&r));
    end(&r, 1, SSX_OUTCOME_UNREACHABLE);
    assert_true(rolling_stopped(&r));
    assert_int_equal(rolling_next(&r), 0);
}

static void unreachable_hosts_do_not_count_as_failed(void **state)
{
    (void)state;
    char why[128];
    struct rolling r = make(39, "10", "5%", 0); /* 1.95: one may */
    assert_int_equal(rolling_next(&r), 10);
    end(&r, 9, SSX_OUTCOME_UNREACHABLE);
    end(&r, 1, SSX_OUTCOME_LOST);
    assert_int_equal(rolling_next(&r), 10);
    end(&r, 1, SSX_OUTCOME_TIMEOUT);
    assert_true(rolling_stopped(&r));
    assert_string_equal(rolling_reason(why, sizeof why, &r), "2 failed, and no more than 1 may");
    assert_int_equal(rolling_next(&r), 0);
}

static void what_is_no_amount(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "%", "-1", "+1", "1.5", "5 ", "101%", "0", "99999999999999999999999", "5%%", " 5", "0x5"};
    struct amount a;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(amount_parse(&a, "--serial", bad[i], 1, NULL), -1);
    assert_int_equal(amount_parse(&a, "--max-fail", "0", 0, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(batches_after_a_canary),
        cmocka_unit_test(a_canary_must_be_ok),
        cmocka_unit_test(unreachable_hosts_do_not_count_as_failed),
        cmocka_unit_test(what_is_no_amount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
