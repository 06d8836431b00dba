/* Leaves a chain of processes behind, each of which forks the next and exits. Returns ok. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            if (setsid(), fork() > 0)
                _exit(0);
    }
    return 0;
}
ZOO_WORKER("fork_runner", nothing, nothing)
