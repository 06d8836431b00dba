/* The ELF reader: what it finds in real and in hand-made objects, and that no byte of a file can hurt it. */
#include "base/file.h"
#include "elf_maker.h"
#include "worker/elf.h"

#include <gnu/libc-version.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define LIMIT (256u << 10)

static void read_hello(struct buf *out)
{
    struct ssx_error err = {0};
    if (file_read(out, PLUGIN_DIR "/hello.so", 16 << 20, &err))
        fail_msg("%s", err.text);
}

/* Opens and loads an image that must pass. */
static struct elf load(const struct buf *image)
{
    struct ssx_error err = {0};
    struct elf e;
    if (elf_open(&e, "x.so", buf_data(image), buf_length(image), &err) || elf_load(&e, &err))
        fail_msg("%s", err.text);
    return e;
}

static void assert_refused(const struct buf *image, const char *message)
{
    struct ssx_error err = {0};
    struct elf e;
    int rc = elf_open(&e, "x.so", buf_data(image), buf_length(image), &err) || elf_load(&e, &err);
    assert_int_equal(rc, 1);
    assert_string_equal(err.text, message);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
}

static void test_a_real_plugin(void **state)
{
    (void)state;
    struct buf image = {0}, note = {0};
    read_hello(&image);
    struct elf e = load(&image);
    assert_int_equal(e.machine, elf_own_machine());
    assert_true(elf_exports(&e, "run"));
    assert_true(elf_exports(&e, "ssx_plugin"));
    assert_false(elf_exports(&e, "hello_run"));
    assert_false(elf_exports(&e, "printf"));
    assert_int_equal(elf_notes(&e, &note, ".note.sshexec", "sshexec", 1, LIMIT, NULL), 0);
    assert_non_null(memmem(buf_data(&note), buf_length(&note), "{\"struct\":\"hello\"}", 19));
    assert_non_null(memmem(buf_data(&note), buf_length(&note), "{\"worker\":\"hello\"", 17));
    size_t at = 0;
    bool libc = false;
    for (const char *needed; (needed = elf_next_string(&e, DT_NEEDED, &at));)
        libc |= strcmp(needed, "libc.so.6") == 0;
    assert_true(libc);
    char version[ELF_LIBC_MAX];
    elf_libc_needed(&e, version);
    assert_int_equal(strncmp(version, "2.", 2), 0);
    buf_free(&note);
    buf_free(&image);
}

static void test_notes_without_sections(void **state)
{
    (void)state;
    struct buf image = {0}, note = {0}, again = {0};
    read_hello(&image);
    struct elf e = load(&image);
    assert_int_equal(elf_notes(&e, &note, ".note.sshexec", "sshexec", 1, LIMIT, NULL), 0);
    memset(buf_data(&image) + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
    memset(buf_data(&image) + offsetof(Elf64_Ehdr, e_shnum), 0, 2);
    e = load(&image);
    assert_int_equal(elf_notes(&e, &again, ".note.sshexec", "sshexec", 1, LIMIT, NULL), 0);
    assert_int_equal(buf_length(&again), buf_length(&note));
    assert_memory_equal(buf_data(&again), buf_data(&note), buf_length(&note));
    buf_free(&again);
    struct ssx_error err = {0};
    assert_int_equal(elf_notes(&e, &again, ".note.sshexec", "sshexec", 1, 100, &err), -1);
    assert_string_equal(err.text, "x.so: its notes are larger than the limit of 100 bytes");
    buf_free(&again);
    assert_int_equal(elf_notes(&e, &again, ".note.sshexec", "sshexec", 2, LIMIT, NULL), 0);
    assert_int_equal(buf_length(&again), 0);
    buf_free(&again);
    buf_free(&note);
    buf_free(&image);
}

static void test_a_made_object(void **state)
{
    (void)state;
    struct buf image = {0};
    char version[ELF_LIBC_MAX];
    size_t at = 0;
    struct elf_spec spec = {.machine = EM_AARCH64,
                            .symbols = {"one", "run", "two"},
                            .undefined = "three",
                            .needed = "libfoo.so.1",
                            .runpath = "/opt/x",
                            .version = "GLIBC_2.38"};
    elf_make(&image, &spec);
    struct elf e = load(&image);
    assert_string_equal(elf_machine_name(e.machine), "aarch64");
    assert_true(elf_exports(&e, "one") && elf_exports(&e, "run") && elf_exports(&e, "two"));
    assert_false(elf_exports(&e, "three") || elf_exports(&e, "four") || elf_exports(&e, ""));
    elf_libc_needed(&e, version);
    assert_string_equal(version, "2.38");
    assert_string_equal(elf_next_string(&e, DT_NEEDED, &at), "libfoo.so.1");
    assert_null(elf_next_string(&e, DT_NEEDED, &at));
    at = 0;
    assert_string_equal(elf_next_string(&e, DT_RUNPATH, &at), "/opt/x");
    buf_free(&image);
    spec.version = "GLIBC_ABI_DT_RELR";
    elf_make(&image, &spec);
    e = load(&image);
    elf_libc_needed(&e, version);
    assert_string_equal(version, "2.36");
    buf_free(&image);
    spec.version = "GLIBC_PRIVATE";
    elf_make(&image, &spec);
    e = load(&image);
    elf_libc_needed(&e, version);
    assert_string_equal(version, "");
    buf_free(&image);
}

/* Sections, symbols, libraries and versions by the thousand could each point at a name of megabytes, to be searched for
 * its end. */
static void test_a_name_without_end_is_none(void **state)
{
    (void)state;
    static char name[(1 << 16) + 1];
    struct buf image = {0};
    struct elf_spec spec = {.machine = EM_X86_64, .symbols = {"run"}, .needed = name};
    for (size_t too_long = 0; too_long < 2; too_long++) {
        size_t at = 0;
        memset(name, 'x', (1 << 16) - 1 + too_long);
        elf_make(&image, &spec);
        struct elf e = load(&image);
        const char *needed = elf_next_string(&e, DT_NEEDED, &at);
        assert_true(too_long ? !needed : strcmp(needed, name) == 0);
        assert_true(elf_exports(&e, "run"));
        buf_free(&image);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct buf image = {0};
    elf_make(&image, &(struct elf_spec){.type = ET_REL});
    assert_refused(&image, "x.so is an object file, not a shared object; link it with -shared");
    buf_free(&image);
    elf_make(&image, &(struct elf_spec){.type = ET_EXEC});
    assert_refused(&image, "x.so is a program, not a shared object; link it with -shared");
    buf_free(&image);
    elf_make(&image, &(struct elf_spec){.flags_1 = DF_1_PIE});
    assert_refused(&image, "x.so is a program, not a shared object; link it with -shared");
    buf_data(&image)[EI_CLASS] = ELFCLASS32;
    assert_refused(&image, "x.so is a 32-bit little-endian ELF file for x86_64; plugins are 64-bit and little-endian");
    buf_data(&image)[EI_CLASS] = ELFCLASS64;
    buf_data(&image)[EI_DATA] = ELFDATA2MSB;
    buf_data(&image)[18] = 0, buf_data(&image)[19] = EM_S390;
    assert_refused(&image, "x.so is a 64-bit big-endian ELF file for s390x; plugins are 64-bit and little-endian");
    buf_data(&image)[0] = '#';
    assert_refused(&image, "x.so is not an ELF file, so it is no plugin");
    buf_free(&image);
    elf_make(&image, &(struct elf_spec){0});
    image.end -= 16;
    char wanted[120];
    snprintf(wanted, sizeof wanted, "x.so is cut short or damaged: segment 0 reaches beyond its %zu bytes", buf_length(&image));
    assert_refused(&image, wanted);
    image.end = image.start + 40;
    assert_refused(&image, "x.so is cut short: 40 bytes don't hold an ELF header");
    image.end = image.start;
    assert_refused(&image, "x.so is not an ELF file, so it is no plugin");
    buf_free(&image);
}

static void test_versions(void **state)
{
    (void)state;
    assert_true(elf_libc_compare("2.4", "2.36") < 0);
    assert_true(elf_libc_compare("2.36", "2.4") > 0);
    assert_true(elf_libc_compare("2.2.5", "2.2") > 0);
    assert_int_equal(elf_libc_compare("2.36", "2.36"), 0);
    char version[ELF_LIBC_MAX];
    elf_host_libc(version);
    assert_string_equal(version, gnu_get_libc_version());
}

/* Every segment of a file may be called a note, and all of them the same one. */
static void test_notes_that_overlap_are_read_only_so_often(void **state)
{
    enum { SEGMENTS = 256, NOTES = 60000 };
    Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_DYN,
                         .e_machine = EM_X86_64,
                         .e_phoff = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = SEGMENTS};
    Elf64_Phdr segment = {.p_type = PT_NOTE,
                          .p_offset = sizeof header + SEGMENTS * sizeof segment,
                          .p_filesz = NOTES * sizeof(Elf64_Nhdr),
                          .p_align = 4};
    struct buf image = {0}, note = {0};
    struct ssx_error err = {0};
    struct elf e;
    (void)state;
    buf_add(&image, &header, sizeof header);
    for (int i = 0; i < SEGMENTS; i++)
        buf_add(&image, &segment, sizeof segment);
    for (int i = 0; i < NOTES; i++)
        buf_add(&image, &(Elf64_Nhdr){0}, sizeof(Elf64_Nhdr));
    assert_int_equal(elf_open(&e, "x.so", buf_data(&image), buf_length(&image), NULL), 0);
    assert_int_equal(elf_notes(&e, &note, ".note.sshexec", "sshexec", 1, LIMIT, &err), -1);
    assert_string_equal(err.text, "x.so is damaged: it has more than 65536 notes");
    buf_free(&note);
    buf_free(&image);
}

/* Reads all there is to read; what comes out doesn't matter, that nothing is read outside the image does (address
 * sanitizer). */
static void read_everything(const void *image, size_t n)
{
    struct elf e;
    struct buf note = {0};
    char version[ELF_LIBC_MAX];
    size_t at = 0;
    if (elf_open(&e, "x.so", image, n, NULL) || elf_load(&e, NULL))
        return;
    elf_exports(&e, "run");
    elf_exports(&e, "ssx_plugin");
    elf_notes(&e, &note, ".note.sshexec", "sshexec", 1, LIMIT, NULL);
    elf_libc_needed(&e, version);
    elf_libc_defined(&e, version);
    while (elf_next_string(&e, DT_NEEDED, &at))
        continue;
    buf_free(&note);
}

/* Half of the hits go where the reader looks: the first and the last 4 KiB, which hold headers, tables and sections. */
static void mutate(const struct buf *image, unsigned rounds)
{
    size_t n = buf_length(image);
    srandom(2);
    for (unsigned i = 0; i < rounds; i++) {
        size_t cut = i % 8 == 0 ? (size_t)random() % (n + 1) : n;
        unsigned char *copy = malloc(cut ? cut : 1); /* of its own size, so that the sanitizer sees a read behind it */
        assert_non_null(copy);
        memcpy(copy, buf_data(image), cut);
        for (long hits = random() % 4 + (cut == n); cut && hits > 0; hits--) {
            size_t window = cut > 4096 && random() % 2 ? 4096 : cut, from = random() % 2 ? 0 : cut - window;
            copy[from + (size_t)random() % window] = (unsigned char)(random() % 3 ? random() : random() % 2 ? 0xff : 0);
        }
        read_everything(copy, cut);
        free(copy);
    }
}

static void test_mutations(void **state)
{
    (void)state;
    struct buf image = {0};
    read_hello(&image);
    mutate(&image, 10000);
    buf_free(&image);
    elf_make(&image, &(struct elf_spec){.symbols = {"run", "ssx_plugin"},
                                        .needed = "libc.so.6",
                                        .version = "GLIBC_2.34",
                                        .note = "{}\0\0",
                                        .note_size = 4});
    mutate(&image, 20000);
    buf_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_real_plugin), cmocka_unit_test(test_notes_without_sections), cmocka_unit_test(test_a_made_object),
        cmocka_unit_test(test_a_name_without_end_is_none), cmocka_unit_test(test_notes_that_overlap_are_read_only_so_often),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_versions),               cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
