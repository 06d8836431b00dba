/* Items dealt over hosts: the order, what is given back and how often, and the states that are made of them. */
#include "fleet/deal.h"
#include "fleet/items.h"
#include "wire/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct deal *make(size_t count, bool idempotent)
{
    struct deal *d = NULL;
    assert_int_equal(deal_new(&d, count, 8, idempotent, NULL), 0);
    return d;
}

static size_t next(struct deal *d)
{
    size_t item = 1000;
    assert_true(deal_next(d, &item));
    return item;
}

static void assert_count(const struct deal *d, size_t waiting, size_t out, size_t ended)
{
    struct deal_count c = deal_count(d);
    assert_int_equal(c.waiting, waiting);
    assert_int_equal(c.out, out);
    assert_int_equal(c.ended, ended);
}

static void each_is_dealt_once_in_order(void **state)
{
    (void)state;
    size_t item;
    struct deal *d = make(3, true);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(next(d), i);
    assert_false(deal_next(d, &item));
    assert_count(d, 0, 3, 0);
    for (size_t i = 0; i < 3; i++)
        deal_end(d, i);
    assert_count(d, 0, 0, 3);
    assert_true(deal_has_ended(d, 1));
    deal_free(d);
}

static void what_is_given_back_comes_first(void **state)
{
    (void)state;
    struct deal *d = make(5, true);
    next(d), next(d), next(d);
    deal_return(d, 2, SSX_OUTCOME_LOST);
    deal_return(d, 0, SSX_OUTCOME_UNREACHABLE);
    assert_count(d, 4, 1, 0);
    assert_int_equal(next(d), 0);
    assert_int_equal(next(d), 2);
    assert_int_equal(next(d), 3);
    assert_int_equal(deal_failed_under(d, 0), 0);
    assert_int_equal(deal_failed_under(d, 2), 1);
    deal_free(d);
}

static void one_that_may_have_run_goes_back_only_where_that_does_no_harm(void **state)
{
    (void)state;
    struct deal *may = make(1, true), *may_not = make(1, false);
    next(may), next(may_not);
    assert_true(deal_may_return(may, 0, SSX_OUTCOME_LOST));
    assert_false(deal_may_return(may_not, 0, SSX_OUTCOME_LOST));
    assert_true(deal_may_return(may_not, 0, SSX_OUTCOME_UNREACHABLE));
    assert_true(deal_may_return(may_not, 0, SSX_OUTCOME_REFUSED));
    for (enum ssx_outcome o = SSX_OUTCOME_OK; o <= SSX_OUTCOME_CANCELLED; o++)
        assert_false(deal_may_return(may, 0, o));
    deal_free(may);
    deal_free(may_not);
}

static void one_that_kills_every_host_takes_down_three(void **state)
{
    (void)state;
    struct deal *d = make(1, true);
    for (int host = 0; host < DEAL_HOSTS_MAX; host++) {
        assert_int_equal(next(d), 0);
        assert_int_equal(deal_may_return(d, 0, SSX_OUTCOME_LOST), host + 1 < DEAL_HOSTS_MAX);
        if (host + 1 < DEAL_HOSTS_MAX)
            deal_return(d, 0, SSX_OUTCOME_LOST);
    }
    assert_true(deal_may_return(d, 0, SSX_OUTCOME_UNREACHABLE)); /* it was not sent: no fault of the item's */
    deal_end(d, 0);
    assert_count(d, 0, 0, 1);
    deal_free(d);
}

static void none_at_all(void **state)
{
    (void)state;
    size_t item;
    struct deal *d = make(0, true);
    assert_false(deal_next(d, &item));
    assert_count(d, 0, 0, 0);
    deal_free(d);
}

/* --- states --- */

static void pack(struct buf *out, const char *json) { assert_int_equal(json_to_msgpack(out, json, strlen(json), NULL), 0); }

static void assert_state(const struct items *items, size_t item, const char *host, const char *wanted)
{
    struct buf state = {0}, out = {0}, text = {0};
    pack(&state, host);
    assert_int_equal(items_state(&out, items, item, buf_data(&state), buf_length(&state), NULL), 0);
    assert_int_equal(json_from_msgpack(&text, buf_data(&out), buf_length(&out), NULL), 0);
    assert_int_equal(buf_add(&text, "", 1), 0);
    assert_string_equal((char *)buf_data(&text), wanted);
    buf_free(&state);
    buf_free(&out);
    buf_free(&text);
}

static void an_items_fields_replace_those_of_the_host(void **state)
{
    (void)state;
    static const char *const each[] = {"{\"a\":1}", "{\"b\":[2,3],\"c\":{\"d\":null}}", "{}"};
    struct items items = {0};
    for (size_t i = 0; i < 3; i++) {
        struct buf fields = {0};
        pack(&fields, each[i]);
        assert_int_equal(items_add(&items, buf_data(&fields), buf_length(&fields), NULL), 0);
        buf_free(&fields);
    }
    assert_state(&items, 0, "{}", "{\"a\":1}");
    assert_state(&items, 0, "{\"a\":\"old\",\"z\":{\"a\":9}}", "{\"z\":{\"a\":9},\"a\":1}");
    assert_state(&items, 1, "{\"a\":5,\"b\":6}", "{\"a\":5,\"b\":[2,3],\"c\":{\"d\":null}}");
    assert_state(&items, 2, "{\"a\":5}", "{\"a\":5}");
    items_free(&items);
}

static void what_is_no_map_is_no_item(void **state)
{
    (void)state;
    struct items items = {0};
    struct ssx_error err = {0};
    struct buf out = {0};
    assert_int_equal(items_add(&items, "\x01", 1, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    assert_non_null(strstr(err.text, "item 0"));
    assert_int_equal(items_add(&items, "\x81\xa1" "a", 3, &err), -1); /* its value is missing */
    assert_int_equal(items_add(&items, "\x80", 1, &err), 0);
    assert_int_equal(items_state(&out, &items, 0, "\x05", 1, &err), -1);
    buf_free(&out);
    items_free(&items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_dealt_once_in_order),
        cmocka_unit_test(what_is_given_back_comes_first),
        cmocka_unit_test(one_that_may_have_run_goes_back_only_where_that_does_no_harm),
        cmocka_unit_test(one_that_kills_every_host_takes_down_three),
        cmocka_unit_test(none_at_all),
        cmocka_unit_test(an_items_fields_replace_those_of_the_host),
        cmocka_unit_test(what_is_no_map_is_no_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
