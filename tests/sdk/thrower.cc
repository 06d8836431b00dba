// Throws what it is told to: an exception ends its call, and nothing else.
#include <sshexec/worker.h>

#include <stdexcept>

#define THROWER(F) F(str, what, required, "standard, other, or nothing")
SSX_STRUCT(thrower, THROWER)
SSX_NOTHING(nothing)

static int thrower_run(struct ssx_call *, const struct thrower *in, struct nothing *)
{
    if (!strcmp(in->what, "standard"))
        throw std::runtime_error("a reason in words");
    if (!strcmp(in->what, "other"))
        throw 42;
    return 0;
}
SSX_WORKER("thrower", "1.0", "throws", thrower, nothing, 0, thrower_run)
