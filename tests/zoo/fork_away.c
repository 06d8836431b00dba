/* Leaves a daemon behind (forked twice, in a session of its own, deaf to SIGTERM and SIGHUP, holding the pipes), which
 * prints its pid; returns ok. */
#include "zoo.h"
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void daemon_life(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    dprintf(STDOUT_FILENO, "%d\n", (int)getpid());
    for (;;)
        pause();
}

ZOO_RUN(nothing, nothing)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork() == 0)
            daemon_life();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    usleep(50000); /* time for the pid to be printed */
    return 0;
}
ZOO_WORKER("fork_away", nothing, nothing)
