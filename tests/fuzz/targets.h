/* What is fuzzed: readers of bytes from elsewhere, by name. Driven by libFuzzer (libfuzzer.c, `make fuzz`) and, over
 * the corpus only, in `make check` (replay.c). */
#ifndef FUZZ_TARGETS_H
#define FUZZ_TARGETS_H
#include <stdbool.h>
#include <stddef.h>

struct fuzz_target {
    const char *name;                              /* and of its directory in tests/fuzz/corpus */
    void (*run)(const void *bytes, size_t n);      /* aborts where a reader breaks its word; a NUL stands behind the bytes */
};
extern const struct fuzz_target fuzz_targets[];    /* a NULL name ends them */

/* Those of other files than targets.c. */
void run_taker(const void *bytes, size_t n);
void run_asked(const void *bytes, size_t n);
void run_giver(const void *bytes, size_t n);
void run_agent(const void *bytes, size_t n);

/* What a reader promises holds, or the run ends. */
void must(bool holds);

/* The bytes as a file; its descriptor, and its path until that is closed. */
int as_file(char path[32], const void *bytes, size_t n);

/* An empty directory in memory, which each run leaves empty; in place of the user's own ones, too. Removed at exit. */
const char *fuzz_place(void);

/* NULL where there is none of that name. */
const struct fuzz_target *fuzz_target_find(const char *name);

/* A copy in a block of exactly its size and a NUL, so that a sanitizer sees a read behind it. */
void fuzz_run(const struct fuzz_target *t, const void *bytes, size_t n);

#endif
