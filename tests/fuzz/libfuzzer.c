/* One target under libFuzzer: FUZZ_TARGET names it (`make fuzz`). */
#include "targets.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct fuzz_target *target;
    const char *name = getenv("FUZZ_TARGET");
    if (!target && !(target = fuzz_target_find(name ? name : ""))) {
        fprintf(stderr, "FUZZ_TARGET is none of tests/fuzz/targets.c\n");
        exit(1);
    }
    fuzz_run(target, bytes, n);
    return 0;
}
