/* Not bad: sends items, each with a line in the log and its progress. */
#include "items.h"

static int items_run(struct ssx_call *call, const struct items *in, struct items_result *out)
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
    return 0;
}
SSX_WORKER("items", "1.0", "sends items", items, items_result, 0, items_run)
