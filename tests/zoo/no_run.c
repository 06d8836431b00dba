/* Has a note and a struct, but its run function goes by another name. */
#include "zoo.h"
#define run walk

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("no_run", nothing, nothing)
