/* Not bad: returns a list of `count` strings of `length` bytes each. For results that take many frames. */
#include "zoo.h"
#include <string.h>

#define BIG_RESULT(F)                                            \
    F(u32, count,  default(1000), "how many strings")            \
    F(u32, length, default(100),  "how long each of them is")
SSX_STRUCT(big_result, BIG_RESULT)

#define BIG_RESULT_OUT(F) F(list(str), texts, empty, "the strings")
SSX_STRUCT(big_result_out, BIG_RESULT_OUT)

ZOO_RUN(big_result, big_result_out)
{
    char *text = ssx_alloc(call, (size_t)in->length + 1);
    memset(text, 'x', in->length);
    out->texts.at = ssx_alloc(call, in->count * sizeof *out->texts.at);
    out->texts.n = in->count;
    for (size_t i = 0; i < in->count; i++)
        out->texts.at[i] = text;
    return 0;
}
ZOO_WORKER("big_result", big_result, big_result_out)
