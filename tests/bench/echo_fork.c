/* echo_fork: echo with a process for each call, for the benchmark. */
#include <sshexec/worker.h>

#define ECHO(F) F(any, value, required, "what to give back")
SSX_STRUCT(echo_fork, ECHO)

#define ECHO_RESULT(F) F(any, value, required, "what came")
SSX_STRUCT(echo_fork_result, ECHO_RESULT)

static int echo_fork_run(struct ssx_call *call, const struct echo_fork *in, struct echo_fork_result *out)
{
    (void)call;
    out->value = in->value;
    return 0;
}
SSX_WORKER("echo_fork", "1.0", "gives back what it got", echo_fork, echo_fork_result, SSX_IDEMPOTENT, echo_fork_run)
