/* Fields of hostile results become tables, groups and numbers; and a diff turns one text into the other. */
#include "base/line_diff.h"
#include "fleet/field.h"
#include "fleet/table.h"
#include "wire/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct buf value_of(const char *json)
{
    struct buf value = {0};
    assert_int_equal(json_to_msgpack(&value, json, strlen(json), NULL), 0);
    return value;
}

static void assert_field(const char *json, const char *path, const char *wanted)
{
    struct buf value = value_of(json), text = {0};
    const void *at = NULL;
    size_t n = 0;
    field_find(buf_data(&value), buf_length(&value), path, &at, &n);
    assert_int_equal(field_text(&text, at, n), 0);
    buf_add(&text, "", 1);
    assert_string_equal((char *)buf_data(&text), wanted);
    buf_free(&value);
    buf_free(&text);
}

static void fields_are_found_by_their_path(void **state)
{
    (void)state;
    const char *json =
        "{\"a\":{\"b\":7,\"c\":null},\"l\":[{\"x\":1.5},{\"x\":\"\\u001b[2J\"}],\"t\":\"\",\"y\":true,\"big\":18446744073709551615,\"m\":{}}";
    assert_field(json, "a.b", "7");
    assert_field(json, "a.c", "-");
    assert_field(json, "a.b.c", "-");
    assert_field(json, "nosuch", "-");
    assert_field(json, "", "-");
    assert_field(json, "l.0.x", "1.5");
    assert_field(json, "l.1.x", "\\x1b[2J");
    assert_field(json, "l.2.x", "-");
    assert_field(json, "l.-1", "-");
    assert_field(json, "l.0x", "-");
    assert_field(json, "t", "\"\"");
    assert_field(json, "y", "yes");
    assert_field(json, "big", "18446744073709551615");
    assert_field(json, "a", "{\"b\":7,\"c\":null}");
    assert_field(json, "m", "{}");
    assert_field("7", "a", "-");
}

static struct table *four(void)
{
    static const char *const paths[] = {"k", "n"};
    static const char *const values[] = {"{\"k\":\"6.1\",\"n\":5}", "{\"k\":\"5.10\",\"n\":100}",
                                         "{\"k\":\"6.1\",\"n\":-3}", "{\"n\":\"text\"}"};
    struct table *t;
    assert_int_equal(table_new(&t, paths, 2, 5, NULL), 0);
    for (size_t i = 0; i < 4; i++) { /* the fifth gives no result */
        struct buf value = value_of(values[i]);
        assert_int_equal(table_put(t, i, buf_data(&value), buf_length(&value)), 0);
        buf_free(&value);
    }
    return t;
}

static char *const names[] = {(char[]){"n1"}, (char[]){"n2"}, (char[]){"node3"}, (char[]){"n4"}, (char[]){"n5"}};

static void rows_are_aligned_and_sorted(void **state)
{
    (void)state;
    static const size_t columns[] = {1, 0};
    struct table *t = four();
    struct buf out = {0};
    assert_int_equal(table_add_rows(&out, t, names, columns, 2, (struct table_order){true, true, 1},
                                    (struct table_look){"", "", "host"}),
                     0);
    buf_add(&out, "", 1);
    assert_string_equal((char *)buf_data(&out), "host   n     k\nn4     text  -\nn2     100   5.10\nn1     5     6.1\nnode3  -3    6.1\n");
    buf_free(&out);
    assert_int_equal(table_add_rows(&out, t, names, columns + 1, 1, (struct table_order){true, false, 0},
                                    (struct table_look){"<", ">", "host"}),
                     0);
    buf_add(&out, "", 1);
    assert_string_equal((char *)buf_data(&out), "<host   k>\nn2     5.10\nn1     6.1\nnode3  6.1\nn4     -\n");
    buf_free(&out);
    table_free(t);
}

static void groups_and_numbers(void **state)
{
    (void)state;
    struct table *t = four();
    struct table_group *groups;
    struct table_number *numbers;
    size_t count, *hosts;
    bool integers;
    assert_int_equal(table_groups(t, 0, &groups, &count, &hosts), 0);
    assert_int_equal(count, 3);
    assert_true(groups[0].count == 2 && groups[0].hosts[0] == 0 && groups[0].hosts[1] == 2);
    assert_true(groups[2].n == 0 && groups[2].hosts[0] == 3);
    assert_int_equal(table_numbers(t, 1, &numbers, &count, &integers), 0);
    assert_true(integers && count == 3 && numbers[0].number == -3 && numbers[2].host == 1);
    free(groups);
    free(hosts);
    free(numbers);
    table_free(t);
}

/* --- diffs --- */

/* Applies hunks to a; what comes out. */
static void patch(struct buf *out, const struct buf *a, const struct buf *hunks)
{
    const char *old = (const char *)buf_data(a), *end = old + buf_length(a), *at = (const char *)buf_data(hunks);
    size_t line = 1, start, n;
    for (const char *next;
         at && (next = memchr(at, '\n', (size_t)((const char *)buf_data(hunks) + buf_length(hunks) - at)));
         at = next + 1) {
        if (*at == '@') {
            assert_int_equal(sscanf(at, "@@ -%zu,%zu", &start, &n), 2);
            for (start += n == 0; line < start; line++) {
                const char *newline = memchr(old, '\n', (size_t)(end - old));
                buf_add(out, old, (size_t)(newline + 1 - old));
                old = newline + 1;
            }
            continue;
        }
        if (*at != '+') {
            assert_memory_equal(at + 1, old, next - at - 1);
            old += next - at;
            line++;
        }
        if (*at != '-')
            buf_add(out, at + 1, (size_t)(next - at));
    }
    if (end > old)
        buf_add(out, old, (size_t)(end - old));
}

static void assert_patches(const struct buf *a, const struct buf *b)
{
    static const struct diff_look plain = {"", "", "", ""};
    struct buf hunks = {0}, patched = {0};
    assert_int_equal(diff_lines(&hunks, buf_data(a), buf_length(a), buf_data(b), buf_length(b), &plain), 0);
    buf_add(&hunks, "", 1); /* for sscanf */
    patch(&patched, a, &hunks);
    assert_int_equal(buf_length(&patched), buf_length(b));
    assert_true(!buf_length(b) || memcmp(buf_data(&patched), buf_data(b), buf_length(b)) == 0);
    buf_free(&hunks);
    buf_free(&patched);
}

static void a_diff_turns_one_text_into_the_other(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 2000; round++) {
        struct buf a = {0}, b = {0};
        int lines = rand() % 40, change = 1 + rand() % 10, words = 1 + rand() % 6;
        for (int i = 0; i < lines; i++) {
            int word = rand() % words;
            if (rand() % change)
                buf_printf(&a, "%d\n", word);
            if (rand() % change)
                buf_printf(&b, "%d\n", word);
        }
        assert_patches(&a, &b);
        buf_free(&a);
        buf_free(&b);
    }
}

static void texts_without_a_common_line_are_replaced(void **state)
{
    (void)state;
    struct buf a = {0}, b = {0};
    for (int i = 0; i < 3000; i++) {
        buf_printf(&a, "a%d\n", i);
        buf_printf(&b, "b%d\n", i);
    }
    assert_patches(&a, &b);
    buf_free(&a);
    buf_free(&b);
}

static void a_diff_looks_as_that_of_diff(void **state)
{
    (void)state;
    static const struct diff_look plain = {"", "", "", ""};
    struct buf out = {0};
    const char *a = "1\n2\n3\n4\n5\n6\n7\n8\n9\n", *b = "1\n2\n3\n4\n5\nsix\n7\n8\n9\n10";
    assert_int_equal(diff_lines(&out, a, strlen(a), b, strlen(b), &plain), 0);
    buf_add(&out, "", 1);
    assert_string_equal((char *)buf_data(&out), "@@ -3,7 +3,8 @@\n 3\n 4\n 5\n-6\n+six\n 7\n 8\n 9\n+10\n");
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_by_their_path),
        cmocka_unit_test(rows_are_aligned_and_sorted),
        cmocka_unit_test(groups_and_numbers),
        cmocka_unit_test(a_diff_turns_one_text_into_the_other),
        cmocka_unit_test(texts_without_a_common_line_are_replaced),
        cmocka_unit_test(a_diff_looks_as_that_of_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
