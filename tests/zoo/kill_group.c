/* Kills its own process group with SIGKILL. */
#include "zoo.h"
#include <signal.h>

ZOO_RUN(nothing, nothing)
{
    kill(0, SIGKILL);
    return 0;
}
ZOO_WORKER("kill_group", nothing, nothing)
