/* Stops its parent process with SIGSTOP, for ever anew where `stubborn`; then leaves, or sleeps for ever. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

#define STOP(F) F(bool, stubborn, default(false), "stop it again and again")
SSX_STRUCT(stop, STOP)

ZOO_RUN(stop, nothing)
{
    do
        kill(getppid(), SIGSTOP);
    while (in->stubborn);
    return 0;
}
ZOO_WORKER("stop_parent", stop, nothing)
