/* get: gives files, directories and links on its output; `sshexec get` is the other half, and answers on its input.
 * What travels is described in ../files/stream.h. */
#include "../files/call.h"
#include "../files/giver.h"

#include <unistd.h>

#define GET(F)                                                                                                         \
    F(rest(list(str)), paths, required,                                                                                \
      "what to give; a path that ends in / stands for what is in that directory; ~/ is the home directory")
SSX_STRUCT(get, GET)

static int get_run(struct ssx_call *call, const struct get *in, struct transfer_result *out)
{
    struct observer observer = call_observer(call);
    struct ssx_error err = {0};
    struct tally tally = {0};
    const char **paths = ssx_alloc(call, (in->paths.n + 1) * sizeof *paths);
    for (size_t i = 0; i < in->paths.n; i++)
        paths[i] = call_path(call, in->paths.at[i]);
    int rc = giver_run(STDIN_FILENO, STDOUT_FILENO, paths, in->paths.n, &observer, &tally, &err);
    return call_end(call, rc, &tally, &err, out);
}
SSX_WORKER_ITEMS("get", "1.0", "gives files on its output (the far half of `sshexec get`)", get, transfer_result, placed,
                 SSX_IDEMPOTENT | SSX_TAKES_INPUT | SSX_SHOWS_RESULT, get_run)
