/* Judging plugin files: the order of judgement, what a user reads for each fault, and that no file can hurt the
 * judge. */
#include "base/file.h"
#include "elf_maker.h"
#include "worker/plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define NOTE_OF(abi) "{\"struct\":\"s\"}\0{\"worker\":\"tiny\",\"version\":\"1\",\"abi\":" abi ",\"state\":\"s\",\"result\":\"s\",\"traits\":\"0\",\"doc\":\"d\"}"
#define WITH_NOTE(text) .note = (text), .note_size = sizeof(text)
#define PLUGIN .symbols = {"run", "ssx_plugin"}, WITH_NOTE(NOTE_OF("[1,0]"))

static const struct plugin_needs here = {.elf_machine = EM_X86_64, .libc_version = "2.36", .libraries = true};

static void assert_judged(const struct elf_spec *spec, const struct plugin_needs *needs, enum plugin_problem wanted, const char *message)
{
    struct buf image = {0};
    struct plugin p;
    struct ssx_error err = {0};
    enum plugin_problem problem;
    elf_make(&image, spec);
    int rc = plugin_inspect(&p, "x.so", buf_data(&image), buf_length(&image), needs, &problem, &err);
    assert_string_equal(err.text, message ? message : "");
    assert_int_equal(rc, wanted == PLUGIN_OK ? 0 : -1);
    assert_int_equal(problem, wanted);
    if (rc == 0)
        plugin_dispose(&p);
    buf_free(&image);
}

static void test_a_real_plugin(void **state)
{
    (void)state;
    struct plugin p;
    struct ssx_error err = {0};
    enum plugin_problem problem;
    char libc[ELF_LIBC_MAX];
    elf_host_libc(libc);
    struct plugin_needs needs = {.elf_machine = elf_own_machine(), .libc_version = libc};
    if (plugin_open(&p, PLUGIN_DIR "/hello.so", &needs, &problem, &err))
        fail_msg("%s", err.text);
    assert_int_equal(problem, PLUGIN_OK);
    assert_string_equal(p.path, PLUGIN_DIR "/hello.so");
    assert_string_equal(p.descriptor.type, "hello");
    assert_int_equal(p.elf_machine, elf_own_machine());
    if (descriptor_check(&p.descriptor, &err))
        fail_msg("%s", err.text);
    plugin_dispose(&p);
}

static void test_what_is_accepted(void **state)
{
    (void)state;
    assert_judged(&(struct elf_spec){PLUGIN}, &here, PLUGIN_OK, NULL);
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libc.so.6", .version = "GLIBC_2.36",
                                     .runpath = "/usr/lib:/no/such/place"},
                  &here, PLUGIN_OK, NULL);
    assert_judged(&(struct elf_spec){PLUGIN, .machine = EM_AARCH64, .needed = "libfoo.so.1", .version = "GLIBC_2.99"},
                  NULL, PLUGIN_OK, NULL);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_judged(&(struct elf_spec){PLUGIN, .machine = EM_AARCH64}, &here, PLUGIN_WRONG_ARCH, "x.so is for aarch64, this host is x86_64");
    assert_judged(&(struct elf_spec){PLUGIN, .type = ET_REL}, &here, PLUGIN_NOT_ELF,
                  "x.so is an object file, not a shared object; link it with -shared");
    assert_judged(&(struct elf_spec){.symbols = {"ssx_plugin"}, WITH_NOTE(NOTE_OF("[1,0]"))}, &here, PLUGIN_NOT_ELF,
                  "x.so is no plugin: it exports no symbol `run` (SSX_WORKER of <sshexec/worker.h> makes it)");
    assert_judged(&(struct elf_spec){.symbols = {"run"}, .undefined = "ssx_plugin", WITH_NOTE(NOTE_OF("[1,0]"))}, &here, PLUGIN_NOT_ELF,
                  "x.so is no plugin: it exports no symbol `ssx_plugin` (SSX_WORKER of <sshexec/worker.h> makes it)");
    assert_judged(&(struct elf_spec){.symbols = {"run", "ssx_plugin"}}, &here, PLUGIN_NOT_ELF,
                  "x.so is no plugin: it has no descriptor (section .note.sshexec, from SSX_WORKER of <sshexec/worker.h>)");
    assert_judged(&(struct elf_spec){.symbols = {"run", "ssx_plugin"}, WITH_NOTE(NOTE_OF("[2,0]"))}, &here, PLUGIN_WRONG_ABI,
                  "x.so was built for plugin ABI 2.0, this host speaks 1.1: rebuild it with this version's <sshexec/worker.h>");
    assert_judged(
        &(struct elf_spec){.symbols = {"run", "ssx_plugin"}, WITH_NOTE("{\"strange\":1}\0" NOTE_OF("[1,7]"))}, &here,
        PLUGIN_WRONG_ABI,
        "x.so was built for plugin ABI 1.7, this host speaks 1.1: rebuild it with this version's <sshexec/worker.h>");
    assert_judged(&(struct elf_spec){.symbols = {"run", "ssx_plugin"}, WITH_NOTE("{\"struct\":\"s\"}")}, &here, PLUGIN_NOT_ELF,
                  "x.so: the descriptor names no worker");
    assert_judged(&(struct elf_spec){PLUGIN, .version = "GLIBC_2.38"}, &here, PLUGIN_NEEDS_LIBC,
                  "x.so needs GLIBC_2.38, this host has 2.36: build it on a system as old as the host");
    assert_judged(&(struct elf_spec){PLUGIN, .version = "GLIBC_2.38"}, &(struct plugin_needs){.libc_version = "musl"}, PLUGIN_NEEDS_LIBC,
                  "x.so needs glibc 2.38, this host has musl");
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libc.so"}, &here, PLUGIN_NEEDS_LIBC, "x.so is for musl, this host has glibc 2.36");
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libc.musl-x86_64.so.1"}, &here, PLUGIN_NEEDS_LIBC,
                  "x.so is for musl, this host has glibc 2.36");
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libc.so"},
                  &(struct plugin_needs){.libc_version = "musl", .libraries = true}, PLUGIN_OK, NULL);
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libnosuch.so.1"},
                  &(struct plugin_needs){.libc_version = "musl", .libraries = true}, PLUGIN_NEEDS_LIBRARY,
                  "x.so needs libnosuch.so.1, which this host lacks: install it there, or link it statically");
}

static void test_libraries(void **state)
{
    (void)state;
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "libnosuch.so.1"}, &here, PLUGIN_NEEDS_LIBRARY,
                  "x.so needs libnosuch.so.1, which this host lacks: install it there, or link it statically");
    assert_judged(&(struct elf_spec){PLUGIN, .needed = "./libfoo.so"}, NULL, PLUGIN_NEEDS_LIBRARY,
                  "x.so needs './libfoo.so' by its path, but a plugin travels alone: link with -lNAME, or statically");
    assert_judged(
        &(struct elf_spec){PLUGIN, .runpath = "/opt/x:$ORIGIN/lib"}, NULL, PLUGIN_NEEDS_LIBRARY,
        "x.so looks for libraries in '$ORIGIN/lib' (its RPATH or RUNPATH), but a plugin travels alone: link them statically, or name an absolute "
        "directory");
    assert_judged(
        &(struct elf_spec){PLUGIN, .rpath = "lib"}, NULL, PLUGIN_NEEDS_LIBRARY,
        "x.so looks for libraries in 'lib' (its RPATH or RUNPATH), but a plugin travels alone: link them statically, or name an absolute directory");
    assert_judged(
        &(struct elf_spec){PLUGIN, .rpath = "/usr/lib::/lib"}, NULL, PLUGIN_NEEDS_LIBRARY,
        "x.so looks for libraries in '' (its RPATH or RUNPATH), but a plugin travels alone: link them statically, or name an absolute directory");
    assert_judged(&(struct elf_spec){PLUGIN, .rpath = "lib", .runpath = "/usr/lib"}, NULL, PLUGIN_OK, NULL); /* RUNPATH alone counts */
    struct stat st;
    if (stat("/tmp", &st) == 0 && (st.st_mode & S_IWOTH))
        assert_judged(
            &(struct elf_spec){PLUGIN, .runpath = "/tmp/no-such/lib"}, &here, PLUGIN_NEEDS_LIBRARY,
            "x.so looks for libraries in /tmp/no-such/lib (its RPATH or RUNPATH): won't use /tmp/no-such/lib: others can write to /tmp");
}

static void test_files(void **state)
{
    (void)state;
    struct plugin p;
    struct ssx_error err = {0};
    enum plugin_problem problem;
    assert_int_equal(plugin_open(&p, "/no/such/hello.so", NULL, &problem, &err), -1);
    assert_string_equal(err.text, "can't read the plugin /no/such/hello.so: No such file or directory");
    assert_string_equal(plugin_problem_reason(problem), "object");
    err.code = SSX_ERROR_NONE;
    assert_int_equal(plugin_open(&p, "/", NULL, &problem, &err), -1);
    assert_string_equal(err.text, "can't read the plugin /: it is no regular file");
    char path[] = "/tmp/test_plugin.XXXXXX";
    int fd = mkstemp(path);
    err.code = SSX_ERROR_NONE;
    assert_int_equal(plugin_open(&p, path, NULL, &problem, &err), -1); /* an empty file can't be mapped */
    assert_non_null(strstr(err.text, " is not an ELF file, so it is no plugin"));
    assert_int_equal(problem, PLUGIN_NOT_ELF);
    close(fd);
    unlink(path);
}

/* Accepted or refused with a message, and nothing else (address sanitizer); mostly in the first bytes, where the tables
 * are. */
static void test_mutations(void **state)
{
    (void)state;
    struct buf image = {0};
    unsigned accepted = 0, refused = 0;
    assert_int_equal(file_read(&image, PLUGIN_DIR "/hello.so", 16 << 20, NULL), 0);
    size_t n = buf_length(&image), tables = n < 4096 ? n : 4096;
    srandom(3);
    for (unsigned i = 0; i < 20000; i++) {
        size_t cut = i % 16 == 0 ? (size_t)random() % (n + 1) : n;
        unsigned char *copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, buf_data(&image), cut);
        for (long hits = 1 + random() % 3; cut > tables && hits; hits--)
            copy[(size_t)random() % (random() % 4 ? tables : cut)] = (unsigned char)random();
        struct plugin p;
        struct ssx_error err = {0};
        enum plugin_problem problem;
        if (plugin_inspect(&p, "x.so", copy, cut, NULL, &problem, &err) == 0) {
            accepted++;
            plugin_dispose(&p);
        } else {
            refused++;
            assert_true(err.text[0] && problem != PLUGIN_OK);
        }
        free(copy);
    }
    assert_true(accepted > 100 && refused > 1000);
    buf_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_real_plugin), cmocka_unit_test(test_what_is_accepted), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_libraries),     cmocka_unit_test(test_files),            cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
