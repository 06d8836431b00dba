/* Returns a value out of the range that it declares. */
#include "zoo.h"

#define DIGIT(F) F(i32_in(0, 9), digit, default(0), "one digit")
SSX_STRUCT(digit, DIGIT)

ZOO_RUN(nothing, digit)
{
    out->digit = 10;
    return 0;
}
ZOO_WORKER("bad_result", nothing, digit)
