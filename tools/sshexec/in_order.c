#include "in_order.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdlib.h>

#define MEMORY (32u << 20) /* of what is held back; beyond that it goes to a file */

struct in_order {
    struct spool *spool;
    struct spooled **items;          /* NULL: nothing was said of it */
    bool *ended;
    size_t count, next;              /* which is shown next */
};

int in_order_new(struct in_order **out, size_t count, struct ssx_error *err)
{
    struct in_order *o = calloc(1, sizeof *o);
    if (o)
        *o = (struct in_order){.items = calloc(count + 1, sizeof *o->items), .ended = calloc(count + 1, sizeof *o->ended), .count = count};
    if (o && o->items && o->ended && spool_new(&o->spool, MEMORY) == 0) {
        *out = o;
        return 0;
    }
    in_order_free(o);
    return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", count);
}

void in_order_free(struct in_order *o)
{
    if (!o)
        return;
    for (size_t i = 0; o->items && i < o->count; i++)
        in_order_forget(o, i);
    spool_free(o->spool);
    free(o->items);
    free(o->ended);
    free(o);
}

int in_order_add(struct in_order *o, size_t item, const void *bytes, size_t n, struct ssx_error *err)
{
    if (!o->items[item] && n)
        o->items[item] = calloc(1, sizeof *o->items[item]);
    if (!o->items[item])
        return n ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for output") : 0;
    return spool_add(o->spool, o->items[item], bytes, n, err);
}

void in_order_forget(struct in_order *o, size_t item)
{
    if (o->items[item])
        spool_drop(o->spool, o->items[item]);
    free(o->items[item]);
    o->items[item] = NULL;
}

int in_order_end(struct in_order *o, size_t item, int (*visit)(void *ctx, const void *bytes, size_t n), void *ctx, struct ssx_error *err)
{
    int rc = 0;
    o->ended[item] = true;
    for (; rc == 0 && o->next < o->count && o->ended[o->next]; o->next++) {
        if (o->items[o->next])
            rc = spool_read(o->spool, o->items[o->next], visit, ctx, err);
        in_order_forget(o, o->next);
    }
    return rc;
}
