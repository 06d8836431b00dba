/* Workloads: the golden bytes that are part of sdk/PROTOCOL.md, both forms from a pipe, what is refused, and damage. */
#include "base/text.h"
#include "random_value.h"
#include "wire/ending.h"
#include "wire/value.h"
#include "wire/workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define SPAN(s) {s, sizeof(s) - 1}
#define DIGEST {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}}
#define DIGEST_BIN "c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* A change of one of these is a new version of the format. */
static const struct golden { enum workload_form form; const char *hex; struct workload w;
} golden[] = {
    {WORKLOAD_PREFIXED,
     "0000001192a568656c6c6f81a46e616d65a3416461",
     {.type = SPAN("hello"),
      .state = SPAN("\x81\xa4name\xa3"
                    "Ada")}},
    {WORKLOAD_BARE,
     "92a568656c6c6f81a46e616d65a3416461",
     {.type = SPAN("hello"),
      .state = SPAN("\x81\xa4name\xa3"
                    "Ada")}},
    {WORKLOAD_PREFIXED,
     "0000001693a47370696e80"
     "81aa74696d656f75745f6d73cd05dc",
     {.type = SPAN("spin"), .state = SPAN("\x80"), .timeout_ms = 1500}},
    {WORKLOAD_BARE,
     "93a16180"
     "82aa74696d656f75745f6d730aa6646967657374" DIGEST_BIN,
     {.type = SPAN("a"), .state = SPAN("\x80"), .timeout_ms = 10, .has_digest = true, .digest = DIGEST}},
};

static void put_hex(struct buf *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    unsigned char *at = buf_reserve(out, n + 1);
    assert_non_null(at);
    assert_int_equal(text_unhex(at, n, hex), 0);
    out->end += n;
}

static void same_span(struct span a, struct span b)
{
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.at, b.at, a.n);
}

/* Reads from a file in memory; returns how many bytes of it are left. */
static long read_from(struct buf *out, enum workload_form *form, const void *bytes, size_t n, struct ssx_error *err, int *rc)
{
    int fd = memfd_create("workload", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
    *rc = workload_read(out, form, fd, "stdin", err);
    long left = (long)n - (long)lseek(fd, 0, SEEK_CUR);
    close(fd);
    return left;
}

static void golden_workloads_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(golden); i++) {
        struct buf want = {0}, made = {0}, read = {0};
        struct workload w;
        enum workload_form form;
        int rc;
        put_hex(&want, golden[i].hex);
        assert_int_equal(workload_encode(&made, &golden[i].w, golden[i].form, NULL), 0);
        assert_int_equal(buf_length(&made), buf_length(&want));
        assert_memory_equal(buf_data(&made), buf_data(&want), buf_length(&want));
        assert_int_equal(read_from(&read, &form, buf_data(&want), buf_length(&want), NULL, &rc), 0);
        assert_int_equal(rc, 0);
        assert_int_equal(form, golden[i].form);
        assert_int_equal(workload_decode(&w, buf_data(&read), buf_length(&read), NULL), 0);
        same_span(w.type, golden[i].w.type);
        same_span(w.state, golden[i].w.state);
        assert_int_equal(w.timeout_ms, golden[i].w.timeout_ms);
        assert_int_equal(w.has_digest, golden[i].w.has_digest);
        assert_true(digest_equal(&w.digest, &golden[i].w.digest));
        buf_free(&want);
        buf_free(&made);
        buf_free(&read);
    }
}

static void what_follows_the_prefixed_form_stays_in_the_pipe(void **state)
{
    (void)state;
    static const char bytes[] = "\0\0\0\x04\x92\xa1""a\x80""the worker's input";
    struct buf read = {0};
    enum workload_form form;
    int rc;
    assert_int_equal(read_from(&read, &form, bytes, sizeof bytes - 1, NULL, &rc), 18);
    assert_int_equal(rc, 0);
    assert_int_equal(buf_length(&read), 4);
    buf_free(&read);
}

/* Other libraries choose wider headers than ours. */
static void wide_headers_are_taken(void **state)
{
    (void)state;
    static const struct span wide[] = {SPAN("\xdc\0\2\xd9\1a\xde\0\0"), SPAN("\xdd\0\0\0\2\xda\0\1a\xdf\0\0\0\0"),
                                       SPAN("\xdd\0\0\0\3\xdb\0\0\0\1a\x80\x81\xd9\x0atimeout_ms\xce\0\0\0\5")};
    struct workload w;
    for (size_t i = 0; i < COUNT(wide); i++) {
        struct buf read = {0};
        enum workload_form form;
        int rc;
        read_from(&read, &form, wide[i].at, wide[i].n, NULL, &rc);
        assert_int_equal(rc, 0);
        assert_int_equal(form, WORKLOAD_BARE);
        assert_int_equal(workload_decode(&w, buf_data(&read), buf_length(&read), NULL), 0);
        assert_true(span_is(w.type, "a"));
        assert_int_equal(w.timeout_ms, i == 2 ? 5 : 0);
        buf_free(&read);
    }
}

static void what_is_no_workload_says_why(void **state)
{
    (void)state;
    static const struct { struct span bytes; const char *says; } reads[] = {
        {{"", 0}, "there is no workload on stdin: it is empty"},
        {SPAN("garbage"), "it starts with the byte 0x67"},
        {SPAN("\x91\xa1""a"), "it starts with the byte 0x91"},
        {SPAN("\0"), "cut off in its length"}, {SPAN("\0\0\1"), "cut off in its length"},
        {SPAN("\0\0\0\x05\x92\xa1"), "cut off after 2 of 5 bytes"}, {SPAN("\0\xff\xff\xff"), "cut off after 0 of 16777215 bytes"},
    };
    static const struct { struct span bytes; const char *says;
    } decodes[] = {
        {{"", 0}, "no array"},
        {SPAN("\x91\xa1"
              "a"),
         "no array"},
        {SPAN("\x94\xa1"
              "a\x80\x80\x80"),
         "no array"},
        {SPAN("\x82\xa1"
              "a\x80"),
         "no array"},
        {SPAN("\x92\x01\x80"), "its type"},
        {SPAN("\x92\xa2"
              "a\0\x80"),
         "its type"},
        {SPAN("\x92\xa5"
              "a"),
         "its type"},
        {SPAN("\x92\xa1"
              "a"),
         "its state"},
        {SPAN("\x92\xa1"
              "a\x81\xa1"),
         "its state"},
        {SPAN("\x92\xa1"
              "a\xc1"),
         "its state"},
        {SPAN("\x92\xa1"
              "a\x80\x80"),
         "something stands behind its end"},
        {SPAN("\x93\xa1"
              "a\x80\x01"),
         "not a map"},
        {SPAN("\x93\xa1"
              "a\x80\x81\x01\x01"),
         "not text"},
        {SPAN("\x93\xa1"
              "a\x80\x81\xa3new\x01"),
         "doesn't know: new"},
        {SPAN("\x93\xa1"
              "a\x80\x81\xaatimeout_ms\xff"),
         "timeout_ms has no value"},
        {SPAN("\x93\xa1"
              "a\x80\x81\xaatimeout_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
         "timeout_ms has no value"},
        {SPAN("\x93\xa1"
              "a\x80\x81\xa6"
              "digest\xc4\1a"),
         "digest has no value"},
    };
    for (size_t i = 0; i < COUNT(reads); i++) {
        struct ssx_error err = {0};
        struct buf read = {0};
        enum workload_form form;
        int rc;
        read_from(&read, &form, reads[i].bytes.at, reads[i].bytes.n, &err, &rc);
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, SSX_ERROR_REFUSED);
        assert_non_null(strstr(err.text, reads[i].says));
        buf_free(&read);
    }
    for (size_t i = 0; i < COUNT(decodes); i++) {
        struct ssx_error err = {0};
        struct workload w;
        assert_int_equal(workload_decode(&w, decodes[i].bytes.at, decodes[i].bytes.n, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_REFUSED);
        if (!strstr(err.text, decodes[i].says))
            fail_msg("%s, not %s", err.text, decodes[i].says);
    }
}

/* The state may be as deep as the state of any call. */
static void the_state_has_the_limits_of_a_state(void **state)
{
    (void)state;
    for (size_t depth = VALUE_DEPTH_MAX; depth <= VALUE_DEPTH_MAX + 1; depth++) {
        unsigned char deep[64] = "";
        struct workload w = {.type = span_text("a"), .state = {deep, depth + 1}};
        struct buf made = {0};
        memset(deep, 0x91, depth);
        assert_int_equal(workload_encode(&made, &w, WORKLOAD_BARE, NULL), 0);
        assert_int_equal(workload_decode(&w, buf_data(&made), buf_length(&made), NULL), depth > VALUE_DEPTH_MAX ? -1 : 0);
        buf_free(&made);
    }
}

static void the_largest_workload_and_one_byte_more(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct ssx_error err = {0};
        struct buf body = {0}, made = {0}, read = {0};
        struct workload w = {.type = span_text("a")};
        enum workload_form form;
        int rc;
        size_t n = WORKLOAD_MAX - 3 + more, head = 5; /* array and type take 3 bytes, the head of a bin of that size 5 */
        unsigned char *at = buf_reserve(&body, n);
        memset(at, 0, n);
        memcpy(at,
               (unsigned char[]){0xc6, 0, (unsigned char)((n - head) >> 16), (unsigned char)((n - head) >> 8),
                                 (unsigned char)(n - head)},
               head);
        body.end += n;
        w.state = (struct span){at, n};
        assert_int_equal(workload_encode(&made, &w, WORKLOAD_PREFIXED, &err), more ? -1 : 0);
        assert_int_equal(err.code, more ? SSX_ERROR_REFUSED : 0);
        buf_free(&made);
        buf_add(&made, "\x92\xa1""a", 3);
        buf_add(&made, at, n);
        memset(&err, 0, sizeof err);
        read_from(&read, &form, buf_data(&made), buf_length(&made), &err, &rc);
        assert_int_equal(rc, more ? -1 : 0);
        assert_true(!more || strstr(err.text, "larger than the limit of 16777215 bytes"));
        assert_int_equal(workload_decode(&w, buf_data(&made), buf_length(&made), NULL), more ? -1 : 0);
        buf_free(&body);
        buf_free(&made);
        buf_free(&read);
    }
}

static void damaged_workloads_are_refused_or_sound(void **state)
{
    (void)state;
    uint64_t seed = 21;
    size_t taken = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct buf value = {0}, made = {0};
        random_value(&value, &seed);
        struct workload w = {.type = span_text("hello"),
                             .state = {buf_data(&value), buf_length(&value)},
                             .timeout_ms = random_below(&seed, 2),
                             .has_digest = random_below(&seed, 2)};
        assert_int_equal(workload_encode(&made, &w, WORKLOAD_BARE, NULL), 0);
        random_mutation(&made, &seed);
        size_t n = buf_length(&made);
        unsigned char *exact = malloc(n ? n : 1); /* of its size, so that a sanitizer sees a byte too far */
        memcpy(exact, buf_data(&made), n);
        if (workload_decode(&w, exact, n, NULL) == 0) {
            const unsigned char *at = w.state.at;
            assert_true(at > exact && at + w.state.n <= exact + n && value_scan(at, w.state.n, NULL) == 0);
            taken++;
        }
        free(exact);
        buf_free(&value);
        buf_free(&made);
    }
    assert_in_range(taken, 1000, 19000); /* else the mutations test nothing */
}

static void ends_in_words(void **state)
{
    (void)state;
    static const struct { struct message_end end; const char *says; } ends[] = {
        {{.outcome = SSX_OUTCOME_FAILED, .code = 3}, "failed with code 3"},
        {{.outcome = SSX_OUTCOME_FAILED, .code = 3, .message = SPAN("no such file\n")}, "failed: no such file\\n"},
        {{.outcome = SSX_OUTCOME_TIMEOUT, .wall_us = 1500000}, "timeout: not done after 1.5 s"},
        {{.outcome = SSX_OUTCOME_CANCELLED}, "cancelled"},
        {{.outcome = SSX_OUTCOME_CRASHED, .message = SPAN("\x1b[2J")}, "crashed: \\x1b[2J"},
    };
    char text[SSX_ERROR_TEXT];
    for (size_t i = 0; i < COUNT(ends); i++)
        assert_string_equal(ending_describe(text, sizeof text, &ends[i].end), ends[i].says);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_workloads_both_ways),
        cmocka_unit_test(what_follows_the_prefixed_form_stays_in_the_pipe),
        cmocka_unit_test(wide_headers_are_taken),
        cmocka_unit_test(what_is_no_workload_says_why),
        cmocka_unit_test(the_state_has_the_limits_of_a_state),
        cmocka_unit_test(the_largest_workload_and_one_byte_more),
        cmocka_unit_test(damaged_workloads_are_refused_or_sound),
        cmocka_unit_test(ends_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
