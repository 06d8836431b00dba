/* Its note is in order, but its struct says that it ends before the tables of state and result. */
#include "zoo.h"

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_LIAR("lying_struct", "lying_struct", offsetof(struct ssx_plugin, state), NULL, NULL)
