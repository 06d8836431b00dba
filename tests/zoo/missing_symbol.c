/* Calls a function that no library has: loading it fails. */
#include "zoo.h"

int zoo_function_that_is_nowhere(void);

ZOO_RUN(nothing, nothing)
{
    return zoo_function_that_is_nowhere();
}
ZOO_WORKER("missing_symbol", nothing, nothing)
