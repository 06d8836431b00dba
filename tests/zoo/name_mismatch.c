/* Its note says one type, its struct another. */
#include "zoo.h"

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_LIAR("name_mismatch", "somebody_else", sizeof(struct ssx_plugin), nothing_ssx, nothing_ssx)
