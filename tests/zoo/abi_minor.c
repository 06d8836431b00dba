/* Says that it was built for ABI 1.9, in its note and in its struct. */
#include "zoo.h"
#undef SSX_ABI_MINOR
#define SSX_ABI_MINOR 9

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("abi_minor", nothing, nothing)
