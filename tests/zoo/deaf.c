/* Takes input and never reads it: sleeps `ms`, then returns ok. */
#include <sshexec/worker.h>
#include <unistd.h>

SSX_NOTHING(nothing)
#define DEAF(F) F(u32, ms, default(1000), "how long")
SSX_STRUCT(deaf, DEAF)

static int deaf_run(struct ssx_call *call, const struct deaf *in, struct nothing *out)
{
    (void)call;
    (void)out;
    usleep(in->ms * 1000);
    return 0;
}
SSX_WORKER("deaf", "1.0", "never reads its input", deaf, nothing, SSX_TAKES_INPUT, deaf_run)
