/* Kills its parent process with SIGKILL, then sleeps for ever. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    kill(getppid(), SIGKILL);
    for (;;)
        pause();
    return 0;
}
ZOO_WORKER("kill_parent", nothing, nothing)
