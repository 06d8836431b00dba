/* Logs `count` lines, empty ones where `empty`, and as many steps of progress. */
#include "zoo.h"

#define LOG_FLOOD(F)                                             \
    F(u32,  count, default(1000000), "how many")                 \
    F(bool, empty, default(false),   "lines without text")
SSX_STRUCT(log_flood, LOG_FLOOD)

ZOO_RUN(log_flood, nothing)
{
    for (uint32_t i = 0; i < in->count; i++) {
        ssx_log(call, 1, "%s", in->empty ? "" : "a line of a log that nobody will ever read");
        ssx_progress(call, i, in->count, "");
    }
    return 0;
}
ZOO_WORKER("log_flood", log_flood, nothing)
