/* The digest of transfers, in both its forms, against libsodium's. */
#include "../../plugins/files/sha256.c"

#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static unsigned char bytes[4096];

static void fill(void)
{
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
}

/* Added in two pieces, split at `at`. */
static void assert_same(size_t n, size_t at)
{
    unsigned char ours[SHA256_SIZE];
    struct digest theirs;
    struct sha256 s;
    sha256_start(&s);
    sha256_add(&s, bytes, at);
    sha256_digest(&s, ours); /* which changes nothing */
    sha256_add(&s, bytes + at, n - at);
    sha256_digest(&s, ours);
    digest_of(&theirs, bytes, n);
    assert_memory_equal(ours, theirs.bytes, SHA256_SIZE);
}

static void every_length_and_split(compress_fn *form)
{
    fill();
    best = form;
    for (size_t n = 0; n <= 300; n++)
        for (size_t at = 0; at <= n; at += n < 140 ? 1 : 37)
            assert_same(n, at);
    assert_same(sizeof bytes, 1000);
    best = NULL;
}

static void test_plain(void **state) { (void)state; every_length_and_split(compress_plain); }
static void test_best_of_this_machine(void **state) { (void)state; every_length_and_split(compress_best()); }

static void test_known_digest(void **state)
{
    static const unsigned char of_abc[4] = {0xba, 0x78, 0x16, 0xbf}; /* FIPS 180-2, B.1 */
    unsigned char digest[SHA256_SIZE];
    struct sha256 s;
    (void)state;
    sha256_start(&s);
    sha256_add(&s, "abc", 3);
    sha256_digest(&s, digest);
    assert_memory_equal(digest, of_abc, sizeof of_abc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_best_of_this_machine),
        cmocka_unit_test(test_known_digest),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
