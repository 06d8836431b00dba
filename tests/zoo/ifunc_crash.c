/* Has an IFUNC whose resolver segfaults: loading it crashes before any constructor runs. */
#include "zoo.h"

__attribute__((used)) static int (*resolve(void))(void)
{
    zoo_crash();
    return NULL;
}

__attribute__((visibility("default"))) int zoo_chosen(void) __attribute__((ifunc("resolve")));

ZOO_RUN(nothing, nothing)
{
    return zoo_chosen();
}
ZOO_WORKER("ifunc_crash", nothing, nothing)
