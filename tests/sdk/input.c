/* Reads its input to the end by ssx_read, in pieces of `piece` bytes, and says how that went. */
#include <sshexec/worker.h>

#include <errno.h>
#include <unistd.h>

#define INPUT(F)                                                          \
    F(u32_in(1, 65536), piece, default(65536), "bytes to ask for at once") \
    F(bool,             asks,  empty,          "calls ssx_cancelled first")
SSX_STRUCT(input, INPUT)
#define INPUT_RESULT(F)                                     \
    F(u64, bytes, required, "read")                         \
    F(u32, sum,   required, "of all bytes")                 \
    F(str, error, required, "how it ended: empty at the end")
SSX_STRUCT(input_result, INPUT_RESULT)

static int input_run(struct ssx_call *call, const struct input *in, struct input_result *out)
{
    unsigned char *at = ssx_alloc(call, in->piece);
    ptrdiff_t n;
    if (in->asks && ssx_cancelled(call))
        return ssx_fail(call, 1, "cancelled before it began");
    ssx_log(call, SSX_LOG_INFO, "reading");
    while ((n = ssx_read(call, at, in->piece)) > 0) {
        out->bytes += (uint64_t)n;
        for (ptrdiff_t i = 0; i < n; i++)
            out->sum += at[i];
    }
    if (n < 0)
        out->error = errno == ECANCELED ? "cancelled" : strerror(errno);
    if (n < 0)
        ssx_log(call, SSX_LOG_INFO, "%s after %zu bytes", out->error, (size_t)out->bytes);
    return 0;
}
SSX_WORKER("input", "1.0", "reads its input", input, input_result, SSX_TAKES_INPUT, input_run)
