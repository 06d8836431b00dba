/* echo: gives back what it got, bit for bit; for tests, and for measuring a round trip. */
#include <sshexec/worker.h>

#define ECHO(F) F(any, value, required, "what to give back")
SSX_STRUCT(echo, ECHO)

#define ECHO_RESULT(F) F(any, value, required, "what came")
SSX_STRUCT(echo_result, ECHO_RESULT)

static int echo_run(struct ssx_call *call, const struct echo *in, struct echo_result *out)
{
    (void)call;
    out->value = in->value;
    return 0;
}
SSX_WORKER("echo", "1.0", "gives back what it got", echo, echo_result, SSX_IDEMPOTENT | SSX_REUSABLE | SSX_SHOWS_RESULT, echo_run)
