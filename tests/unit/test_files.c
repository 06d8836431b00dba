/* A transfer's two halves against an honest, a broken and a hostile other one: the stream as bytes in a file, the
 * target an empty directory. */
#include "files/giver.h"
#include "files/status.h"
#include "files/stream.h"
#include "files/taker.h"

#include "base/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <dirent.h>
#include <cmocka.h>

static char top[64];
static int warnings;

static void warn(void *user, const char *text) { (void)user, (void)text; warnings++; }
static void progress(void *user, uint64_t done, uint64_t total, const char *name) { (void)user, (void)done, (void)total, (void)name; }
static void file(void *user, const struct transferred *t) { (void)user, (void)t; }
static bool stopped(void *user) { (void)user; return false; }
static const struct observer observer = {.warn = warn, .progress = progress, .file = file, .stopped = stopped};

/* Into an empty directory with an empty target in it. */
static int set_up(void **state)
{
    (void)state;
    strcpy(top, "/tmp/test_files.XXXXXX");
    warnings = 0;
    return !mkdtemp(top) || chdir(top) || mkdir("target", 0755);
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") || tree_remove(top);
}

/* --- files --- */

static void write_file(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void assert_file(const char *path, const char *text)
{
    char bytes[256];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(bytes, text, (size_t)n);
}

static size_t names_in(const char *path)
{
    DIR *list = opendir(path);
    size_t n = 0;
    assert_non_null(list);
    for (struct dirent *d; (d = readdir(list));)
        n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
    closedir(list);
    return n;
}

/* --- streams --- */

static int memory(void)
{
    int fd = memfd_create("stream", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct stream *writer(void)
{
    struct stream *s = stream_new(-1, memory(), &observer);
    assert_non_null(s);
    return s;
}

static void put(struct stream *s, enum record_kind kind, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    assert_int_equal(stream_put(s, kind, bytes, n, NULL, 0, &err), 0);
}

static void put_start(struct stream *s, unsigned char flags)
{
    unsigned char head[] = "ssxfiles\1?";
    head[9] = flags;
    put(s, RECORD_START, head, 10);
}

static void put_entry(struct stream *s, enum record_kind kind, const char *name, uint64_t size, const char *target)
{
    struct entry e = {.mode = 0640, .mtime = 1000000000, .nanoseconds = 500000000, .size = size};
    struct ssx_error err = {0};
    memcpy(e.name, name, strlen(name) + 1);
    memcpy(e.target, target, strlen(target) + 1);
    assert_int_equal(stream_put_entry(s, kind, &e, &err), 0);
}

static void put_body(struct stream *s, const char *text)
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 sha;
    sha256_start(&sha);
    sha256_add(&sha, text, strlen(text));
    sha256_digest(&sha, digest);
    put(s, RECORD_BODY, "\0\0\0\0\0\0\0", 8);
    if (*text)
        put(s, RECORD_CHUNK, text, strlen(text));
    put(s, RECORD_TOTAL, digest, sizeof digest);
}

static void put_end(struct stream *s) { put(s, RECORD_END, "\0\0\0\0\0\0\0", 8); }

/* What was written, as bytes that the caller frees. */
static unsigned char *finished(struct stream *s, size_t *n)
{
    struct ssx_error err = {0};
    struct stat st;
    assert_int_equal(stream_flush(s, &err), 0);
    assert_int_equal(status_of(s->out, &st), 0);
    *n = (size_t)st.st_size;
    unsigned char *bytes = malloc(*n + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(s->out, bytes, *n, 0), *n);
    close(s->out);
    free(s);
    return bytes;
}

static const struct asked *asked; /* by the taker, of the giver */

static int take_bytes(const void *bytes, size_t n, const char *path, struct tally *tally, struct ssx_error *err)
{
    int in = memory(), out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(in, bytes, n), n);
    lseek(in, 0, SEEK_SET);
    int rc = taker_run(in, out, path, asked, &observer, tally, err);
    close(in);
    close(out);
    return rc;
}

static int take(struct stream *s, const char *path, struct ssx_error *err)
{
    struct tally tally;
    size_t n;
    unsigned char *bytes = finished(s, &n);
    memset(err, 0, sizeof *err);
    int rc = take_bytes(bytes, n, path, &tally, err);
    free(bytes);
    return rc;
}

static void assert_refused(struct stream *s, const char *words)
{
    struct ssx_error err;
    assert_int_equal(take(s, "target", &err), -1);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, words);
}

/* A tree: two files, a directory, a link. */
static struct stream *honest(void)
{
    struct stream *s = writer();
    put_start(s, START_DIRECTORY);
    put_entry(s, RECORD_FILE, "one", 3, "");
    put_entry(s, RECORD_DIRECTORY, "d", 0, "");
    put_entry(s, RECORD_FILE, "two", 0, "");
    put_entry(s, RECORD_LINK, "l", 0, "../one");
    put(s, RECORD_UP, "", 0);
    put(s, RECORD_ASK, "", 0);
    put_body(s, "abc");
    put_body(s, "");
    put_end(s);
    return s;
}

/* --- the stream itself --- */

static void test_golden_bytes(void **state)
{
    static const unsigned char golden[] =
        "S\0\0\0\12ssxfiles\1\1"
        "F\0\0\0\34\0\0\1\240\0\0\0\0\73\232\312\0\35\315\145\0\0\0\0\0\0\0\0\3" "name"
        "L\0\0\0\26\0\0\1\240\0\0\0\0\73\232\312\0\35\315\145\0\1" "l" "goal"
        "E\0\0\0\10\0\0\0\0\0\0\0";
    struct stream *s = writer();
    size_t n;
    (void)state;
    put_start(s, START_DIRECTORY);
    put_entry(s, RECORD_FILE, "name", 3, "");
    put_entry(s, RECORD_LINK, "l", 0, "goal");
    put_end(s);
    unsigned char *bytes = finished(s, &n);
    assert_int_equal(n, sizeof golden);
    assert_memory_equal(bytes, golden, n);
    free(bytes);
}

static void test_what_comes_is_put_in_place(void **state)
{
    struct ssx_error err;
    struct stat st;
    char goal[16] = "";
    (void)state;
    assert_int_equal(take(honest(), "target", &err), 0);
    assert_file("target/one", "abc");
    assert_file("target/d/two", "");
    assert_int_equal(readlink("target/d/l", goal, sizeof goal - 1), 6);
    assert_string_equal(goal, "../one");
    assert_int_equal(stat("target/one", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    assert_int_equal(st.st_mtim.tv_nsec, 500000000);
    assert_int_equal(stat("target/d", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    assert_int_equal(names_in("target"), 2);
}

static void test_every_truncation_fails_and_leaves_no_half_file(void **state)
{
    size_t n;
    struct stat st;
    unsigned char *bytes = finished(honest(), &n);
    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        struct ssx_error err = {0};
        struct tally tally;
        assert_int_equal(take_bytes(bytes, cut, "target", &tally, &err), -1);
        assert_true(err.code && *err.text);
        if (stat("target/one", &st) == 0)
            assert_file("target/one", "abc");
        chmod("target/d", 0700);
        assert_int_equal(tree_remove("target"), 0);
        assert_int_equal(mkdir("target", 0755), 0);
    }
    free(bytes);
}

static void test_no_mutation_reaches_beyond_the_target(void **state)
{
    size_t n;
    unsigned char *bytes = finished(honest(), &n), *changed = malloc(n);
    (void)state;
    assert_non_null(changed);
    for (unsigned round = 0; round < 2000; round++) {
        struct ssx_error err = {0};
        struct tally tally;
        unsigned x = round * 2654435761u;
        memcpy(changed, bytes, n);
        for (unsigned i = 0; i <= round % 3; i++, x = x * 1664525 + 1013904223)
            changed[(x >> 8) % n] = (unsigned char)(x & 1 ? (int)(x >> 24) : "./\0SDUFLABCTXE"[(x >> 24) % 15]);
        take_bytes(changed, n, "target", &tally, &err);
        assert_int_equal(names_in("."), 1);
        chmod("target/d", 0700);
        assert_int_equal(tree_remove("target"), 0);
        assert_int_equal(mkdir("target", 0755), 0);
    }
    free(changed);
    free(bytes);
}

/* --- a hostile giver --- */

static void test_names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const names[] = {"..", ".", "a/b", "/etc", "../x", "d/"};
    static const enum record_kind kinds[] = {RECORD_FILE, RECORD_DIRECTORY, RECORD_LINK};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < 3; k++) {
            struct stream *s = writer();
            put_start(s, START_DIRECTORY);
            put_entry(s, kinds[k], names[i], 0, "x");
            assert_refused(s, "can't be the name of a file");
        }
    assert_int_equal(names_in("target"), 0);
}

static void test_empty_and_cut_names_are_refused(void **state)
{
    (void)state;
    for (int nul = 0; nul < 2; nul++) {
        struct stream *s = writer();
        put_start(s, START_DIRECTORY);
        put(s, RECORD_DIRECTORY, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a\0b", nul ? 19 : 16);
        assert_refused(s, "malformed");
    }
}

static void test_a_link_is_not_walked_through(void **state)
{
    struct stream *s = writer();
    (void)state;
    mkdir("outside", 0755);
    put_start(s, START_DIRECTORY);
    put_entry(s, RECORD_LINK, "x", 0, "../outside");
    put_entry(s, RECORD_DIRECTORY, "x", 0, "");
    put_entry(s, RECORD_FILE, "evil", 0, "");
    assert_refused(s, "is there, and is no directory");
    assert_int_equal(names_in("outside"), 0);
}

static void test_a_link_in_a_file_s_place_is_replaced_not_followed(void **state)
{
    struct ssx_error err;
    (void)state;
    write_file("victim", "safe", 4);
    assert_int_equal(symlink("../victim", "target/one"), 0);
    assert_int_equal(take(honest(), "target", &err), 0);
    assert_file("victim", "safe");
    assert_file("target/one", "abc");
}

/* One thing comes for these paths. */
static void take_asked(const char *const *paths, size_t count, const char *target, enum record_kind kind,
                       const char *name, const char *words)
{
    const struct asked these = {paths, count};
    struct ssx_error err;
    struct stream *s = writer();
    put_start(s, kind == RECORD_DIRECTORY ? START_DIRECTORY : 0);
    put_entry(s, kind, name, 0, kind == RECORD_LINK ? "../outside" : "");
    if (kind == RECORD_DIRECTORY)
        put(s, RECORD_UP, "", 0);
    if (kind == RECORD_FILE) {
        put(s, RECORD_ASK, "", 0);
        put_body(s, "");
    }
    put_end(s);
    asked = &these;
    int rc = take(s, target, &err);
    asked = NULL;
    assert_int_equal(rc, words ? -1 : 0);
    if (words && !strstr(err.text, words))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, words);
}

static void test_only_what_was_asked_for_is_put_at_the_top(void **state)
{
    static const char *const file[] = {"logs/a.txt"}, *const both[] = {"a.txt", "/var/d"}, *const contents[] = {"d/"},
                             *const home[] = {"~"};
    (void)state;
    take_asked(file, 1, "target", RECORD_FILE, ".bashrc", "\".bashrc\" was not asked for");
    take_asked(file, 1, "target", RECORD_DIRECTORY, ".ssh", "\".ssh\" was not asked for");
    take_asked(file, 1, "target/", RECORD_LINK, "a.txt", "a link \"a.txt\" was not asked for");
    take_asked(file, 1, "new", RECORD_LINK, "a.txt", "a link \"a.txt\" was not asked for"); /* the next transfer would write through it */
    assert_int_equal(names_in("target"), 0);
    take_asked(file, 1, "target", RECORD_FILE, "a.txt", NULL);
    take_asked(both, 2, "target", RECORD_DIRECTORY, "d", NULL);
    take_asked(contents, 1, "target", RECORD_LINK, "any", NULL);
    take_asked(home, 1, "target", RECORD_DIRECTORY, "root", NULL);
    assert_int_equal(names_in("target"), 4);
}

static void test_a_way_out_of_the_target_is_refused(void **state)
{
    struct stream *s = writer();
    (void)state;
    put_start(s, START_DIRECTORY);
    put(s, RECORD_UP, "", 0);
    assert_refused(s, "out of the target");
}

static void test_depth_and_batch_are_bounded(void **state)
{
    struct stream *deep = writer(), *wide = writer(), *many = writer();
    (void)state;
    put_start(deep, START_DIRECTORY);
    for (int i = 0; i <= DEPTH_MAX; i++)
        put_entry(deep, RECORD_DIRECTORY, "d", 0, "");
    assert_refused(deep, "too many directories");
    put_start(wide, START_DIRECTORY);
    for (int i = 0; i <= BATCH_DIRECTORIES; i++) {
        put_entry(wide, RECORD_DIRECTORY, "d", 0, "");
        put(wide, RECORD_UP, "", 0);
    }
    assert_refused(wide, "too many directories");
    put_start(many, START_DIRECTORY);
    for (int i = 0; i <= BATCH_FILES; i++)
        put_entry(many, RECORD_FILE, "f", 0, "");
    assert_refused(many, "too many files");
}

static void test_set_id_bits_do_not_travel(void **state)
{
    struct entry e = {.mode = 07755, .name = "f"};
    struct ssx_error err = {0};
    struct stat st;
    struct stream *s = writer();
    (void)state;
    put_start(s, START_DIRECTORY);
    assert_int_equal(stream_put_entry(s, RECORD_FILE, &e, &err), 0);
    put(s, RECORD_ASK, "", 0);
    put_body(s, "");
    put_end(s);
    assert_int_equal(take(s, "target", &err), 0);
    assert_int_equal(stat("target/f", &st), 0);
    assert_int_equal(st.st_mode & 07777, 01755);
}

/* A file with this size announced, these bytes and this digest's first byte changed, over one that is there. */
static void assert_file_refused(uint64_t size, const char *text, bool spoil, const char *words)
{
    struct stream *s = writer();
    size_t n;
    struct ssx_error err = {0};
    struct tally tally;
    write_file("target/f", "old", 3);
    put_start(s, START_DIRECTORY);
    put_entry(s, RECORD_FILE, "f", size, "");
    put(s, RECORD_ASK, "", 0);
    put_body(s, text);
    put_end(s);
    unsigned char *bytes = finished(s, &n);
    if (spoil)
        bytes[n - 13 - SHA256_SIZE] ^= 1;
    assert_int_equal(take_bytes(bytes, n, "target", &tally, &err), -1);
    free(bytes);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, words);
    assert_file("target/f", "old");
    assert_int_equal(names_in("target"), 1);
}

static void test_a_wrong_digest_leaves_the_place_as_it_was(void **state) { (void)state; assert_file_refused(3, "new", true, "digest"); }
static void test_too_many_bytes_are_refused(void **state) { (void)state; assert_file_refused(2, "new", false, "more bytes"); }
static void test_too_few_bytes_are_refused(void **state) { (void)state; assert_file_refused(4, "new", false, "fewer bytes"); }

static void test_a_partial_file_that_is_a_link_is_not_written_through(void **state)
{
    struct ssx_error err;
    struct stream *s = writer();
    char partial[64] = "";
    (void)state;
    put_start(s, START_DIRECTORY); /* cut in the middle: the partial file's name comes to light */
    put_entry(s, RECORD_FILE, "f", 6, "");
    put(s, RECORD_ASK, "", 0);
    put(s, RECORD_BODY, "\0\0\0\0\0\0\0", 8);
    put(s, RECORD_CHUNK, "abc", 3);
    assert_int_equal(take(s, "target", &err), -1);
    DIR *list = opendir("target");
    for (struct dirent *d; (d = readdir(list));)
        if (strncmp(d->d_name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0)
            snprintf(partial, sizeof partial, "target/%.*s", 50, d->d_name);
    closedir(list);
    assert_file(partial, "abc");
    write_file("victim", "safe", 4);
    assert_int_equal(unlink(partial), 0);
    assert_int_equal(symlink("../victim", partial), 0);
    s = writer();
    put_start(s, START_DIRECTORY);
    put_entry(s, RECORD_FILE, "f", 6, "");
    put(s, RECORD_ASK, "", 0);
    put_body(s, "abcdef");
    put_end(s);
    assert_int_equal(take(s, "target", &err), -1);
    assert_file("victim", "safe");
}

/* --- a hostile taker --- */

/* Gives the file "f" ("abcdef") to somebody who answers so; returns what giver_run does. */
static int give_to(struct stream *answers, struct ssx_error *err)
{
    int pair[2], ignored = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const char *const paths[] = {"f"};
    struct tally tally;
    size_t n;
    unsigned char *bytes = finished(answers, &n);
    assert_int_equal(pipe(pair), 0);
    write_file("f", "abcdef", 6);
    assert_int_equal(write(pair[1], bytes, n), n);
    close(pair[1]);
    free(bytes);
    int rc = giver_run(pair[0], ignored, paths, 1, &observer, &tally, err);
    close(pair[0]);
    close(ignored);
    return rc;
}

static void test_answers_about_what_was_not_asked_are_refused(void **state)
{
    static const struct { uint32_t index; uint64_t have; } lies[] = {{1, 3}, {0, 7}, {UINT32_MAX, 1}, {0, UINT64_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        unsigned char have[12 + SHA256_SIZE] = {0};
        struct ssx_error err = {0};
        struct stream *s = writer();
        put_u64(put_u32(have, lies[i].index), lies[i].have);
        put(s, RECORD_HAVE, have, sizeof have);
        assert_int_equal(give_to(s, &err), -1);
        assert_non_null(strstr(err.text, "not a stream of files"));
    }
}

static void test_a_taker_s_reason_is_heard(void **state)
{
    struct ssx_error err = {0};
    struct stream *s = writer();
    (void)state;
    put(s, RECORD_FAILED, "no room", 7);
    assert_int_equal(give_to(s, &err), -1);
    assert_non_null(strstr(err.text, "no room"));
}

/* --- both halves --- */

/* Returns what the taker did; both must agree on how it went. */
static struct tally transfer(const char *from, const char *to, int expected)
{
    int ends[2], status;
    const char *const paths[] = {from};
    struct tally tally = {0};
    struct ssx_error err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        _exit(giver_run(ends[1], ends[1], paths, 1, &observer, &tally, &err) ? 1 : 0);
    }
    close(ends[1]);
    int rc = taker_run(ends[0], ends[0], to, NULL, &observer, &tally, &err);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (rc != expected)
        fail_msg("%s", err.text);
    assert_int_equal(WEXITSTATUS(status), expected ? 1 : 0);
    return tally;
}

static void test_holes_stay_holes(void **state)
{
    struct stat st;
    (void)state;
    write_file("f", "begin", 5);
    int fd = open("f", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "end", 3, 8 << 20), 3);
    assert_int_equal(ftruncate(fd, 16 << 20), 0);
    close(fd);
    assert_int_equal(transfer("f", "copy", 0).bytes, 16 << 20);
    assert_int_equal(stat("copy", &st), 0);
    assert_int_equal(st.st_size, 16 << 20);
    assert_true(st.st_blocks < 2048);
    assert_int_equal(system("cmp -s f copy"), 0);
}

static void test_what_is_there_does_not_travel(void **state)
{
    (void)state;
    write_file("f", "abcdef", 6);
    assert_int_equal(transfer("f", "copy", 0).files, 1);
    struct tally again = transfer("f", "copy", 0);
    assert_int_equal(again.skipped, 1);
    assert_int_equal(again.bytes, 0);
    assert_int_equal(again.kept, 6);
}

static void test_the_same_size_and_time_are_not_believed(void **state)
{
    struct stat st;
    (void)state;
    write_file("f", "abcdef", 6);
    write_file("copy", "ABCDEF", 6);
    assert_int_equal(stat("f", &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, "copy", times, 0), 0);
    assert_int_equal(transfer("f", "copy", 0).bytes, 6);
    assert_file("copy", "abcdef");
}

static void test_more_files_than_a_batch(void **state)
{
    char path[32];
    (void)state;
    mkdir("src", 0755);
    for (int i = 0; i < 2 * BATCH_FILES + 3; i++) {
        snprintf(path, sizeof path, "src/%d", i);
        write_file(path, path, strlen(path));
        snprintf(path, sizeof path, "src/d%d", i);
        mkdir(path, 0755);
    }
    struct tally t = transfer("src", "target", 0);
    assert_int_equal(t.files, 2 * BATCH_FILES + 3);
    assert_int_equal(t.directories, 2 * BATCH_FILES + 4);
    assert_int_equal(system("diff -r src target/src"), 0);
}

static void test_a_directory_in_the_place_of_a_file_stays(void **state)
{
    (void)state;
    write_file("f", "abc", 3);
    assert_int_equal(mkdir("target/f", 0755), 0);
    transfer("f", "target", -1);
    assert_int_equal(names_in("target"), 1);
    assert_int_equal(names_in("target/f"), 0);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_golden_bytes),
        T(test_what_comes_is_put_in_place),
        T(test_every_truncation_fails_and_leaves_no_half_file),
        T(test_no_mutation_reaches_beyond_the_target),
        T(test_names_that_lead_elsewhere_are_refused),
        T(test_empty_and_cut_names_are_refused),
        T(test_a_link_is_not_walked_through),
        T(test_a_link_in_a_file_s_place_is_replaced_not_followed),
        T(test_only_what_was_asked_for_is_put_at_the_top), T(test_a_way_out_of_the_target_is_refused),
        T(test_depth_and_batch_are_bounded),
        T(test_set_id_bits_do_not_travel),
        T(test_a_wrong_digest_leaves_the_place_as_it_was),
        T(test_too_many_bytes_are_refused),
        T(test_too_few_bytes_are_refused),
        T(test_a_partial_file_that_is_a_link_is_not_written_through),
        T(test_answers_about_what_was_not_asked_are_refused),
        T(test_a_taker_s_reason_is_heard),
        T(test_holes_stay_holes),
        T(test_what_is_there_does_not_travel),
        T(test_the_same_size_and_time_are_not_believed),
        T(test_more_files_than_a_batch),
        T(test_a_directory_in_the_place_of_a_file_stays),
    };
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
