/* Writes through a null pointer in run. */
#include "zoo.h"

ZOO_RUN(nothing, nothing)
{
    zoo_crash();
    return 0;
}
ZOO_WORKER("segfault", nothing, nothing)
