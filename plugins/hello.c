/* hello: the smallest useful worker, and the one to copy from. */
#include "hello.h"

static void greet(const char *name, int times)
{
    for (int i = 0; i < times; i++)
        printf("hello, %s\n", name);
}

static int hello_run(struct ssx_call *call, const struct hello *in, struct hello_result *out)
{
    greet(in->name, in->times);
    for (size_t i = 0; i < in->also.n; i++)
        greet(in->also.at[i], in->times);
    out->greeting = ssx_sprintf(call, "hello, %s", in->name);
    out->greeted = (uint32_t)(1 + in->also.n) * (uint32_t)in->times;
    return 0;
}
SSX_WORKER("hello", "1.0", "says hello", hello, hello_result, SSX_IDEMPOTENT, hello_run)
