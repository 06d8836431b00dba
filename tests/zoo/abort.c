/* Calls abort() in run. */
#include "zoo.h"
#include <stdlib.h>

ZOO_RUN(nothing, nothing)
{
    abort();
}
ZOO_WORKER("abort", nothing, nothing)
