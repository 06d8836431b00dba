/* Says what it finds around it, outside the sandbox. */
#include <sshexec/worker.h>

#define PLACES(F) F(bool, has_temp_dir, required, "whether the call has a directory of its own")
SSX_NOTHING(nothing)
SSX_STRUCT(places, PLACES)

static int places_run(struct ssx_call *call, const struct nothing *in, struct places *out)
{
    (void)in;
    out->has_temp_dir = ssx_temp_dir(call) != NULL;
    return 0;
}
SSX_WORKER("places", "1.0", "looks around", nothing, places, SSX_SANDBOX_NONE, places_run)
