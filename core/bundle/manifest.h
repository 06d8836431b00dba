/* A bundle's manifest (sdk/BUNDLE.md, section 2): which types it holds, and for each the variants for this or that
 * machine, by digest. Text with exactly one form for one content, so that its bytes can be signed. */
#ifndef BUNDLE_MANIFEST_H
#define BUNDLE_MANIFEST_H
#include "base/buf.h"
#include "base/digest.h"
#include "base/text.h"

#include <sshexec/error.h>
#include <stdbool.h>

#define MANIFEST_MAX (512u << 10)        /* bytes; the limits of BUNDLE.md */
#define MANIFEST_TYPES_MAX 256
#define MANIFEST_VARIANTS_MAX 1024
#define MANIFEST_CHANGELOG_MAX (64u << 10)
#define MANIFEST_OBJECTS_MAX (1u << 30)  /* bytes of all objects together */
#define MANIFEST_VERSION_MAX 64
#define MANIFEST_SERIAL_MAX INT64_MAX

struct variant {
    char arch[32];                       /* as uname -m: "x86_64" */
    char libc[32];                       /* what it needs: "glibc-2.34", "musl"; "any": nothing */
    uint64_t size;
    struct digest digest;
};

struct manifest_type {
    char name[TYPE_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1], schema[17];
    size_t first, count;                 /* its variants */
};

struct manifest {
    char name[TYPE_NAME_MAX + 1], version[MANIFEST_VERSION_MAX + 1];
    uint64_t serial;                     /* grows from release to release; 0: none was given */
    struct manifest_type *types; size_t type_count;       /* owned; by name */
    struct variant *variants; size_t variant_count;       /* owned; type by type, in the order of arch and libc, as text */
    struct buf changelog;                /* lines, each with its newline */
};

/* Reads a manifest, hostile bytes. Returns 0 (the caller owns *out), or -1 with err (SSX_ERROR_REFUSED) naming the line
 * at fault. Whatever passes has the one form that manifest_format gives. */
int manifest_parse(struct manifest *out, const void *text, size_t n, struct ssx_error *err);

/* Adds its text to out. Returns 0, or -1 with err where it breaks a rule or a limit (two variants for one machine), or
 * memory ran out. */
int manifest_format(struct buf *out, const struct manifest *m, struct ssx_error *err);

/* Adds a variant; types and variants may come in any order. Returns 0, or -1 with err: all variants of a type have its
 * version and schema. manifest_format finds all else that is wrong. */
int manifest_add(struct manifest *m, const struct manifest_type *type, const struct variant *variant, struct ssx_error *err);

void manifest_dispose(struct manifest *m);

/* The type that a variant of m is one of. */
const struct manifest_type *manifest_type_of(const struct manifest *m, const struct variant *v);

/* The variant of a type for a node: arch is its `uname -m`, libc as its HELLO says ("glibc 2.36", "musl"; "" where that
 * isn't known). Of those that run there, the one that asks for the newest libc; where the libc isn't known, the one
 * that asks for the least. Returns it (borrowed from m), or NULL with err: SSX_ERROR_UNKNOWN_TYPE for a type that the
 * bundle doesn't hold, else SSX_ERROR_REFUSED. bundle is its name for messages. */
const struct variant *manifest_choose(const struct manifest *m, const char *bundle, const char *type, const char *arch, const char *libc,
                                      struct ssx_error *err);

/* Whether putting `next` in the place of `now` goes back: an older serial of the same name. Returns 0 where it doesn't,
 * or -1 with err (SSX_ERROR_REFUSED) naming both. */
int manifest_check_serial(const struct manifest *now, const struct manifest *next, struct ssx_error *err);

/* Whether text can be a version: letters, digits and . + ~ _ -, at most 64, the first a letter or a digit. */
bool manifest_is_version(const char *text);

#endif
