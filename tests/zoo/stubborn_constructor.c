/* Ignores every signal that it can in a constructor and never returns from it. */
#include "zoo.h"
#include <signal.h>
#include <unistd.h>

__attribute__((constructor)) static void loop(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    for (;;)
        pause();
}

ZOO_RUN(nothing, nothing)
{
    return 0;
}
ZOO_WORKER("stubborn_constructor", nothing, nothing)
