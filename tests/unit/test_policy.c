/* What a node permits: the flags and the keys, that no order of them widens it, and the line of authorized_keys that
 * carries them. */
#include "base/error.h"
#include "transport/authorized_key.h"
#include "worker/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Splits words at blanks, takes the flags, and writes what is left behind "|". */
static int take(struct policy *p, const char *words, char *left, size_t size, struct ssx_error *err)
{
    char text[256], name[] = "agent", *argv[32] = {name}, *save = NULL;
    int argc = 1;
    memset(p, 0, sizeof *p);
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    int rc = policy_take_flags(p, &argc, argv, err);
    left[0] = 0;
    for (int i = 1; rc == 0 && i < argc; i++)
        snprintf(left + strlen(left), size - strlen(left), "%s%s", i > 1 ? " " : "", argv[i]);
    assert_true(rc || !argv[argc]);
    return rc;
}

static void assert_flags(const struct policy *p, const char *want)
{
    struct buf out = {0};
    assert_int_equal(policy_add_flags(p, &out), 0);
    assert_int_equal(buf_add(&out, "", 1), 0);
    assert_string_equal((char *)buf_data(&out), want);
    buf_free(&out);
}

static void test_flags(void **state)
{
    (void)state;
    static const struct { const char *words, *left, *flags; } cases[] = {
        {"", "", ""},
        {"--allow hello --store d --max-calls=3 x", "--store d x", " --allow hello --no-uploads --max-calls 3"},
        {"--allow a --allow=b,c --deny d", "", " --allow a,b,c --deny d --no-uploads"},
        {"--allow a --uploads", "", " --allow a --uploads"},
        {"--uploads", "", " --uploads"},
        {"--no-uploads --uploads", "", " --no-uploads"},
        {"--uploads --no-uploads", "", " --no-uploads"},
        {"--max-timeout 2m --max-timeout 90 --max-timeout 1h", "", " --max-timeout 90"},
        {"--max-calls 4 --max-calls 9", "", " --max-calls 4"},
        {"-- --allow a", "-- --allow a", ""},
        {"--require-signed --no-require-signed", "", " --require-signed"},
        {"--no-require-signed", "", " --no-require-signed"},
        {"--allow a --require-signed --signers /etc/s", "", " --allow a --require-signed --signers /etc/s"},
        {"--allow a --no-uploads --require-signed", "", " --allow a --no-uploads --require-signed"},
        {"--store-size 2G --store-size 500M", "", " --store-size 500M"},
        {"--no-allow --max_calls 3 --allows -allow", "--no-allow --max_calls 3 --allows -allow", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy p, again;
        struct ssx_error err = {0};
        char left[256];
        assert_int_equal(take(&p, cases[i].words, left, sizeof left, &err), 0);
        assert_string_equal(left, cases[i].left);
        assert_flags(&p, cases[i].flags);
        assert_int_equal(take(&again, cases[i].flags, left, sizeof left, &err), 0);
        assert_flags(&again, cases[i].flags);
        policy_free(&p);
        policy_free(&again);
    }
}

static void test_bad_flags(void **state)
{
    (void)state;
    static const struct { const char *words, *said;
    } cases[] = {
        {"--allow", "--allow needs a value"},
        {"--allow --", "--allow needs a value"},
        {"--allow=", "--allow: \"\" is not a type name"},
        {"--allow a,,b", "\"\" is not a type name"},
        {"--deny A", "--deny: \"A\" is not a type name"},
        {"--uploads=yes", "--uploads takes no value"},
        {"--max-timeout 0", "--max-timeout: \"0\""},
        {"--max-timeout 1y", "is not a duration"},
        {"--max-calls 0", "from 1 to 64"},
        {"--max-calls 1x", "from 1 to 64"},
        {"--max-calls 99999999999999999999", "from 1 to 64"},
        {"--store-size 0", "is not a size"},
        {"--store-size many", "is not a size"},
        {"--signers s", "is not an absolute path"},
        {"--signers /a;b", "is not an absolute path"},
        {"--signers /a --signers /b", "beside /a"},
        {"--require-signed=yes", "takes no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy p;
        struct ssx_error err = {0};
        char left[256];
        assert_int_equal(take(&p, cases[i].words, left, sizeof left, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_USAGE);
        if (!strstr(err.text, cases[i].said))
            fail_msg("%s: %s", cases[i].words, err.text);
        policy_free(&p);
    }
}

/* As the lines of a file will be set. */
static void test_keys(void **state)
{
    (void)state;
    struct policy p = {0};
    struct ssx_error err = {0};
    assert_int_equal(policy_set(&p, "allow", "hello", "agent.conf:1: allow", &err), 0);
    assert_int_equal(policy_set(&p, "uploads", "no", "agent.conf:2: uploads", &err), 0);
    assert_int_equal(policy_set(&p, "max_timeout", "1.5s", "agent.conf:3: max_timeout", &err), 0);
    assert_int_equal(policy_timeout(&p, 0), 1500);
    assert_int_equal(policy_timeout(&p, 100), 100);
    assert_int_equal(policy_timeout(&p, 1501), 1500);
    assert_int_equal(policy_check_type(&p, "exec", &err), -1);
    assert_string_equal(err.text, "policy: agent.conf:1: allow does not list exec");
    struct ssx_error other = {0}, third = {0}, fourth = {0};
    assert_int_equal(policy_set(&p, "uploads", "maybe", "agent.conf:4: uploads", &other), -1);
    assert_string_equal(other.text, "agent.conf:4: uploads: \"maybe\" is neither yes nor no");
    assert_int_equal(policy_set(&p, "alow", "x", "agent.conf:5: alow", &third), -1);
    assert_string_equal(third.text, "unknown key alow; did you mean allow?");
    assert_int_equal(policy_set(&p, "max-calls", "1", "r", &fourth), -1);
    policy_free(&p);
}

static void test_types(void **state)
{
    (void)state;
    struct policy p;
    struct ssx_error err = {0};
    char left[64];
    assert_int_equal(take(&p, "--allow hello,exec,a --deny exec", left, sizeof left, &err), 0);
    assert_int_equal(policy_check_type(&p, "hello", NULL), 0);
    assert_int_equal(policy_check_type(&p, "a", NULL), 0);
    static const char *const refused[] = {"hell", "hello2", "ello", "exe", "exec", "hello,exec", "b"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(policy_check_type(&p, refused[i], NULL), -1);
    assert_int_equal(policy_check_upload(&p, "hello", &err), -1);
    assert_non_null(strstr(err.text, "policy: --allow without --uploads forbids"));
    policy_free(&p);
    assert_int_equal(policy_check_type(NULL, "x", NULL) | policy_check_upload(NULL, "x", NULL) |
                         policy_check_type(&p, "x", NULL) | policy_check_upload(&p, "x", NULL),
                     0);
}

static void take_all(struct policy *p, const char *words)
{
    char left[64];
    assert_int_equal(take(p, words, left, sizeof left, NULL), 0);
}

/* What requires signatures lets signed bundles in, and nothing else. */
static void test_signatures(void **state)
{
    (void)state;
    struct policy p;
    struct ssx_error err = {0};
    take_all(&p, "--allow hello --require-signed");
    assert_int_equal(policy_check_bundle(&p, "web", NULL), 0);
    assert_int_equal(policy_check_upload(&p, "hello", NULL), -1);
    assert_int_equal(policy_check_signed(&p, "web", true, NULL), 0);
    assert_int_equal(policy_check_signed(&p, "web", false, &err), -1);
    assert_string_equal(err.text, "policy: --require-signed: web is not signed by anybody whom this node knows");
    assert_string_equal(policy_signers(&p, 0), POLICY_SIGNERS_FILE);
    assert_null(policy_signers(&p, 1));
    policy_free(&p);
    take_all(&p, "--no-uploads --require-signed");
    assert_int_equal(policy_check_bundle(&p, "web", NULL), -1);
    policy_free(&p);
    take_all(&p, "--require-signed");
    assert_int_equal(policy_check_upload(&p, "hello", NULL), -1);
    policy_free(&p);
}

/* Of several policies each has to permit, and the strictest number counts. */
static void test_several(void **state)
{
    (void)state;
    struct policy flags, file;
    struct ssx_error err = {0};
    const char *rule = NULL;
    take_all(&flags, "--allow hello,exec --uploads --max-calls 8 --max-timeout 10 --signers /a");
    take_all(&file, "--deny exec --uploads --max-calls 4 --max-timeout 20 --require-signed --signers /b --store-size 1M");
    flags.also = &file;
    assert_int_equal(policy_check_type(&flags, "hello", NULL), 0);
    assert_int_equal(policy_check_type(&flags, "facts", NULL), -1);
    assert_int_equal(policy_check_type(&flags, "exec", &err), -1);
    assert_string_equal(err.text, "policy: --deny lists exec");
    assert_int_equal(policy_least(&flags, POLICY_MAX_CALLS, NULL), 4);
    assert_int_equal(policy_least(&flags, POLICY_STORE_SIZE, &rule), 1 << 20);
    assert_string_equal(rule, "--store-size");
    assert_int_equal(policy_timeout(&flags, 0), 10000);
    assert_int_equal(policy_check_signed(&flags, "web", false, NULL), -1);
    assert_string_equal(policy_signers(&flags, 0), "/a");
    assert_string_equal(policy_signers(&flags, 1), "/b");
    assert_null(policy_signers(&flags, 2));
    policy_free(&flags);
    policy_free(&file);
}

#define ED25519 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE3Z6N8l4xJOJo5re70O3aiV28rkesQ18xudRihtgFjO"

static void line(struct buf *out, const char *key, const struct forced_command *c, const char *from)
{
    struct public_key k;
    struct ssx_error err = {0};
    struct buf command = {0};
    assert_int_equal(public_key_read(&k, key, strlen(key), "k.pub", &err), 0);
    assert_int_equal(forced_command(&command, c, &err), 0);
    assert_int_equal(buf_add(&command, "", 1), 0);
    assert_int_equal(authorized_key_line(out, &k, from, (const char *)buf_data(&command), &err), 0);
    assert_int_equal(buf_add(out, "", 1), 0);
    buf_free(&command);
    public_key_free(&k);
}

static void test_line(void **state)
{
    (void)state;
    struct buf out = {0};
    line(&out, ED25519 " Ada's \"key\"\n", &(struct forced_command){.agent = "/opt/agent", .policy = " --allow hello"}, NULL);
    assert_string_equal((char *)buf_data(&out), "restrict,command=\"" FORCED_COMMAND_MARK
                                                "exec /opt/agent --allow hello'\" " ED25519 " Ada's \"key\"");
    buf_free(&out);
    line(&out, ED25519,
         &(struct forced_command){
             .agent = "~/a b", .profile = "/it's", .store = "/s", .plugin_path = "/p:/q", .policy = ""},
         "*.x,!y");
    assert_string_equal(
        (char *)buf_data(&out),
        "restrict,from=\"*.x,!y\",command=\"" FORCED_COMMAND_MARK
        ". '\\\"'\\\"'/it'\\\"'\\\"'\\\"'\\\"'\\\"'\\\"'\\\"'\\\"'s'\\\"'\\\"' </dev/null >&2; exec ~/'\\\"'\\\"'a b'\\\"'\\\"' --store /s --plugin-path /p:/q'\" " ED25519);
    buf_free(&out);
}

/* Whatever a damaged key file says, it is refused or gives one line with one key that is where it should be. */
static void test_mutated_keys(void **state)
{
    (void)state;
    static const char text[] = ED25519 " a comment\n";
    uint64_t seed = 11;
    for (int round = 0; round < 20000; round++) {
        size_t n = sizeof text - 1;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text, n);
        for (int i = 0; i < 1 + round % 3; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            copy[(seed >> 33) % n] = (char)(seed >> 56);
        }
        n -= round % 5 ? 0 : (seed >> 40) % n;
        struct public_key k;
        struct ssx_error err = {0};
        if (public_key_read(&k, copy, n, "k.pub", &err) == 0) {
            struct buf out = {0};
            assert_string_equal(k.type, "ssh-ed25519");
            assert_int_equal(authorized_key_line(&out, &k, NULL, "c", &err), 0);
            assert_null(memchr(buf_data(&out), '\n', buf_length(&out)));
            assert_memory_equal(buf_data(&out), "restrict,command=\"c\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", 58);
            buf_free(&out);
            public_key_free(&k);
        } else {
            assert_int_equal(err.code, SSX_ERROR_USAGE);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flags),      cmocka_unit_test(test_bad_flags),
                                       cmocka_unit_test(test_keys),       cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_signatures), cmocka_unit_test(test_several),
                                       cmocka_unit_test(test_line),       cmocka_unit_test(test_mutated_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
