/* Recurses until the stack is used up. */
#include "zoo.h"
#if defined __clang__
#pragma clang diagnostic ignored "-Winfinite-recursion"
#elif __GNUC__ >= 12
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#endif

static int deeper(volatile char *above)
{
    volatile char here[4096];
    here[0] = above[0];
    return deeper(here) + here[0];
}

ZOO_RUN(nothing, nothing)
{
    char first[1] = { 1 };
    return deeper(first);
}
ZOO_WORKER("stack_overflow", nothing, nothing)
