/* Writes `bytes` bytes to stdout as fast as it can. */
#include "zoo.h"
#include <string.h>
#include <unistd.h>

#define FLOOD(F) F(u64, bytes, default(1000000000), "how many")
SSX_STRUCT(flood, FLOOD)

ZOO_RUN(flood, nothing)
{
    static char block[65536];
    memset(block, 'x', sizeof block);
    for (uint64_t left = in->bytes; left > 0;) {
        ssize_t n = write(STDOUT_FILENO, block, left < sizeof block ? (size_t)left : sizeof block);
        if (n < 0)
            return 1;
        left -= (uint64_t)n;
    }
    return 0;
}
ZOO_WORKER("flood", flood, nothing)
