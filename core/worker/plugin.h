/* A plugin file, judged without running it: ELF, symbols, descriptor, ABI, and what it needs of the host. */
#ifndef WORKER_PLUGIN_H
#define WORKER_PLUGIN_H
#include "worker/descriptor.h"
#include "worker/elf.h"

#define PLUGIN_SIZE_MAX (256u << 20)

enum plugin_problem { /* the reasons of END refused in PROTOCOL.md that a look at the file can find */
    PLUGIN_OK, PLUGIN_NOT_ELF, PLUGIN_WRONG_ARCH, PLUGIN_NEEDS_LIBC, PLUGIN_NEEDS_LIBRARY, PLUGIN_WRONG_ABI, PLUGIN_UNREADABLE,
};

/* What the host offers; a zeroed struct judges by nothing (a sender describing a plugin for another node). */
struct plugin_needs {
    unsigned elf_machine;               /* EM_X86_64 ...; 0: any */
    const char *libc_version;           /* elf_host_libc: "2.36", "musl"; NULL or empty: any */
    bool libraries;                     /* this host's: look for each DT_NEEDED, and whether RPATH directories are safe */
};

struct plugin {
    char *path;                         /* where it was found; owned */
    struct descriptor descriptor;
    unsigned elf_machine;
    char needs_libc[ELF_LIBC_MAX];      /* the newest GLIBC_x.y it asks for, "2.34"; empty: none */
};

/* Reads and judges an image of a plugin (a mapped file, hostile bytes; nothing of it is mapped executable). `name` is
 * the path for messages and is copied; `needs` may be NULL. In this order: ELF, machine, shared object, both symbols,
 * note, ABI, the descriptor's text, libc, library paths, libraries. A library named by a path, and an RPATH or RUNPATH
 * that is relative or has $ORIGIN, are always refused: a plugin travels alone, and a relative path would mean the
 * caller's directory. Returns 0 (the caller owns *out), or -1 with err and *problem (may be NULL) set. */
int plugin_inspect(struct plugin *out, const char *name, const void *image, size_t n, const struct plugin_needs *needs,
                   enum plugin_problem *problem, struct ssx_error *err);

/* The same from a path: opened, mapped read-only, inspected. */
int plugin_open(struct plugin *out, const char *path, const struct plugin_needs *needs, enum plugin_problem *problem,
                struct ssx_error *err);

void plugin_dispose(struct plugin *p);

/* The reason word of PROTOCOL.md for a problem: "elf", "arch", "libc", "library", "abi"; "object" where the file can't
 * be read. */
const char *plugin_problem_reason(enum plugin_problem problem);

#endif
