/* bulk: reads all of its input and says how much it was, then prints as many bytes as it is told; for the benchmark. */
#include <sshexec/worker.h>

#include <unistd.h>

#define BULK(F) F(u64, bytes, default(0), "how many to print")
SSX_STRUCT(bulk, BULK)

#define BULK_RESULT(F) F(u64, taken, default(0), "bytes of input")
SSX_STRUCT(bulk_result, BULK_RESULT)

static int bulk_run(struct ssx_call *call, const struct bulk *in, struct bulk_result *out)
{
    static char bytes[128 << 10]; /* as cat */
    ssize_t n;
    while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
        out->taken += (uint64_t)n;
    for (uint64_t left = in->bytes; left; left -= (uint64_t)n) {
        n = write(STDOUT_FILENO, bytes, left < sizeof bytes ? (size_t)left : sizeof bytes);
        if (n <= 0)
            return ssx_fail(call, 1, "can't write");
    }
    return 0;
}
SSX_WORKER("bulk", "1.0", "reads, then prints", bulk, bulk_result, SSX_TAKES_INPUT | SSX_SHOWS_RESULT, bulk_run)
