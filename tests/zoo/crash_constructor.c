/* Segfaults in a constructor, while it is loaded. */
#include "zoo.h"

__attribute__((constructor)) static void crash(void)
{
    zoo_crash();
}

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("crash_constructor", nothing, nothing)
