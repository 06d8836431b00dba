/* Ignores SIGTERM and never returns: only SIGKILL ends it. Says "ready" once the signal is ignored. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    signal(SIGTERM, SIG_IGN);
    if (write(STDOUT_FILENO, "ready\n", 6) < 0)
        return 1;
    for (;;)
        pause();
}
ZOO_WORKER("ignore_term", nothing, nothing)
