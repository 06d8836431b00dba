/* Not bad: sends items of one byte each, which is the least that an item can have. */
#include "zoo.h"

#define TINY_ITEMS(F) F(u32, count, default(3), "how many items")
SSX_STRUCT(tiny_items, TINY_ITEMS)

static int tiny_items_run(struct ssx_call *call, const struct tiny_items *in, struct nothing *out)
{
    struct nothing one = {0};
    (void)out;
    for (uint32_t i = 0; i < in->count; i++)
        if (ssx_item(call, nothing, &one))
            return ssx_fail(call, 2, "item %u could not be sent", i);
    return 0;
}
SSX_WORKER_ITEMS("tiny_items", "1.0", "sends items of a byte", tiny_items, nothing, nothing, 0, tiny_items_run)
