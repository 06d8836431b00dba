#include "interrupt.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t last, count;
static int wake[2] = {-1, -1};
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
#define SIGNALS (sizeof signals / sizeof *signals)

static void note(int signal_number)
{
    int saved = errno;
    last = signal_number;
    count = count + 1;
    (void)!write(wake[1], "", 1);
    errno = saved;
}

int interrupt_watch(void)
{
    if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
        return -1;
    for (unsigned i = 0; i < SIGNALS; i++) {
        struct sigaction action = {.sa_handler = note}, old; /* no SA_RESTART: a blocked write has to return */
        sigaction(signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) /* nohup */
            sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    return wake[0];
}

void interrupt_unwatch(void)
{
    struct sigaction now;
    for (unsigned i = 0; i < SIGNALS; i++)
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == note)
            signal(signals[i], SIG_DFL);
    fd_close(&wake[0]);
    fd_close(&wake[1]);
}

int interrupt_signal(void) { return last; }
int interrupt_count(void) { return count; }
