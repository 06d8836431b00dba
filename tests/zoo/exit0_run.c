/* Leaves by exit(0) instead of returning from run. */
#include "zoo.h"
#include <stdlib.h>

ZOO_RUN(nothing, nothing)
{
    exit(0);
}
ZOO_WORKER("exit0_run", nothing, nothing)
