/* put: takes files, directories and links from its input and puts them in place; `sshexec put` is the other half. What
 * travels on stdin and stdout is described in ../files/stream.h, how a file gets its name and what a cut transfer
 * leaves in ../files/partial.h. */
#include "../files/call.h"
#include "../files/taker.h"

#include <unistd.h>

#define PUT(F) F(str, path, required, "where to: a directory, or the new name of the one file that comes; ~/ is the home directory")
SSX_STRUCT(put, PUT)

static int put_run(struct ssx_call *call, const struct put *in, struct transfer_result *out)
{
    struct observer observer = call_observer(call);
    struct ssx_error err = {0};
    struct tally tally = {0};
    int rc = taker_run(STDIN_FILENO, STDOUT_FILENO, call_path(call, in->path), NULL, &observer, &tally, &err);
    return call_end(call, rc, &tally, &err, out);
}
SSX_WORKER_ITEMS("put", "1.0", "takes files and puts them in place (the far half of `sshexec put`)", put, transfer_result, placed,
                 SSX_IDEMPOTENT | SSX_TAKES_INPUT | SSX_SHOWS_RESULT, put_run)
