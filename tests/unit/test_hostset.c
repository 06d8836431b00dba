/* Host sets: what expressions stand for, how sets fold, what each operator does, where the limits are, and that no
 * damaged text does harm. */
#include "base/buf.h"
#include "fleet/hostset_parse.h"
#include "random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct host_scope hosts_only = {0};

static int add_name(void *ctx, const char *name, size_t n)
{
    struct buf *out = ctx;
    buf_printf(out, "%s%.*s", buf_length(out) ? " " : "", (int)n, name);
    return 0;
}

static struct hostset *parse(const char *text, struct ssx_error *err)
{
    struct hostset *s = hostset_new();
    assert_non_null(s);
    if (hostset_parse(s, text, strlen(text), &hosts_only, err) == 0)
        return s;
    assert_true(!err || err->code);
    hostset_free(s);
    return NULL;
}

/* The names with blanks between them, or the complaint. */
static const char *expand(const char *text)
{
    static char line[8192];
    struct ssx_error err = {0};
    struct buf names = {0};
    struct hostset *s = parse(text, &err);
    if (!s)
        return snprintf(line, sizeof line, "%s", err.text), line;
    assert_int_equal(hostset_each(s, add_name, &names, &err), 0);
    snprintf(line, sizeof line, "%.*s", (int)buf_length(&names), buf_length(&names) ? (const char *)buf_data(&names) : "");
    buf_free(&names);
    hostset_free(s);
    return line;
}

static const char *fold(const char *text)
{
    static char line[8192];
    struct ssx_error err = {0};
    struct buf folded = {0};
    struct hostset *s = parse(text, &err);
    if (!s)
        return snprintf(line, sizeof line, "%s", err.text), line;
    assert_int_equal(hostset_fold(s, &folded, &err), 0);
    snprintf(line, sizeof line, "%.*s", (int)buf_length(&folded), buf_length(&folded) ? (const char *)buf_data(&folded) : "");
    buf_free(&folded);
    hostset_free(s);
    return line;
}

static void check(const char *const rows[][2], size_t n, const char *(*what)(const char *))
{
    for (size_t i = 0; i < n; i++)
        assert_string_equal(what(rows[i][0]), rows[i][1]);
}
#define CHECK(rows, what) check(rows, sizeof rows / sizeof *rows, what)

static void expressions_stand_for_names(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"web", "web"},
        {"node[1-3,7]", "node1 node2 node3 node7"},
        {"node[01-03]", "node01 node02 node03"},
        {"node[1-9/3,20]", "node1 node4 node7 node20"},
        {"node[1-2]-ib0", "node1-ib0 node2-ib0"},
        {"r[1-2]n[08-09]", "r1n08 r1n09 r2n08 r2n09"},
        {"[1-2]", "1 2"},
        {"n1[2-3]4", "n124 n134"},
        {"n[8-11]0", "n80 n90 n100 n110"},
        {"ada@node[1-2]:22", "ada@node1:22 ada@node2:22"},
        {"a , b[ 1 - 2 ]", "a b1 b2"},
        {"50%[1-2]%s", "50%1%s 50%2%s"},
        {"n[-2-1]", "n-2 n-1 n0 n1"},
        {"é[1-2]", "é1 é2"},
        {"x123456789012345678901234567890", "x123456789012345678901234567890"},
        {"a1b2c3d4e5f6g7h8i9j10k11l12m13n14o15p16q17r18", "a1b2c3d4e5f6g7h8i9j10k11l12m13n14o15p16q17r18"},
    };
    CHECK(rows, expand);
}

static void numbers_keep_their_zeros(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"n[1,01,001]", "n[1,01,001]"},
        {"n[1-12]", "n[1-12]"},
        {"n[08-11]", "n[08-11]"},
        {"n[8,9,10,08,09]", "n[8-9,08-10]"},
        {"n[01-09],n[10-12],n[100]", "n[01-12,100]"},
        {"n[01,95-102]", "n[01,95-99,100-102]"},
        {"n[95-102]", "n[95-102]"},
        {"n[0-2],n00", "n[0-2,00]"},
        {"n1[08-11]", "n[108-111]"},
    };
    CHECK(rows, fold);
}

static void sets_fold_to_the_fewest_words(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"n3,n1,n2,n1", "n[1-3]"},
        {"n1,n3", "n[1,3]"},
        {"b,a2,a1", "a[1-2],b"},
        {"n[1-9/2]", "n[1,3,5,7,9]"},
        {"r1n1,r1n2,r2n1,r2n2", "r[1-2]n[1-2]"},
        {"r1n1,r1n2,r2n2", "r1n[1-2],r2n2"},
        {"r1n1,r2n2,r3n1", "r[1,3]n1,r2n2"},
        {"10.0.0.[1-3],10.0.0.7", "10.0.0.[1-3,7]"},
        {"r[1-2]n[1-3],r3n[1-3],x", "r[1-3]n[1-3],x"},
        {"a[1-2]b[1-2]c[1-2]!a2b2c2", "a1b[1-2]c[1-2],a2b1c[1-2],a2b2c1"},
    };
    CHECK(rows, fold);
}

static void operators_go_from_left_to_right(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"n[1-5],n[4-8]", "n[1-8]"},
        {"n[1-5]!n3", "n[1-2,4-5]"},
        {"n[1-5]!n3!n4!n[9-10]", "n[1-2,5]"},
        {"n[1-5]&n[4-8]", "n[4-5]"},
        {"n[1-5]^n[4-8]", "n[1-3,6-8]"},
        {"n[1-5]!n3,n3", "n[1-5]"},
        {"n1,n2&n2,n3", "n[2-3]"},
        {"n[1-3]!n03", "n[1-3]"},
        {"a,b,c!b", "a,c"},
        {"a,b&b", "b"},
        {"a,b^b,c", "a,c"},
        {"a^b", "a,b"},
        {"r[1-3]n[1-3]!r2n2", "r[1,3]n[1-3],r2n[1,3]"},
        {"r[1-3]n[1-3]&r2n[2-5]", "r2n[2-3]"},
        {"r1n[1-2]^r1n[2-3]", "r1n[1,3]"},
        {"a!a", ""},
        {"a[1-2]&b[1-2]", ""},
    };
    CHECK(rows, fold);
}

static void addresses_are_names(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[::1]:22", "[::1]:22"},
        {"[::1]:[22-23]", "[::1]:[22-23]"},
        {"ada@[fe80::1%eth0.7]:22", "ada@[fe80::1%eth0.7]:22"},
        {"::1,::2", "::[1-2]"},
        {"2001:db8::[a-b]", "at character 12 (\"a-b]\"): that is no number"},
        {"[2001:db8::1],[2001:db8::2]", "[2001:db8::1],[2001:db8::2]"},
        {"[::1]:22!node[1-2]", "[::1]:22"},
        {"node[1:3]", "at character 5 (\"[1:3]\"): an address begins a name"},
        {"[::g]", "at character 4 (\"g]\"): that is no IPv6 address"},
        {"[::1][::2]", "at character 6 (\"[::2]\"): an address begins a name"},
    };
    CHECK(rows, fold);
}

static void complaints_name_the_place(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"node[1-3", "at character 5 (\"[1-3\"): this [ is not closed"},
        {"node1]", "at character 6 (\"]\"): a ] without its ["},
        {"a,,b", "at character 3 (\",b\"): an operand is missing"},
        {"a!", "at the end: an operand is missing"},
        {"", "at the end: an operand is missing"},
        {"  ", "at the end: an operand is missing"},
        {"a b", "at character 2 (\" b\"): a blank in a name (a comma goes between names)"},
        {"n[5-1]", "at character 3 (\"5-1]\"): a range that goes down"},
        {"n[1,01-100]", "at character 5 (\"01-100]\"): the ends of a range with zeros in front have to be of one length"},
        {"n[1-5/0]", "at character 3 (\"1-5/0]\"): a step is a number from 1 on"},
        {"n[1-2-3]", "at character 6 (\"-3]\"): that is no range"},
        {"n[]", "at character 3 (\"]\"): a number is missing"},
        {"n[1-2][3-4]", "at character 7 (\"[3-4]\"): brackets can't touch, nor with digits alone between them"},
        {"n[1-3/2]0", "at character 3 (\"1-3/2]0\"): a range with a step can't have digits right behind its brackets"},
        {"n[-1]0", "at character 3 (\"-1]0\"): a negative number can't have digits beside its brackets"},
        {"-oProxyCommand=x", "at character 1 (\"-oProxyCommand=x\"): a name can't begin with -"},
        {"a\x1b[2J", "at character 2 (\"\\x1b[2J\"): a control character in a name"},
        {"@web", "at character 1 (\"@web\"): @web: there are no groups here"},
        {"a,^file", "at character 3 (\"^file\"): an operand is missing"},
    };
    CHECK(rows, fold);
}

static void sets_have_an_end(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"n[1-9999999999]", "at character 3 (\"1-9999999999]\"): a range of more than 4000000 numbers"},
        {"n[1-99999999999999999]", "at character 3 (\"1-99999999999999999]\"): a range of more than 4000000 numbers"},
        {"n[1-999999999999999999]", "at character 5 (\"999999999999999999]\"): a number of more than 17 digits"},
        {"n[99999999999999999]9", "at character 3 (\"99999999999999999]9\"): a number of more than 17 digits"},
        {"n[1-3000000],m[1-3000000]", "that makes more than 4000000 names"},
        {"n[1-3000000],m[1-3000000],o[1-3000000]",
         "at character 27 (\"o[1-3000000]\"): that makes more than 4000000 names"},
        {"r[1-2001]n[1-2000]", "at character 1 (\"r[1-2001]n[1-2000]\"): that makes more than 4000000 names"},
        {"a[1-4000]b[1-4000]c[1-4000]d[1-4000]e[1-4000]f[1-4000]",
         "at character 1 (\"a[1-4000]b[1-4000]c[1-40...\"): that makes more than 4000000 names"},
        {"a[1]b[1]c[1]d[1]e[1]f[1]g[1]h[1]i[1]j[1]k[1]l[1]m[1]n[1]o[1]p[1]q[1]",
         "at character 1 (\"a[1]b[1]c[1]d[1]e[1]f[1]...\"): a name with more than 16 numbers"},
    };
    CHECK(rows, fold);
    struct hostset *s = parse("n[1-4000000],n[1-4000000],n[5-3000000]", NULL); /* the same ones again are no more names */
    assert_non_null(s);
    assert_int_equal(hostset_count(s), 4000000);
    hostset_free(s);
}

static void the_widest_numbers_are_kept(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"n[99999999999999998-99999999999999999]", "n[99999999999999998-99999999999999999]"},
        {"n[00000000000000001,1]", "n[1,00000000000000001]"},
        {"n[9-11]", "n[9-11]"},
    };
    CHECK(rows, fold);
}

/* Points in a square of `side`, each there with the chance of one in `one_in`; folded, expanded again, compared. */
static void fold_random(uint64_t *seed, uint64_t side, uint64_t one_in)
{
    struct buf text = {0}, folded = {0}, again = {0};
    struct ssx_error err = {0};
    struct hostset *s = hostset_new();
    size_t n = 0;
    for (uint64_t x = 0; x < side; x++)
        for (uint64_t y = 0; y < side; y++)
            if (random_below(seed, one_in) == 0) {
                char name[64];
                int length = snprintf(name, sizeof name, "r%llun%02llu", (unsigned long long)x, (unsigned long long)y);
                assert_int_equal(hostset_add_name(s, name, (size_t)length, &err), 0);
                n++;
            }
    assert_int_equal(hostset_count(s), n);
    assert_int_equal(hostset_fold(s, &folded, &err), 0);
    hostset_free(s);
    buf_add(&folded, "", 1);
    s = n ? parse((const char *)buf_data(&folded), &err) : NULL;
    if (n) {
        assert_non_null(s);
        assert_int_equal(hostset_count(s), n);
        assert_int_equal(hostset_fold(s, &again, &err), 0);
        buf_add(&again, "", 1);
        assert_string_equal((const char *)buf_data(&again), (const char *)buf_data(&folded));
    }
    hostset_free(s);
    buf_free(&text);
    buf_free(&folded);
    buf_free(&again);
}

static void what_is_folded_is_the_same_set(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int round = 0; round < 300; round++)
        fold_random(&seed, 1 + random_below(&seed, 14), 1 + random_below(&seed, 6));
}

/* A number below zero prints like another name: n[-5] like n-5. */
static bool has_negative(const unsigned char *text, size_t n)
{
    unsigned char before = ',';
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '-' && strchr("[,-", before))
            return true;
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            before = text[i];
    }
    return false;
}

static int add_again(void *ctx, const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_true((unsigned char)name[i] > ' ' && name[i] != 127);
    assert_int_equal(hostset_add_name(ctx, name, n, NULL), 0);
    return 0;
}

/* A set's names make the same set, and so does its folded form. */
static void check_round_trip(struct hostset *s)
{
    struct buf folded = {0}, again = {0};
    struct hostset *names = hostset_new();
    assert_int_equal(hostset_fold(s, &folded, NULL), 0);
    assert_int_equal(hostset_each(s, add_again, names, NULL), 0);
    assert_int_equal(hostset_count(names), hostset_count(s));
    assert_int_equal(hostset_fold(names, &again, NULL), 0);
    assert_int_equal(buf_length(&again), buf_length(&folded));
    if (buf_length(&folded)) {
        assert_memory_equal(buf_data(&again), buf_data(&folded), buf_length(&folded));
        hostset_free(names);
        names = hostset_new();
        assert_int_equal(hostset_parse(names, (const char *)buf_data(&folded), buf_length(&folded), &hosts_only, NULL), 0);
        assert_int_equal(hostset_count(names), hostset_count(s));
    }
    buf_free(&folded);
    buf_free(&again);
    hostset_free(names);
}

static void damaged_expressions_are_read_or_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "node[01-10,12]!node03&node[1-9/2,20]-ib0",
        "r[1-4]n[08-11]^r2n[1-3],a1b2c3",
        "ada@web[1-3]:22,[fe80::1%eth0]:22,::[1-3]",
        "n1[2-3]4 , x[ 1 - 5 / 2 ]!x3!x5",
    };
    uint64_t seed = 11;
    for (int round = 0; round < 20000; round++) {
        struct buf text = {0};
        struct ssx_error err = {0};
        struct hostset *s = hostset_new();
        buf_add_text(&text, texts[round % 4]);
        for (uint64_t i = random_below(&seed, 4); i-- > 0;)
            random_mutation(&text, &seed);
        int rc = hostset_parse(s, (const char *)buf_data(&text), buf_length(&text), &hosts_only, &err);
        assert_int_equal(rc != 0, err.text[0] != 0);
        if (rc == 0 && !has_negative(buf_data(&text), buf_length(&text)) && hostset_count(s) < 2000)
            check_round_trip(s);
        hostset_free(s);
        buf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_stand_for_names),
        cmocka_unit_test(numbers_keep_their_zeros),
        cmocka_unit_test(sets_fold_to_the_fewest_words),
        cmocka_unit_test(operators_go_from_left_to_right),
        cmocka_unit_test(addresses_are_names),
        cmocka_unit_test(complaints_name_the_place),
        cmocka_unit_test(sets_have_an_end),
        cmocka_unit_test(the_widest_numbers_are_kept),
        cmocka_unit_test(what_is_folded_is_the_same_set),
        cmocka_unit_test(damaged_expressions_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
