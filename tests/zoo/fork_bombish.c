/* Leaves 20 children behind, each in a session of its own, deaf to SIGTERM, with a child of its own. Returns ok. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    for (int i = 0; i < 20; i++)
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
            if (fork() == 0)
                setsid();
            for (;;)
                pause();
        }
    return 0;
}
ZOO_WORKER("fork_bombish", nothing, nothing)
