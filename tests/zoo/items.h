/* The lists of the worker `items`, for it and for the programs that call it. */
#ifndef ITEMS_H
#define ITEMS_H
#include <sshexec/worker.h>

#define ITEMS(F)                                           \
    F(u32, count, default(3), "how many items")            \
    F(u32, size,  default(0), "bytes of payload in each")
SSX_STRUCT(items, ITEMS)

#define ITEMS_ONE(F)                                       \
    F(u32, number,  required, "counted from 0")            \
    F(str, name,    required, "the number as text")        \
    F(bin, payload, empty,    "as many zeros as asked")
SSX_STRUCT(items_one, ITEMS_ONE)

#define ITEMS_RESULT(F) F(u32, sent, required, "how many items were sent")
SSX_STRUCT(items_result, ITEMS_RESULT)

#endif
