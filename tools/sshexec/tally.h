/* How the hosts of a run ended: counted, summed up in words, and as one exit code (DESIGN D4). */
#ifndef SSHEXEC_TALLY_H
#define SSHEXEC_TALLY_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

struct tally {
    size_t count, ended, failed;
    struct tally_host { short outcome, code; } *hosts; /* outcome -1: it has not ended */
    size_t by_outcome[SSX_OUTCOMES];
};

/* Returns 0, or -1 without memory. */
int tally_init(struct tally *t, size_t count);
void tally_free(struct tally *t);

void tally_add(struct tally *t, size_t host, enum ssx_outcome outcome, int code);

/* 0 where all hosts have 0; the one code that all have; else 123, or the largest where that is asked for. */
int tally_exit_code(const struct tally *t, bool largest);

/* Adds "64 hosts in 2.1 s: 60 ok, 3 unreachable (node[1-3]), 1 timeout (node7)". what: a host, an item. */
void tally_describe(struct buf *out, const struct tally *t, char *const *names, const char *what, double seconds);

/* Adds what stands behind the colon of that, and the colon. */
void tally_outcomes(struct buf *out, const struct tally *t, char *const *names);

/* Adds the names of these hosts, folded. */
void names_fold_these(struct buf *out, char *const *names, const size_t *hosts, size_t count);

/* Adds the names of those for which `wanted` holds, folded; a long list is cut. */
void names_fold(struct buf *out, char *const *names, size_t count, bool (*wanted)(void *ctx, size_t host), void *ctx, size_t length_max);

#endif
