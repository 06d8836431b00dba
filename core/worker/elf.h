/* A bounded reader of ELF shared objects: hostile bytes in, facts out. It runs nothing, maps nothing executable and
 * needs libc only, so that the static agent and the sender learn the same of a plugin. Layout: the System V ABI and
 * elf(5). */
#ifndef WORKER_ELF_H
#define WORKER_ELF_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_LIBC_MAX 16 /* "2.36" or "musl", with its NUL */

/* A region of the file that a table lies in: from an address up to the end of its segment. */
struct elf_table { uint64_t at, n; };

struct elf {
    const unsigned char *at; /* the image, borrowed */
    size_t n;
    const char *name;        /* for messages, borrowed */
    unsigned machine;        /* EM_X86_64 ... */
    bool foreign;            /* ELF, but not 64-bit little-endian */
    struct elf_table dynamic, strings, symbols, hash, gnu_hash, needs, defines; /* of PT_DYNAMIC; n 0: there is none */
};

/* Reads the file header: out->machine and out->foreign are set whenever the bytes are ELF at all. Returns 0, or -1 with
 * err (SSX_ERROR_REFUSED) where they are not, or not 64-bit little-endian (then out->foreign is set). */
int elf_open(struct elf *out, const char *name, const void *image, size_t n, struct ssx_error *err);

/* Reads program headers and the dynamic section of what elf_open took; the functions below need it. Refuses programs,
 * objects that aren't linked, and files that are cut short. Returns 0 or -1. */
int elf_load(struct elf *e, struct ssx_error *err);

/* Whether the object exports a symbol: global or weak, and defined in it. Found by way of its hash table, as dlsym
 * would. */
bool elf_exports(const struct elf *e, const char *symbol);

/* Adds the text of every note of this owner and type, one behind the other: those of the section of that name, or,
 * where the section table was stripped, of the PT_NOTE segments. Returns 0 (nothing added: there is none), or -1 for
 * damaged notes or more than `limit` bytes. */
int elf_notes(const struct elf *e, struct buf *out, const char *section, const char *owner, uint32_t type, size_t limit,
              struct ssx_error *err);

/* The next string of a tag of the dynamic section (DT_NEEDED, DT_RUNPATH ...), NULL at the end. *at is 0 at first.
 * Borrowed from the image. */
const char *elf_next_string(const struct elf *e, int64_t tag, size_t *at);

/* The newest GLIBC_x.y that the object asks for (.gnu.version_r), or that it defines (.gnu.version_d), as "2.36";
 * empty: none. */
void elf_libc_needed(const struct elf *e, char out[ELF_LIBC_MAX]);
void elf_libc_defined(const struct elf *e, char out[ELF_LIBC_MAX]);

/* Whether it is linked against musl: its symbols have no versions, but its library has names of its own. */
bool elf_needs_musl(const struct elf *e);

/* Orders two versions as "2.4" < "2.36"; negative, 0 or positive. Both are of the form that the functions above
 * give. */
int elf_libc_compare(const char *a, const char *b);

/* The libc that this machine has for programs of its own machine: "2.36" for a glibc, read from its libc.so.6; "musl"
 * where there is only that; empty: not found. Runs nothing, so that a static program can ask. */
void elf_host_libc(char out[ELF_LIBC_MAX]);

/* This machine's ELF machine; a machine's name as uname -m gives it ("machine 999" for an unknown one; static until
 * this thread calls again). */
unsigned elf_own_machine(void);
const char *elf_machine_name(unsigned machine);

/* The names of machines that plugins can be for (64-bit, little-endian), NULL behind the last. */
extern const char *const elf_plugin_machines[];

#endif
