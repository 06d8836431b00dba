/* Answers of ssh -G that are derived: for hosts which the configuration treats alike, and for no others. */
#include "base/error.h"
#include "base/file.h"
#include "base/tree.h"
#include "transport/answer_class.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], config[PATH_MAX];

/* An ssh that is asked for one host after the other. */
static struct { int asked; const char *name; const char *extra; } ssh;

static int ask(void *ctx, struct buf *answer, struct buf *baseline, struct ssx_error *err)
{
    (void)ctx, (void)err;
    ssh.asked++;
    buf_printf(answer, "host %s\nuser ada\nhostname %s\nport 22\ncontrolpath /tmp/%s-22\n%s%s\n", ssh.name, ssh.name,
               ssh.name, ssh.extra, strstr(ssh.extra, "!") ? ssh.name : "");
    buf_printf(baseline, "host %s\nuser ada\nhostname %s\nport 22\n", ssh.name, ssh.name);
    return buf_add(answer, "", 1) || buf_add(baseline, "", 1) ? -1 : 0;
}

static void write_config(const char *text) { assert_int_equal(file_write_atomic(config, text, strlen(text), 0600, NULL), 0); }

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ssx-class-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(config, sizeof config, "%s/config", dir);
    ssh.asked = 0;
    ssh.extra = "";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return tree_remove(dir);
}

/* Gets the answer for a host, and checks that it is what ssh would have said. */
static void get(struct answer_classes *c, const char *word)
{
    struct words question = {0};
    struct buf answer = {0}, baseline = {0}, own = {0}, stock = {0};
    const char *at = strchr(word, '@');
    ssh.name = at ? at + 1 : word;
    for (const char *const *w = (const char *const[]){"ssh", "-G", "--", word, "exec /bin/sh", NULL}; *w; w++)
        words_add(&question, *w);
    assert_int_equal(answer_class_get(c, &question, 3, config, &answer, &baseline, ask, NULL, NULL), 0);
    ask(NULL, &own, &stock, NULL);
    ssh.asked--;
    assert_string_equal((const char *)buf_data(&answer), (const char *)buf_data(&own));
    assert_string_equal((const char *)buf_data(&baseline), (const char *)buf_data(&stock));
    buf_free(&answer), buf_free(&baseline), buf_free(&own), buf_free(&stock);
    words_free(&question);
}

static void get_many(struct answer_classes *c, const char *format, int count)
{
    for (int i = 1; i <= count; i++) {
        char name[64];
        snprintf(name, sizeof name, format, i);
        get(c, name);
    }
}

static void a_thousand_hosts_of_one_kind_take_two_questions(void **state)
{
    (void)state;
    struct answer_classes *c = answer_classes_new();
    write_config("Host *\n  User ada\n");
    get_many(c, "node%d", 1000);
    assert_int_equal(ssh.asked, 2);
    answer_classes_free(c);
}

static void hosts_that_patterns_tell_apart_are_asked_for_apart(void **state)
{
    (void)state;
    struct answer_classes *c = answer_classes_new();
    write_config("Host web* !web9\n  Port 2222\nHost *\n  User ada\n");
    get_many(c, "node%d", 20);
    get_many(c, "web%d", 8);
    assert_int_equal(ssh.asked, 4);
    get(c, "web9"); /* as the nodes */
    assert_int_equal(ssh.asked, 4);
    get(c, "bob@node1"); /* the user may be matched, too */
    assert_int_equal(ssh.asked, 5);
    answer_classes_free(c);
}

static void answers_that_hold_more_of_a_host_than_its_name_are_not_derived(void **state)
{
    (void)state;
    struct answer_classes *c = answer_classes_new();
    write_config("Host *\n  User ada\n");
    ssh.extra = "hash of !the name: x"; /* "...xnode1": as a hash would, it differs without being the name as a word */
    get_many(c, "node%d", 6);
    assert_int_equal(ssh.asked, 6);
    answer_classes_free(c);
}

static void what_is_not_understood_is_always_asked(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "Match host node1\n  User eve\n",
        "Match originalhost node*\n  User eve\n",
        "Match exec true\n  User eve\n",
        "Host \"node1\"\n  User eve\n",
        "Host=node1\n  User eve\n",
        "CanonicalizeHostname yes\n",
        "Include ${X}\n",
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct answer_classes *c = answer_classes_new();
        write_config(configs[i]);
        ssh.asked = 0;
        get_many(c, "node%d", 5);
        assert_int_equal(ssh.asked, 5);
        answer_classes_free(c);
    }
}

static void names_that_are_not_plain_are_always_asked(void **state)
{
    (void)state;
    struct answer_classes *c = answer_classes_new();
    write_config("Host *\n  User ada\n");
    get_many(c, "Node%d", 3);
    get_many(c, "::%d", 3);
    assert_int_equal(ssh.asked, 6);
    answer_classes_free(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_hosts_of_one_kind_take_two_questions),
        TEST(hosts_that_patterns_tell_apart_are_asked_for_apart),
        TEST(answers_that_hold_more_of_a_host_than_its_name_are_not_derived),
        TEST(what_is_not_understood_is_always_asked),
        TEST(names_that_are_not_plain_are_always_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
