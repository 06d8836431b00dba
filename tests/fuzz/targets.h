/* What is fuzzed: readers of bytes from elsewhere, by name. Driven by libFuzzer (libfuzzer.c, `make fuzz`) and, over the corpus only, in `make check` (replay.c). */
#ifndef FUZZ_TARGETS_H
#define FUZZ_TARGETS_H
#include <stddef.h>

struct fuzz_target {
    const char *name;                              /* and of its directory in tests/fuzz/corpus */
    void (*run)(const void *bytes, size_t n);      /* aborts where a reader breaks its word; a NUL stands behind the bytes */
};
extern const struct fuzz_target fuzz_targets[];    /* a NULL name ends them */

/* NULL where there is none of that name. */
const struct fuzz_target *fuzz_target_find(const char *name);

/* A copy in a block of exactly its size and a NUL, so that a sanitizer sees a read behind it. */
void fuzz_run(const struct fuzz_target *t, const void *bytes, size_t n);

#endif
