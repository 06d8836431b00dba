/* The ground floor: text made safe to show, buffers, errors, base64, files and whom to trust. */
#include "base/base64.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "base/text.h"
#include "base/tree.h"
#include "random_value.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* text */

static void hostile_text_is_escaped(void **state)
{
    (void)state;
    static const struct { const char *text; size_t n; const char *safe;
    } cases[] = {
#define C(text, safe) {text, sizeof(text) - 1, safe}
        C("plain", "plain"),
        C("", ""),
        C("two\nlines\tand tab", "two\\nlines\\tand tab"),
        C("\x1b[31mred", "\\x1b[31mred"),
        C("a\0b", "a\\x00b"),
        C("\x7f", "\\x7f"),
        C("\r", "\\x0d"),
        C("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
        C("\xc2\x9b[31m", "\\xc2\\x9b[31m"),
        C("\xff\xfe", "\\xff\\xfe"),
        C("\xc0\xaf", "\\xc0\\xaf"),
        C("\xed\xa0\x80", "\\xed\\xa0\\x80"),
        C("\xe2\x82", "\\xe2\\x82"),
        C("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"),
        C("\xe2(\xa1", "\\xe2(\\xa1"),
        C("\xc2\xa0", "\xc2\xa0"),
#undef C
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        assert_int_equal(text_escape(out, sizeof out, cases[i].text, cases[i].n), strlen(cases[i].safe));
        assert_string_equal(out, cases[i].safe);
    }
}

static void escaped_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xe2\x82\xac\x1b" "b"; /* becomes a, 3 bytes, \x1b, b */
    static const size_t kept[] = {0, 0, 1, 1, 1, 4, 4, 4, 4, 8, 9, 9};
    for (size_t size = 1; size < sizeof kept / sizeof *kept; size++) {
        char out[16];
        memset(out, '#', sizeof out);
        assert_int_equal(text_escape(out, size, text, sizeof text - 1), kept[size]);
        assert_int_equal(out[kept[size]], 0);
        assert_int_equal(out[size], '#');
    }
    assert_int_equal(text_escape(NULL, 0, text, sizeof text - 1), 0);
}

static void random_bytes_escape_to_harmless_text(void **state)
{
    (void)state;
    uint64_t seed = 21;
    for (int i = 0; i < 20000; i++) {
        char text[24], out[40];
        uint64_t random[3] = {random_next(&seed), random_next(&seed), random_next(&seed)};
        size_t size = 1 + random_below(&seed, sizeof out);
        memcpy(text, random, sizeof text);
        size_t n = text_escape(out, size, text, random_below(&seed, sizeof text + 1));
        assert_true(n < size && !out[n]);
        assert_true(text_is_utf8(out, n));
        for (size_t j = 0; j < n; j++)
            assert_false((unsigned char)out[j] < 0x20 || out[j] == 0x7f);
    }
}

/* --- text of others on a terminal --- */

static void lines_of_others_are_made_printable(void **state)
{
    (void)state;
    static const struct { const char *line, *shown;
    } cases[] = {
        {"", ""},
        {"plain\ttext", "plain\ttext"},
        {"caf\xc3\xa9 \xe4\xbd\xa0", "caf\xc3\xa9 \xe4\xbd\xa0"},
        {"\033[31mred\033[0m", "\033[31mred\033[0m"},
        {"\033[1;38:5:9mopen", "\033[1;38:5:9mopen\033[0m"},
        {"\033[31mred\033[m", "\033[31mred\033[m"},
        {"\033[01;31m\033[Kfound\033[m\033[K.", "\033[01;31mfound\033[m."},
        {"from a terminal\r", "from a terminal"},
        {"10%\r20%", "10%\\x0d20%"},
        {"\033]0;title\007", "\\x1b]0;title\\x07"},
        {"\033[2J", "\\x1b[2J"},
        {"\033[?25l", "\\x1b[?25l"},
        {"\033[A", "\\x1b[A"},
        {"\033", "\\x1b"},
        {"\033[", "\\x1b["},
        {"\033[3", "\\x1b[3"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"},
        {"\x9b"
         "2J\xff",
         "\\x9b2J\\xff"},
        {"a\b_\x7f", "a\\x08_\\x7f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        assert_int_equal(printable_add(&out, cases[i].line, strlen(cases[i].line)), 0);
        buf_add(&out, "", 1);
        assert_string_equal(buf_data(&out), cases[i].shown);
        buf_free(&out);
    }
}

static void a_sequence_that_is_too_long_is_no_color(void **state)
{
    (void)state;
    char line[200] = "\033[";
    struct buf out = {0};
    memset(line + 2, '1', 100);
    strcpy(line + 102, "m");
    assert_int_equal(printable_add(&out, line, strlen(line)), 0);
    assert_null(memchr(buf_data(&out), '\033', buf_length(&out)));
    buf_free(&out);
}

static void random_lines_drive_no_terminal(void **state)
{
    (void)state;
    static const char pieces[] = "\033\033[[;:m0123K\r\n\t\x9b\xc2\xe4\xbd\xa0 a]?\007";
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        char line[24];
        struct buf out = {0};
        size_t n = random_below(&seed, sizeof line + 1);
        for (size_t j = 0; j < n; j++)
            line[j] = pieces[random_below(&seed, sizeof pieces)];
        printable_add(&out, line, n);
        for (const char *at = (const char *)buf_data(&out), *end = at + buf_length(&out); at < end; at++) {
            if (*at == '\033') { /* what is left of them is a colour */
                assert_true(end - at >= 3 && at[1] == '[');
                at += 2 + strspn(at + 2, "0123456789;:");
                assert_int_equal(*at, 'm');
            }
            assert_true((unsigned char)*at >= 0x20 || *at == '\t');
        }
        assert_true(!buf_length(&out) || text_is_utf8((const char *)buf_data(&out), buf_length(&out)));
        buf_free(&out);
    }
}

static void text_has_a_width_and_is_cut_to_one(void **state)
{
    (void)state;
    static const struct { const char *text; size_t width;
    } cases[] = {
        {"", 0},
        {"node1", 5},
        {"caf\xc3\xa9", 4},
        {"e\xcc\x81", 1},
        {"\xe4\xbd\xa0\xe5\xa5\xbd", 4},
        {"\xf0\x9f\x98\x80", 2},
        {"\xef\xbc\xa1", 2},
        {"a\xffz", 3},
        {"\xe2\x80\x8b", 0},
    };
    static const char mixed[] = "a\xe4\xbd\xa0z";
    static const size_t cut[] = {0, 1, 1, 4, 5, 5};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(text_width(cases[i].text, strlen(cases[i].text)), cases[i].width);
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        assert_int_equal(text_cut(mixed, sizeof mixed - 1, i, NULL), cut[i]);
}

static void utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "a\xbf"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
    assert_true(text_is_utf8("a\0b", 3));
}

static void distance_counts_edits(void **state)
{
    (void)state;
    static const struct { const char *a, *b; size_t distance;
    } cases[] = {
        {"", "", 0},           {"", "abc", 3},           {"hello", "hello", 0},
        {"hello", "helo", 1},  {"hello", "helloo", 1},   {"hello", "hallo", 1},
        {"hello", "hlelo", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
        {"facts", "fcats", 1}, {"ping", "exec", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(text_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(text_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char name[66];
    memset(name, 'x', sizeof name);
    name[65] = 0;
    assert_true(text_distance(name, "x") == SIZE_MAX);
    assert_int_equal(text_distance(name + 1, "x"), 63);
    assert_int_equal(text_distance(name + 1, name + 1), 0);
}

static void near_names_are_suggested(void **state)
{
    (void)state;
    assert_true(text_is_near("helo", "hello"));
    assert_true(text_is_near("fcats", "facts"));
    assert_true(text_is_near("inventory-of-d", "inventory-of-disks"));
    assert_false(text_is_near("hello", "facts"));
    assert_false(text_is_near("x", "facts"));
}

static void hexadecimal_returns(void **state)
{
    (void)state;
    char hex[17];
    unsigned char bytes[8];
    text_hex(hex, "\x00\x01\x7f\x80\xfe\xff\xab\xcd", 8);
    assert_string_equal(hex, "00017f80feffabcd");
    assert_int_equal(text_unhex(bytes, 8, "00017F80feffABcd"), 0);
    assert_memory_equal(bytes, "\x00\x01\x7f\x80\xfe\xff\xab\xcd", 8);
    assert_int_equal(text_unhex(bytes, 0, ""), 0);
    static const char *const bad[] = {"", "0", "0g", "001", "0011", "0x", " 0", "+1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_unhex(bytes, 1, bad[i]), -1);
}

static void type_names_are_checked(void **state)
{
    (void)state;
    char longest[66];
    memset(longest, 'a', sizeof longest);
    longest[64] = 0;
    static const char *const good[] = {"a", "hello", "disk_usage", "a-b", "x9"};
    static const char *const bad[] = {"", "Hello", "9x", "-a", "_a", "a b", "a/b", "../a", "a.so", "a\n", "\xc3\xa9", "aB"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_type_name(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_is_type_name(bad[i]));
    assert_true(text_is_type_name(longest));
    longest[64] = 'a';
    longest[65] = 0;
    assert_false(text_is_type_name(longest));
}

/* base64 */

static void base64_has_rfc_4648_vectors(void **state)
{
    (void)state;
    static const struct { const char *bytes, *text;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0}, bytes = {0};
        assert_int_equal(base64_encode(&text, cases[i].bytes, strlen(cases[i].bytes)), 0);
        assert_int_equal(buf_length(&text), strlen(cases[i].text));
        assert_memory_equal(buf_data(&text), cases[i].text, strlen(cases[i].text));
        assert_int_equal(base64_decode(&bytes, cases[i].text, strlen(cases[i].text)), 0);
        assert_int_equal(buf_length(&bytes), strlen(cases[i].bytes));
        assert_memory_equal(buf_data(&bytes), cases[i].bytes, strlen(cases[i].bytes));
        buf_free(&text);
        buf_free(&bytes);
    }
}

/* Four characters of any kind: refused, or the only text of what they decode to. */
static void base64_has_one_text_for_each_run_of_bytes(void **state)
{
    (void)state;
    static const char letters[] = "ABQZagz059+/==-_ \n";
    uint64_t seed = 22;
    for (int i = 0; i < 50000; i++) {
        char text[12];
        size_t n = random_below(&seed, sizeof text + 1);
        struct buf bytes = {0}, again = {0};
        for (size_t j = 0; j < n; j++)
            text[j] = letters[random_below(&seed, sizeof letters - 1)];
        if (!base64_decode(&bytes, text, n)) {
            base64_encode(&again, buf_data(&bytes), buf_length(&bytes));
            assert_int_equal(buf_length(&again), n);
            assert_memory_equal(buf_data(&again), text, n);
        } else {
            assert_int_equal(buf_length(&bytes), 0);
        }
        buf_free(&bytes);
        buf_free(&again);
    }
}

/* buf */

static void a_buffer_grows_and_is_consumed(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_length(&b), 0);
    assert_int_equal(buf_add_text(&b, "hello "), 0);
    assert_int_equal(buf_printf(&b, "%s %d", "world", 42), 0);
    assert_int_equal(buf_length(&b), 14);
    assert_memory_equal(buf_data(&b), "hello world 42", 14);
    buf_consume(&b, 6);
    assert_int_equal(buf_length(&b), 8);
    assert_memory_equal(buf_data(&b), "world 42", 8);
    buf_consume(&b, 8);
    assert_int_equal(buf_length(&b), 0);
    buf_free(&b);
    assert_null(b.at);
}

static void adding_nothing_to_an_empty_buffer_is_fine(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_add(&b, "", 0), 0);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_non_null(buf_reserve(&b, 0));
    assert_int_equal(buf_length(&b), 0);
    assert_false(b.failed);
    buf_free(&b);
}

/* As a queue: added at one end, taken from the other, for a long time. Order holds and memory stays flat. */
static void a_queue_keeps_order_and_stays_small(void **state)
{
    (void)state;
    struct buf b = {0};
    uint64_t seed = 23;
    unsigned char next_in = 0, next_out = 0;
    for (int i = 0; i < 50000; i++) {
        unsigned char piece[200];
        size_t n = random_below(&seed, sizeof piece + 1);
        for (size_t j = 0; j < n; j++)
            piece[j] = next_in++;
        assert_int_equal(buf_add(&b, piece, n), 0);
        size_t out = buf_length(&b) > 2000 ? buf_length(&b) - random_below(&seed, 100) : random_below(&seed, buf_length(&b) + 1);
        for (size_t j = 0; j < out; j++)
            assert_int_equal(buf_data(&b)[j], next_out++);
        buf_consume(&b, out);
        assert_true(b.capacity <= 16384);
    }
    buf_free(&b);
}

static void an_emptied_large_buffer_gives_its_memory_back(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_non_null(buf_reserve(&b, 1 << 20));
    memset(b.at, 'x', 1 << 20);
    b.end += 1 << 20;
    buf_consume(&b, 1000);
    assert_non_null(b.at);
    buf_consume(&b, (1 << 20) - 1000);
    assert_int_equal(b.capacity, 0);
    assert_int_equal(buf_add_text(&b, "again"), 0);
    assert_memory_equal(buf_data(&b), "again", 5);
    buf_free(&b);
}

static void impossible_sizes_fail_and_stay_failed(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_add_text(&b, "kept");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    assert_int_equal(buf_add_text(&b, "more"), -1);
    assert_int_equal(buf_length(&b), 4);
    assert_memory_equal(buf_data(&b), "kept", 4);
    buf_free(&b);
    assert_int_equal(buf_add_text(&b, "usable"), 0);
    buf_free(&b);
}

/* error */

static void the_first_error_wins(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    errno = EPERM;
    assert_int_equal(error_set(&err, SSX_ERROR_USAGE, "no field %s", "nme"), -1);
    assert_int_equal(error_set(&err, SSX_ERROR_REFUSED, "second"), -1);
    assert_int_equal(error_system(&err, "third"), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(err.code, SSX_ERROR_USAGE);
    assert_string_equal(err.text, "no field nme");
    assert_int_equal(error_set(NULL, SSX_ERROR_USAGE, "nobody listens"), -1);
    assert_int_equal(error_system(NULL, "nobody listens"), -1);
    assert_int_equal(error_prefix(NULL, "nobody listens"), -1);
}

static void system_errors_say_why(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    errno = ENOENT;
    assert_int_equal(error_system(&err, "can't read %s", "x"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
    assert_string_equal(err.text, "can't read x: No such file or directory");
}

static void prefixes_stand_before_the_message(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    assert_int_equal(error_prefix(&err, "host %d", 1), -1);
    assert_int_equal(err.code, SSX_ERROR_NONE);
    assert_string_equal(err.text, "");
    error_set(&err, SSX_ERROR_PROTOCOL, "inner");
    assert_int_equal(error_prefix(&err, "host %d", 1), -1);
    assert_string_equal(err.text, "host 1: inner");
    assert_int_equal(err.code, SSX_ERROR_PROTOCOL);
}

static void error_texts_are_safe_and_bounded(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    char text[4000];
    error_set(&err, SSX_ERROR_USAGE, "bad name %s", "\x1b[2J\n");
    assert_string_equal(err.text, "bad name \\x1b[2J\\n");
    memset(&err, 0, sizeof err);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    error_set(&err, SSX_ERROR_USAGE, "%s", text);
    assert_int_equal(strlen(err.text), SSX_ERROR_TEXT - 1);
    error_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), SSX_ERROR_TEXT - 1);
    for (size_t i = 0; i < 5; i++)
        error_prefix(&err, "p%zu", i);
    assert_memory_equal(err.text, "p4: p3: p2: p1: p0: xxx", 23);
}

/* files; *state is a directory of this test's own, trusted and absolute */

static char *in(void **state, const char *name)
{
    static char path[4][PATH_MAX]; /* a test uses at most four at a time */
    static unsigned turn;
    char *out = path[turn++ % 4];
    snprintf(out, PATH_MAX, "%s/%s", (char *)*state, name);
    return out;
}

static int make_home(void **state)
{
    char name[] = "/tmp/test_base.XXXXXX";
    if (!mkdtemp(name))
        return -1;
    *state = strdup(name);
    return *state ? 0 : -1;
}

static int remove_home(void **state)
{
    int rc = tree_remove(*state);
    free(*state);
    return rc;
}

static void assert_file(const char *path, const char *text, mode_t mode)
{
    struct buf b = {0};
    struct stat st;
    assert_int_equal(file_read(&b, path, 1000, NULL), 0);
    assert_int_equal(buf_length(&b), strlen(text));
    assert_memory_equal(buf_data(&b), text, strlen(text));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, mode);
    buf_free(&b);
}

static void files_are_replaced_whole(void **state)
{
    char *path = in(state, "file");
    struct ssx_error err = {0};
    assert_int_equal(file_write_atomic(path, "one", 3, 0600, &err), 0);
    assert_file(path, "one", 0600);
    int old = open(path, O_RDONLY | O_CLOEXEC);
    char was[8] = "";
    assert_true(old >= 0);
    assert_int_equal(file_write_atomic(path, "second", 6, 0755, &err), 0);
    assert_file(path, "second", 0755);
    assert_int_equal(read(old, was, sizeof was), 3); /* who had it open keeps the old one */
    close(old);
    assert_int_equal(file_write_atomic(path, "", 0, 0600, &err), 0);
    assert_file(path, "", 0600);
}

static void a_failed_write_leaves_nothing(void **state)
{
    struct ssx_error err = {0};
    assert_int_equal(file_write_atomic(in(state, "no/such/file"), "x", 1, 0600, &err), -1);
    assert_non_null(strstr(err.text, "No such file or directory"));
    memset(&err, 0, sizeof err);
    char *dir = in(state, "dir");
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(file_write_atomic(dir, "x", 1, 0600, &err), -1); /* the rename fails: a directory is in the way */
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(rmdir(*state), 0); /* no temporary file was left behind */
    assert_int_equal(mkdir(*state, 0700), 0);
}

static void reading_is_limited(void **state)
{
    char *path = in(state, "file");
    struct buf b = {0};
    struct ssx_error err = {0};
    assert_int_equal(file_write_atomic(path, "12345", 5, 0600, NULL), 0);
    assert_int_equal(file_read(&b, path, 5, &err), 0);
    assert_int_equal(buf_length(&b), 5);
    assert_int_equal(file_read(&b, path, 4, &err), -1);
    assert_non_null(strstr(err.text, "is larger than the limit of 4 bytes"));
    memset(&err, 0, sizeof err);
    assert_int_equal(file_read(&b, in(state, "absent"), 5, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
    buf_free(&b);
}

static void directories_are_made_private(void **state)
{
    struct ssx_error err = {0};
    struct stat st;
    assert_int_equal(dir_make(in(state, "a/b/c"), &err), 0);
    assert_int_equal(stat(in(state, "a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(dir_make(in(state, "a/b/c"), &err), 0);
    assert_int_equal(file_write_atomic(in(state, "plain"), "", 0, 0600, NULL), 0);
    assert_int_equal(dir_make(in(state, "plain/x"), &err), -1);
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
}

static void make_trusted(void **state, char **dir, char **file)
{
    *dir = in(state, "dir");
    *file = in(state, "dir/file");
    assert_int_equal(dir_make(*dir, NULL), 0);
    assert_int_equal(file_write_atomic(*file, "x", 1, 0755, NULL), 0);
    assert_int_equal(path_is_trusted(*file, NULL), 0);
}

static void assert_distrusted(const char *path, const char *culprit)
{
    struct ssx_error err = {0};
    assert_int_equal(path_is_trusted(path, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    assert_non_null(strstr(err.text, culprit));
}

static void files_that_others_can_change_are_not_trusted(void **state)
{
    char *dir, *file;
    make_trusted(state, &dir, &file);
    chmod(file, 0775);
    assert_distrusted(file, "is writable by others");
    chmod(file, 0757);
    assert_distrusted(file, "is writable by others");
    chmod(file, 0755);
    chmod(dir, 0777);
    assert_distrusted(file, dir);
    chmod(dir, 01777); /* sticky, as /tmp: others can add to it but not replace this */
    assert_int_equal(path_is_trusted(file, NULL), 0);
    chmod(dir, 0755);
    assert_int_equal(path_is_trusted(file, NULL), 0);
}

static void links_are_judged_by_their_target(void **state)
{
    char *dir, *file, *way = in(state, "link");
    make_trusted(state, &dir, &file);
    assert_int_equal(symlink(file, way), 0);
    assert_int_equal(path_is_trusted(way, NULL), 0);
    chmod(dir, 0777);
    assert_distrusted(way, dir);
    struct ssx_error err = {0};
    assert_int_equal(path_is_trusted(in(state, "absent"), &err), -1);
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
}

static void files_of_another_user_are_not_trusted(void **state)
{
    char *dir, *file;
    if (geteuid() != 0)
        skip(); /* only root can make one */
    make_trusted(state, &dir, &file);
    assert_int_equal(chown(file, 65534, 65534), 0);
    assert_distrusted(file, "belongs to uid 65534, neither root nor you");
    assert_int_equal(chown(file, 0, 0), 0);
    assert_int_equal(chown(dir, 65534, 65534), 0);
    assert_distrusted(file, dir);
}

int main(void)
{
#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_home, remove_home)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_text_is_escaped),
        cmocka_unit_test(escaped_text_is_cut_between_characters),
        cmocka_unit_test(random_bytes_escape_to_harmless_text),
        cmocka_unit_test(lines_of_others_are_made_printable),
        cmocka_unit_test(a_sequence_that_is_too_long_is_no_color),
        cmocka_unit_test(random_lines_drive_no_terminal),
        cmocka_unit_test(text_has_a_width_and_is_cut_to_one),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(near_names_are_suggested),
        cmocka_unit_test(hexadecimal_returns),
        cmocka_unit_test(type_names_are_checked),
        cmocka_unit_test(base64_has_rfc_4648_vectors),
        cmocka_unit_test(base64_has_one_text_for_each_run_of_bytes),
        cmocka_unit_test(a_buffer_grows_and_is_consumed),
        cmocka_unit_test(adding_nothing_to_an_empty_buffer_is_fine),
        cmocka_unit_test(a_queue_keeps_order_and_stays_small),
        cmocka_unit_test(an_emptied_large_buffer_gives_its_memory_back),
        cmocka_unit_test(impossible_sizes_fail_and_stay_failed),
        cmocka_unit_test(the_first_error_wins),
        cmocka_unit_test(system_errors_say_why),
        cmocka_unit_test(prefixes_stand_before_the_message),
        cmocka_unit_test(error_texts_are_safe_and_bounded),
        FILE_TEST(files_are_replaced_whole),
        FILE_TEST(a_failed_write_leaves_nothing),
        FILE_TEST(reading_is_limited),
        FILE_TEST(directories_are_made_private),
        FILE_TEST(files_that_others_can_change_are_not_trusted),
        FILE_TEST(links_are_judged_by_their_target),
        FILE_TEST(files_of_another_user_are_not_trusted),
    };
#undef FILE_TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
