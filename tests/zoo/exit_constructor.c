/* Leaves by exit(0) in a constructor, while it is loaded. */
#include "zoo.h"
#include <stdlib.h>

__attribute__((constructor)) static void leave(void)
{
    exit(0);
}

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("exit_constructor", nothing, nothing)
