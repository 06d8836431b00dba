/* Never returns from run, and burns CPU. */
#include "zoo.h"

ZOO_RUN(nothing, nothing)
{
    for (volatile unsigned n = 0;; n++)
        ;
    return 0;
}
ZOO_WORKER("loop", nothing, nothing)
