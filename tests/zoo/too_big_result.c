/* Returns a result of over 16 MiB, which is more than may travel. */
#include "zoo.h"

#define TOO_BIG(F) F(bin, bytes, empty, "too many")
SSX_STRUCT(too_big, TOO_BIG)

ZOO_RUN(nothing, too_big)
{
    out->bytes.n = 16u << 20;
    out->bytes.at = ssx_alloc(call, out->bytes.n);
    return 0;
}
ZOO_WORKER("too_big_result", nothing, too_big)
