/* A record gives back what was put in, without what is secret, whatever becomes of its end; and no bytes make the
 * reader stumble. */
#include "base/file.h"
#include "base/io.h"
#include "base/tree.h"
#include "fleet/record.h"
#include "fleet/record_reader.h"
#include "fleet/records.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static const char note[] =
    "{\"struct\":\"in\"}\0"
    "{\"field\":\"user\",\"type\":\"str\",\"required\":true}\0"
    "{\"field\":\"password\",\"type\":{\"secret\":\"str\"},\"required\":true}\0"
    "{\"struct\":\"out\"}\0"
    "{\"field\":\"load\",\"type\":\"u32\",\"default\":0}\0"
    "{\"field\":\"token\",\"type\":{\"secret\":\"str\"},\"default\":\"\"}\0"
    "{\"worker\":\"w\",\"version\":\"1\",\"abi\":[1,0],\"state\":\"in\",\"result\":\"out\",\"traits\":\"0\"}";
#define STATE "\x82\xa4user\xa3" "ada\xa8password\xa6" "hidden"
#define RESULT "\x82\xa4load\x07\xa5token\xa6" "hidden"

static struct descriptor d;
static char dir[] = "/tmp/record-test-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir) || setenv("XDG_STATE_HOME", dir, 1))
        return -1;
    return descriptor_parse(&d, note, sizeof note, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    descriptor_dispose(&d);
    return tree_remove(dir);
}

static void put(struct record *r, enum ssx_fleet_event_kind kind, size_t host, const char *bytes, size_t n)
{
    const struct ssx_fleet_event e = {.kind = kind,
                                      .host = host,
                                      .item = SSX_FLEET_NONE,
                                      .stream = kind == SSX_FLEET_OUTPUT ? SSX_STDOUT : 0,
                                      .bytes = bytes,
                                      .n = n};
    record_event(r, &e);
}

static void put_end(struct record *r, size_t host, enum ssx_outcome outcome, int code)
{
    const struct ssx_fleet_timing timing = {.run_us = 7, .total_us = 9, .tries = 2};
    const struct ssx_ending ending = {.outcome = outcome, .exit_code = code, .reason = "", .message = "no luck", .text = "failed: no luck",
                                      .digest = "", .sandbox = "none", .wall_us = 5};
    const struct ssx_fleet_event e = {.kind = SSX_FLEET_END, .host = host, .item = SSX_FLEET_NONE, .ending = &ending, .timing = &timing};
    record_event(r, &e);
}

static const char *newest(void)
{
    static char path[PATH_MAX];
    assert_int_equal(records_find(path, sizeof path, NULL, NULL), 0);
    return path;
}

static void write_one(void)
{
    char *hosts[] = {(char[]){"a"}, (char[]){"b"}};
    const struct record_run run = {
        .descriptor = &d, .type = "./w.so", .state = STATE, .state_size = sizeof STATE - 1, .hosts = hosts, .count = 2};
    struct record *r;
    assert_int_equal(record_open(&r, &run, NULL), 0);
    put(r, SSX_FLEET_OUTPUT, 1, "x\0y", 3);
    put(r, SSX_FLEET_RESULT, 0, RESULT, sizeof RESULT - 1);
    put_end(r, 0, SSX_OUTCOME_OK, 0);
    put_end(r, 1, SSX_OUTCOME_FAILED, 3);
    assert_int_equal(record_flush(r, NULL), 0);
    record_close(r);
}

static void what_was_put_in_comes_back(void **state)
{
    (void)state;
    struct record_reader *r;
    struct ssx_fleet_event e;
    write_one();
    assert_int_equal(record_reader_open(&r, newest(), NULL), 0);
    const struct record_head *head = record_reader_head(r);
    assert_string_equal(head->type, "./w.so");
    assert_int_equal(head->count, 2);
    assert_string_equal(head->hosts[1], "b");
    assert_int_equal(record_reader_next(r, &e, NULL), 1);
    assert_true(e.kind == SSX_FLEET_OUTPUT && e.host == 1 && e.stream == SSX_STDOUT && e.n == 3 && !memcmp(e.bytes, "x\0y", 3));
    assert_int_equal(record_reader_next(r, &e, NULL), 1);
    assert_true(e.kind == SSX_FLEET_RESULT && e.host == 0);
    assert_int_equal(record_reader_next(r, &e, NULL), 1);
    assert_int_equal(record_reader_next(r, &e, NULL), 1);
    assert_true(e.kind == SSX_FLEET_END && e.ending->outcome == SSX_OUTCOME_FAILED && e.ending->exit_code == 3);
    assert_true(e.timing->total_us == 9 && e.timing->tries == 2);
    assert_string_equal(e.ending->text, "failed: no luck");
    assert_string_equal(e.name, "b");
    assert_int_equal(record_reader_next(r, &e, NULL), 0);
    record_reader_close(r);
}

static void secrets_are_not_in_it(void **state)
{
    (void)state;
    struct buf file = {0};
    write_one();
    assert_int_equal(file_read(&file, newest(), 1 << 20, NULL), 0);
    assert_null(memmem(buf_data(&file), buf_length(&file), "hidden", 6));
    assert_non_null(memmem(buf_data(&file), buf_length(&file), "ada", 3));
    buf_free(&file);
}

/* Reads all of it. Returns how many events there were. */
static size_t read_bytes(const unsigned char *bytes, size_t n)
{
    char path[PATH_MAX];
    struct record_reader *r;
    struct ssx_fleet_event e;
    size_t events = 0;
    int fd = memfd_create("record", MFD_CLOEXEC), rc;
    assert_true(fd >= 0 && fd_write_all(fd, bytes, n) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    rc = record_reader_open(&r, path, NULL);
    close(fd);
    if (rc)
        return 0;
    while (record_reader_next(r, &e, NULL) == 1) {
        assert_true(e.host < record_reader_head(r)->count);
        events++;
    }
    record_reader_close(r);
    return events;
}

static void whatever_is_cut_off_or_changed_the_rest_is_read(void **state)
{
    (void)state;
    struct buf file = {0};
    write_one();
    assert_int_equal(file_read(&file, newest(), 1 << 20, NULL), 0);
    unsigned char *bytes = buf_data(&file);
    size_t n = buf_length(&file);
    assert_int_equal(read_bytes(bytes, n), 4);
    for (size_t cut = 0, last = 0; cut <= n; cut++) {
        size_t events = read_bytes(bytes, cut);
        assert_true(events >= last);
        last = events;
    }
    srand(1);
    for (int i = 0; i < 3000; i++) {
        size_t at = (size_t)rand() % n;
        unsigned char was = bytes[at];
        bytes[at] = (unsigned char)rand();
        assert_true(read_bytes(bytes, n) <= 4);
        bytes[at] = was;
    }
    buf_free(&file);
}

static void one_that_is_being_written_is_not_removed(void **state)
{
    (void)state;
    char **names, *hosts[] = {(char[]){"a"}};
    const struct record_run run = {.descriptor = &d, .type = "w", .hosts = hosts, .count = 1};
    struct record *r;
    size_t count;
    records_prune(0);
    assert_int_equal(record_open(&r, &run, NULL), 0);
    write_one();
    records_prune(0);
    assert_int_equal(records_list(&names, &count, NULL), 0);
    assert_int_equal(count, 1);
    records_list_free(names, count);
    record_close(r);
    records_prune(0);
    assert_int_equal(records_list(&names, &count, NULL), 0);
    assert_int_equal(count, 0);
    records_list_free(names, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_in_comes_back),
        cmocka_unit_test(secrets_are_not_in_it),
        cmocka_unit_test(whatever_is_cut_off_or_changed_the_rest_is_read),
        cmocka_unit_test(one_that_is_being_written_is_not_removed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
