/* Not bad: sleeps `ms`, then prints "done". Where `polite`, it prints "cancelled" and returns 3 as soon as it is
 * cancelled. */
#include "zoo.h"
#include <time.h>

#define SLEEP(F)                                                       \
    F(u64,  ms,     default(1000),  "how long to sleep")               \
    F(bool, polite, default(false), "return early when cancelled")
SSX_STRUCT(sleep, SLEEP)

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

ZOO_RUN(sleep, nothing)
{
    const struct timespec nap = { 0, 5 * 1000 * 1000 };
    for (uint64_t end = now_ms() + in->ms; now_ms() < end;) {
        if (in->polite && ssx_cancelled(call)) {
            puts("cancelled");
            return 3;
        }
        nanosleep(&nap, NULL);
    }
    puts("done");
    return 0;
}
ZOO_WORKER("sleep", sleep, nothing)
