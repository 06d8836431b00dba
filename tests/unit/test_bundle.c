/* A bundle's file: the same content gives the same bytes; whatever is cut, flipped, added, put elsewhere or blown up is
 * refused in bounded memory; and nothing that was refused was taken for an object. */
#include "bundle/archive.h"
#include "bundle/inspect.h"
#include "bundle/zstream.h"
#include "elf_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static char path[32]; /* of a file in memory: these tests write it tens of thousands of times */
static struct manifest manifest;
static struct buf text, objects[2];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("bundle", 0));
    snprintf(manifest.name, sizeof manifest.name, "web");
    snprintf(manifest.version, sizeof manifest.version, "1.4");
    for (unsigned i = 0; i < 2; i++) {
        struct manifest_type t = {.version = "1.0", .schema = "0123456789abcdef"};
        struct variant v = {.arch = "x86_64", .libc = "any"};
        snprintf(t.name, sizeof t.name, "t%u", i);
        for (unsigned n = 0; n < 700 + 70000 * i; n++) /* less than a block too much, and more than a piece */
            buf_add(&objects[i], &(unsigned char){(unsigned char)(n * 7 >> (2 + i))}, 1);
        v.size = buf_length(&objects[i]);
        digest_of(&v.digest, buf_data(&objects[i]), v.size);
        manifest_add(&manifest, &t, &v, NULL);
    }
    return manifest_format(&text, &manifest, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    manifest_dispose(&manifest);
    buf_free(&text);
    buf_free(&objects[0]);
    buf_free(&objects[1]);
    return 0;
}

static void put(const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
}

static void get(struct buf *out)
{
    unsigned char block[4096];
    int fd = open(path, O_RDONLY);
    for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;)
        buf_add(out, block, (size_t)n);
    close(fd);
}

/* Writes the bundle, its objects in pieces of this size. */
static int make(const struct buf *signature, size_t piece, size_t skip, struct ssx_error *err)
{
    struct bundle_writer *w;
    int fd = open(path, O_WRONLY | O_TRUNC), rc = bundle_writer_open(&w, fd, &manifest, &text, signature, err);
    for (size_t i = 0; i < 2 && rc == 0; i++)
        for (size_t at = 0, n; at < buf_length(&objects[i]) - (i ? skip : 0) && rc == 0; at += n) {
            n = buf_length(&objects[i]) - at < piece ? buf_length(&objects[i]) - at : piece;
            rc = bundle_writer_add(w, buf_data(&objects[i]) + at, n, err);
        }
    if (rc == 0)
        rc = bundle_writer_end(w, err);
    bundle_writer_close(w);
    close(fd);
    return rc;
}

/* Reads it to its end. Every object that is handed over as sound is compared with ours. Returns 0 or -1. */
static int read_all(struct ssx_error *err)
{
    struct bundle *b;
    const struct variant *v;
    int rc = bundle_open(&b, path, err);
    if (rc)
        return rc;
    for (size_t i = 0; (rc = bundle_next(b, &v, err)) > 0; i++) {
        struct buf got = {0};
        const void *piece;
        ptrdiff_t n;
        while ((n = bundle_read(b, &piece, err)) > 0)
            buf_add(&got, piece, (size_t)n);
        if (n == 0) {
            struct digest is;
            digest_of(&is, buf_data(&got), buf_length(&got));
            assert_true(digest_equal(&is, &v->digest));
        }
        buf_free(&got);
        if (n < 0) {
            rc = -1;
            break;
        }
    }
    bundle_close(b);
    return rc;
}

static void refused(const char *part)
{
    struct ssx_error err = {0};
    assert_int_equal(read_all(&err), -1);
    if (err.code != SSX_ERROR_REFUSED || !strstr(err.text, part) || strncmp(err.text, path, strlen(path)))
        fail_msg("\"%s\" (%d) doesn't say \"%s\"", err.text, err.code, part);
}

/* --- tars made by hand --- */

static void tar_header(struct buf *out, const char *name, char type, const char *size, const char *link)
{
    char h[512] = "";
    unsigned sum = 0;
    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 108, 8, "%07o", 0);
    snprintf(h + 116, 8, "%07o", 0);
    memcpy(h + 124, size, strlen(size));
    snprintf(h + 136, 12, "%011o", 0);
    memset(h + 148, ' ', 8);
    h[156] = type;
    snprintf(h + 157, 100, "%s", link);
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof h; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    buf_add(out, h, sizeof h);
}

static void tar_bytes(struct buf *out, const void *bytes, size_t n)
{
    static const char zeros[512];
    buf_add(out, bytes, n);
    buf_add(out, zeros, (512 - n % 512) % 512);
}

static void tar_member(struct buf *out, const char *name, const struct buf *bytes)
{
    char size[16];
    snprintf(size, sizeof size, "%011zo", buf_length(bytes));
    tar_header(out, name, '0', size, "");
    tar_bytes(out, buf_data(bytes), buf_length(bytes));
}

static const char *object_name(size_t i)
{
    static char name[2][sizeof BUNDLE_OBJECTS + DIGEST_HEX];
    strcpy(name[i], BUNDLE_OBJECTS);
    digest_hex(name[i] + strlen(BUNDLE_OBJECTS), &manifest.variants[i].digest);
    return name[i];
}

static void tar_object(struct buf *out, size_t i) { tar_member(out, object_name(i), &objects[i]); }

/* Compresses a tar into the file; its end is added. */
static void pack(struct buf *tar)
{
    static const char zeros[1024];
    buf_add(tar, zeros, sizeof zeros);
    size_t room = ZSTD_compressBound(buf_length(tar));
    void *packed = malloc(room);
    size_t n = ZSTD_compress(packed, room, buf_data(tar), buf_length(tar), 1); /* a writer of ours takes 3 ms to begin */
    assert_false(ZSTD_isError(n));
    put(packed, n);
    free(packed);
    buf_free(tar);
}

/* --- tests --- */

static void the_same_content_gives_the_same_bytes(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 511, 4096, 100000};
    struct buf first = {0}, other = {0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(make(&(struct buf){0}, pieces[i], 0, NULL), 0);
        assert_int_equal(read_all(NULL), 0);
        get(i ? &other : &first);
        if (i) {
            assert_int_equal(buf_length(&other), buf_length(&first));
            assert_memory_equal(buf_data(&other), buf_data(&first), buf_length(&first));
        }
        buf_free(&other);
    }
    buf_free(&first);
}

static void a_signature_stands_beside_the_manifest(void **state)
{
    (void)state;
    struct buf signature = {0};
    struct bundle *b;
    buf_add_text(&signature, "a signature\n");
    assert_int_equal(make(&signature, 4096, 0, NULL), 0);
    assert_int_equal(read_all(NULL), 0);
    assert_int_equal(bundle_open(&b, path, NULL), 0);
    assert_int_equal(buf_length(bundle_signature(b)), buf_length(&signature));
    assert_memory_equal(buf_data(bundle_signature(b)), buf_data(&signature), buf_length(&signature));
    assert_int_equal(buf_length(bundle_manifest_text(b)), buf_length(&text));
    bundle_close(b); /* not read to its end */
    buf_free(&signature);
}

static void objects_may_be_passed_over(void **state)
{
    (void)state;
    struct bundle *b;
    const struct variant *v;
    assert_int_equal(make(&(struct buf){0}, 4096, 0, NULL), 0);
    assert_int_equal(bundle_open(&b, path, NULL), 0);
    assert_int_equal(bundle_next(b, &v, NULL), 1);
    assert_int_equal(bundle_next(b, &v, NULL), 1);
    assert_ptr_equal(v, &bundle_manifest(b)->variants[1]);
    assert_int_equal(bundle_next(b, &v, NULL), 0);
    bundle_close(b);
}

static void a_writer_takes_only_what_the_manifest_says(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    assert_int_equal(make(&(struct buf){0}, 4096, 1, &err), 0); /* the last piece is whole */
    assert_int_equal(make(&(struct buf){0}, 1, 1, &err), -1);
    assert_non_null(strstr(err.text, "shorter"));
    memset(&err, 0, sizeof err);
    buf_data(&objects[1])[5] ^= 1;
    assert_int_equal(make(&(struct buf){0}, 4096, 0, &err), -1);
    assert_non_null(strstr(err.text, "not what its digest says"));
    buf_data(&objects[1])[5] ^= 1;
}

static void a_bundle_that_is_cut_short_is_refused_wherever(void **state)
{
    (void)state;
    struct buf whole = {0};
    assert_int_equal(make(&(struct buf){0}, 4096, 0, NULL), 0);
    get(&whole);
    for (size_t n = 0; n < buf_length(&whole); n += n < 256 ? 1 : 5) {
        put(buf_data(&whole), n);
        refused("");
    }
    put(buf_data(&whole), buf_length(&whole));
    assert_int_equal(read_all(NULL), 0);
    buf_add(&whole, "x", 1);
    put(buf_data(&whole), buf_length(&whole));
    refused("something follows its end");
    buf_free(&whole);
}

static void a_bit_that_is_flipped_is_found_wherever(void **state)
{
    (void)state;
    struct buf whole = {0};
    assert_int_equal(make(&(struct buf){0}, 4096, 0, NULL), 0);
    get(&whole);
    for (size_t at = 0; at < buf_length(&whole); at += at < 256 ? 1 : 2)
        for (unsigned bit = 1; bit < 256; bit <<= 1 + at % 7) {
            buf_data(&whole)[at] ^= (unsigned char)bit;
            put(buf_data(&whole), buf_length(&whole));
            read_all(NULL); /* a bit that zstd doesn't use may say nothing: then all is as it was */
            buf_data(&whole)[at] ^= (unsigned char)bit;
        }
    buf_free(&whole);
}

/* The same below zstd, whose checksum would find all of that. */
static void a_byte_of_the_tar_that_is_changed_is_found_or_says_nothing(void **state)
{
    (void)state;
    struct buf plain = {0};
    tar_member(&plain, BUNDLE_MANIFEST, &text);
    tar_object(&plain, 0);
    tar_object(&plain, 1);
    for (size_t at = 0; at < buf_length(&plain); at += at < 2048 ? 1 : 101)
        for (unsigned bit = 1; bit < 256; bit <<= 3) {
            struct buf tar = {0};
            struct ssx_error err = {0};
            buf_add(&tar, buf_data(&plain), buf_length(&plain));
            buf_data(&tar)[at] ^= (unsigned char)bit;
            pack(&tar);
            if (read_all(&err) == 0)
                continue; /* padding; read_all has compared the objects */
            assert_int_equal(err.code, SSX_ERROR_REFUSED);
        }
    buf_free(&plain);
}

static void a_manifest_that_lies_is_found_out(void **state)
{
    (void)state;
    struct buf tar = {0}, lie = {0};
    tar_member(&tar, BUNDLE_MANIFEST, &text);
    buf_data(&objects[0])[3] ^= 1; /* another object under that digest */
    tar_object(&tar, 0);
    buf_data(&objects[0])[3] ^= 1;
    tar_object(&tar, 1);
    pack(&tar);
    refused("is not what its digest says");
    buf_printf(&lie, "%.*s", (int)buf_length(&text), (char *)buf_data(&text));
    char *size = memmem(buf_data(&lie), buf_length(&lie), " 700 ", 5);
    memcpy(size, " 701 ", 5);
    tar_member(&tar, BUNDLE_MANIFEST, &lie);
    tar_object(&tar, 0);
    tar_object(&tar, 1);
    pack(&tar);
    refused("has 700 bytes, its manifest says 701");
    buf_free(&lie);
}

static void members_are_those_of_the_manifest_in_its_order(void **state)
{
    (void)state;
    static const struct { const char *order, *part; } cases[] = {
        {"", "it has no manifest"}, {"0", "where manifest should be"}, {"0m1", "where manifest should be"},
            {"m", "cut short: it has no objects/"}, {"m0", "cut short: it has no objects/"},
        {"m10", "should be"}, {"m00", "should be"}, {"m011", "which its manifest doesn't name"},
            {"m01m", "\"manifest\", which its manifest doesn't name"}, {"m0s1", "\"manifest.sig\" where"},
        {"m01s", "\"manifest.sig\", which"}, {"mss01", "\"manifest.sig\" where"}, {"mm01", "\"manifest\" where"}, {"m01x", "\"x\", which"},
            {"mx01", "\"x\" where"}, {"ms01", NULL}, {"m01", NULL},
    };
    struct buf some = {0};
    buf_add_text(&some, "something\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf tar = {0};
        for (const char *c = cases[i].order; *c; c++)
            if (*c == '0' || *c == '1')
                tar_object(&tar, (size_t)(*c - '0'));
            else
                tar_member(&tar, *c == 'm' ? BUNDLE_MANIFEST : *c == 's' ? BUNDLE_SIGNATURE : "x", *c == 'm' ? &text : &some);
        pack(&tar);
        if (cases[i].part)
            refused(cases[i].part);
        else
            assert_int_equal(read_all(NULL), 0);
    }
    buf_free(&some);
}

static void no_path_leads_elsewhere(void **state)
{
    (void)state;
    static const char *const names[] = {"../manifest", "/etc/passwd", "./manifest", "manifest/", "objects/../../x", "manifest\033[2J", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf tar = {0};
        tar_member(&tar, names[i], &text);
        tar_object(&tar, 0);
        tar_object(&tar, 1);
        pack(&tar);
        refused("");
    }
}

static void only_plain_files_count(void **state)
{
    (void)state;
    static const char types[] = "123456x";
    for (const char *type = types; *type; type++) {
        struct buf tar = {0};
        tar_member(&tar, BUNDLE_MANIFEST, &text);
        tar_header(&tar, object_name(0), *type, "00000001274", "/etc/passwd");
        tar_bytes(&tar, buf_data(&objects[0]), buf_length(&objects[0]));
        tar_object(&tar, 1);
        pack(&tar);
        refused("");
    }
}

static void sizes_that_lie_are_refused(void **state)
{
    (void)state;
    static const char *const sizes[] = {"77777777777", "00000000000", "00000001273", "00000001275",
        "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "-1"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int object = 0; object < 2; object++) {
            struct buf tar = {0};
            if (object)
                tar_member(&tar, BUNDLE_MANIFEST, &text);
            tar_header(&tar, object ? object_name(0) : BUNDLE_MANIFEST, '0', sizes[i], "");
            tar_bytes(&tar, buf_data(object ? &objects[0] : &text), buf_length(object ? &objects[0] : &text));
            pack(&tar);
            refused("");
        }
}

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* Writes n bytes of a filling into a frame, behind a head. */
static void bomb(struct buf *head, uint64_t n, int fill)
{
    static unsigned char block[1 << 20];
    struct zwriter w;
    int fd = open(path, O_WRONLY | O_TRUNC);
    memset(block, fill, sizeof block);
    assert_int_equal(zwriter_open(&w, fd, NULL), 0);
    ZSTD_CCtx_setParameter(w.ctx, ZSTD_c_compressionLevel, 1);
    assert_int_equal(zwriter_add(&w, buf_data(head), buf_length(head), NULL), 0);
    for (; n; n -= sizeof block)
        assert_int_equal(zwriter_add(&w, block, sizeof block, NULL), 0);
    assert_int_equal(zwriter_end(&w, NULL), 0);
    zwriter_close(&w);
    close(fd);
    buf_free(head);
}

static void what_unpacks_without_end_is_stopped(void **state)
{
    (void)state;
    long before = peak_kib();
    struct buf head = {0};
    bomb(&head, 1u << 30, 0); /* 1 GiB of zeros, in 33 KiB */
    refused("");
    tar_header(&head, BUNDLE_MANIFEST, '0', "10000000000", "");
    bomb(&head, 1u << 30, '\n');
    refused("may have 1 to");
    tar_member(&head, BUNDLE_MANIFEST, &text);
    tar_object(&head, 0);
    tar_object(&head, 1);
    bomb(&head, 1u << 30, 0);
    refused("unpacks to more than it should");
    for (unsigned i = 0; i < 3000; i++) /* headers of extensions, without end */
        tar_header(&head, "x", 'x', "00000000000", "");
    pack(&head);
    refused("");
    assert_in_range(peak_kib() - before, 0, 64 << 10);
}

/* The frame may ask for a window; how large a one is ours to say. */
static void a_window_larger_than_ours_is_refused(void **state)
{
    (void)state;
    static unsigned char block[1 << 20];
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    size_t size = ZSTD_compressBound(sizeof block);
    void *out = malloc(size);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 27);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
    ZSTD_outBuffer output = {out, size, 0};
    ZSTD_inBuffer input = {block, sizeof block, 0};
    ZSTD_compressStream2(ctx, &output, &input, ZSTD_e_continue); /* not knowing yet how much will come */
    while (ZSTD_compressStream2(ctx, &output, &input, ZSTD_e_end))
        ;
    put(out, output.pos);
    refused("zstd");
    ZSTD_freeCCtx(ctx);
    free(out);
}

static void what_is_no_bundle_says_so(void **state)
{
    (void)state;
    put("\x7f" "ELF, or anything", 16);
    refused("not compressed with zstd");
    put("", 0);
    refused("cut short");
    struct buf tar = {0};
    buf_add_text(&tar, "this is text and no tar, however far one reads in it; it goes on for some time, and then it ends");
    pack(&tar);
    refused("");
}

/* --- what a plugin says of itself --- */

#define NOTE(type, version) "{\"struct\":\"nothing\"}\0{\"worker\":\"" type "\",\"version\":\"" version "\",\"abi\":[1,0],\"state\":\"nothing\",\"result\":\"nothing\",\"traits\":\"0\",\"doc\":\"\"}"

static int inspect(struct manifest_type *t, struct variant *v, struct elf_spec spec, struct ssx_error *err)
{
    struct buf image = {0};
    spec.symbols[0] = "run";
    spec.symbols[1] = "ssx_plugin";
    elf_make(&image, &spec);
    int rc = bundle_inspect(t, v, "x.so", buf_data(&image), buf_length(&image), err);
    buf_free(&image);
    return rc;
}

static void a_variant_is_described_by_its_plugin(void **state)
{
    (void)state;
    struct manifest_type t;
    struct variant v;
    struct ssx_error err = {0};
    static const char hello[] = NOTE("hello", "1.0"), odd[] = NOTE("hello", "one of many");
    assert_int_equal(inspect(&t, &v, (struct elf_spec){.note = hello, .note_size = sizeof hello, .version = "GLIBC_2.34",
        .machine = EM_AARCH64}, NULL), 0);
    assert_string_equal(t.name, "hello");
    assert_string_equal(t.version, "1.0");
    assert_int_equal(strlen(t.schema), 16);
    assert_string_equal(v.arch, "aarch64");
    assert_string_equal(v.libc, "glibc-2.34");
    assert_int_equal(inspect(&t, &v, (struct elf_spec){.note = hello, .note_size = sizeof hello, .needed = "libc.musl-x86_64.so.1"}, NULL),
                     0);
    assert_string_equal(v.libc, "musl");
    assert_int_equal(inspect(&t, &v, (struct elf_spec){.note = hello, .note_size = sizeof hello, .needed = "libc.so.6"}, NULL), 0);
    assert_string_equal(v.libc, "any");
    assert_int_equal(inspect(&t, &v, (struct elf_spec){.note = odd, .note_size = sizeof odd}, &err), -1);
    assert_non_null(strstr(err.text, "can't name its version \"one of many\""));
}

static void an_object_that_is_another_plugin_is_found_out(void **state)
{
    (void)state;
    static const char hello[] = NOTE("hello", "1.0"), other[] = NOTE("other", "1.0");
    struct manifest m = {.name = "web", .version = "1"};
    struct manifest_type t;
    struct variant v;
    struct buf image = {0};
    struct ssx_error err = {0};
    struct elf_spec spec = {.symbols = {"run", "ssx_plugin"}, .note = hello, .note_size = sizeof hello};
    assert_int_equal(inspect(&t, &v, spec, NULL) || manifest_add(&m, &t, &v, NULL), 0);
    elf_make(&image, &spec);
    assert_int_equal(bundle_check_object(&m, &m.variants[0], buf_data(&image), buf_length(&image), NULL), 0);
    buf_free(&image);
    spec.machine = EM_AARCH64;
    elf_make(&image, &spec);
    assert_int_equal(bundle_check_object(&m, &m.variants[0], buf_data(&image), buf_length(&image), &err), -1);
    assert_non_null(strstr(err.text, "its hello for x86_64 any is not that: it is hello 1.0"));
    buf_free(&image);
    spec = (struct elf_spec){.symbols = {"run", "ssx_plugin"}, .note = other, .note_size = sizeof other};
    elf_make(&image, &spec);
    assert_int_equal(bundle_check_object(&m, &m.variants[0], buf_data(&image), buf_length(&image), NULL), -1);
    buf_free(&image);
    manifest_dispose(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_content_gives_the_same_bytes),
        cmocka_unit_test(a_signature_stands_beside_the_manifest),
        cmocka_unit_test(objects_may_be_passed_over),
        cmocka_unit_test(a_writer_takes_only_what_the_manifest_says),
        cmocka_unit_test(a_bundle_that_is_cut_short_is_refused_wherever),
        cmocka_unit_test(a_bit_that_is_flipped_is_found_wherever),
        cmocka_unit_test(a_byte_of_the_tar_that_is_changed_is_found_or_says_nothing),
        cmocka_unit_test(a_manifest_that_lies_is_found_out),
        cmocka_unit_test(members_are_those_of_the_manifest_in_its_order),
        cmocka_unit_test(no_path_leads_elsewhere),
        cmocka_unit_test(only_plain_files_count),
        cmocka_unit_test(sizes_that_lie_are_refused),
        cmocka_unit_test(what_unpacks_without_end_is_stopped),
        cmocka_unit_test(a_window_larger_than_ours_is_refused),
        cmocka_unit_test(what_is_no_bundle_says_so),
        cmocka_unit_test(a_variant_is_described_by_its_plugin),
        cmocka_unit_test(an_object_that_is_another_plugin_is_found_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
