/* Who may log in where: eight at a door, the others in line, and nobody forgotten. */
#include "fleet/pacing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void the_ninth_at_a_door_waits_for_the_first_who_leaves(void **state)
{
    (void)state;
    struct pacing *p = pacing_new();
    struct pass passes[PACING_DOOR + 2] = {0}, elsewhere = {0};
    for (int i = 0; i < PACING_DOOR; i++)
        assert_int_equal(pacing_enter(p, &passes[i], "a:22", ""), 1);
    assert_int_equal(pacing_enter(p, &passes[PACING_DOOR], "a:22", ""), 0);
    assert_int_equal(pacing_enter(p, &passes[PACING_DOOR + 1], "a:22", ""), 0);
    assert_int_equal(pacing_enter(p, &elsewhere, "b:22", ""), 1);
    assert_int_equal(pacing_enter(p, &passes[0], "a:22", ""), 1); /* it is inside already */
    assert_null(pacing_leave(p, &elsewhere));
    assert_ptr_equal(pacing_leave(p, &passes[3]), &passes[PACING_DOOR]);
    assert_null(pacing_leave(p, NULL));
    assert_true(passes[PACING_DOOR].held);
    assert_ptr_equal(pacing_leave(p, &passes[PACING_DOOR]), &passes[PACING_DOOR + 1]);
    pacing_free(p);
}

static void all_who_go_by_one_bastion_share_its_door(void **state)
{
    (void)state;
    struct pacing *p = pacing_new();
    struct pass passes[PACING_DOOR + 1] = {0};
    for (int i = 0; i <= PACING_DOOR; i++) {
        char place[] = "node0:22";
        place[4] = (char)('0' + i);
        assert_int_equal(pacing_enter(p, &passes[i], place, "bastion"), i < PACING_DOOR);
    }
    assert_ptr_equal(pacing_leave(p, &passes[0]), &passes[PACING_DOOR]);
    pacing_free(p);
}

static void who_leaves_the_line_is_not_called(void **state)
{
    (void)state;
    struct pacing *p = pacing_new();
    struct pass passes[PACING_DOOR + 2] = {0};
    for (int i = 0; i < PACING_DOOR + 2; i++)
        pacing_enter(p, &passes[i], "a:22", "");
    assert_null(pacing_leave(p, &passes[PACING_DOOR]));
    assert_ptr_equal(pacing_leave(p, &passes[0]), &passes[PACING_DOOR + 1]);
    assert_null(pacing_leave(p, &passes[1]));
    pacing_free(p);
}

static void whom_the_second_door_holds_up_keeps_nobody_out_of_the_first(void **state)
{
    (void)state;
    struct pacing *p = pacing_new();
    struct pass at_bastion[PACING_DOOR] = {0}, both = {0}, passes[PACING_DOOR] = {0};
    for (int i = 0; i < PACING_DOOR; i++)
        pacing_enter(p, &at_bastion[i], "b:22", "bastion");
    assert_int_equal(pacing_enter(p, &both, "a:22", "bastion"), 0);
    for (int i = 0; i < PACING_DOOR; i++)
        assert_int_equal(pacing_enter(p, &passes[i], "a:22", ""), 1);
    assert_null(pacing_leave(p, &at_bastion[0])); /* its own door is full by now: it waits there */
    assert_ptr_equal(pacing_leave(p, &passes[0]), &both);
    pacing_free(p);
}

static void pauses_grow_and_differ(void **state)
{
    (void)state;
    int first = 0, late = 0, same = 0;
    for (int i = 0; i < 200; i++) {
        int ms = pacing_delay_ms(0), other = pacing_delay_ms(0);
        assert_in_range(ms, 50, 150);
        assert_in_range(pacing_delay_ms(50), 800, 2400);
        first += ms;
        late += pacing_delay_ms(3);
        same += ms == other;
    }
    assert_true(late > 4 * first);
    assert_true(same < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ninth_at_a_door_waits_for_the_first_who_leaves),
        cmocka_unit_test(all_who_go_by_one_bastion_share_its_door),
        cmocka_unit_test(who_leaves_the_line_is_not_called),
        cmocka_unit_test(whom_the_second_door_holds_up_keeps_nobody_out_of_the_first),
        cmocka_unit_test(pauses_grow_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
