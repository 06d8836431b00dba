/* Not bad: sends items, each with a line in the log and its progress, and gives its state back with twice the count. */
#include "items.h"

static int items_run(struct ssx_call *call, struct items *in, struct items_result *out)
{
    struct items_one one = {.payload = {ssx_alloc(call, in->size + 1), in->size}};
    for (one.number = 0; one.number < in->count; one.number++) {
        one.name = ssx_sprintf(call, "number %u", one.number);
        ssx_log(call, SSX_LOG_INFO, "%s", one.name);
        ssx_progress(call, one.number, in->count, one.name);
        if (ssx_item(call, items_one, &one))
            return ssx_fail(call, 2, "item %u could not be sent", one.number);
    }
    out->sent = in->count;
    in->count *= 2;
    return 0;
}
SSX_WORKER_ITEMS("items", "1.0", "sends items", items, items_result, items_one, SSX_RETURNS_STATE, items_run)
