/* Never returns from a constructor, so that loading it never ends. */
#include "zoo.h"

__attribute__((constructor)) static void loop(void)
{
    for (volatile unsigned n = 0;; n++)
        ;
}

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("loop_constructor", nothing, nothing)
