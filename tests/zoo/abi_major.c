/* Says that it was built for ABI 2.0, in its note and in its struct. */
#include "zoo.h"
#undef SSX_ABI_MAJOR
#define SSX_ABI_MAJOR 2

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("abi_major", nothing, nothing)
