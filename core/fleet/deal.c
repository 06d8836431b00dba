#include "fleet/deal.h"

#include "base/error.h"

#include <stdlib.h>

#define ENDED 0xff /* in place of how many hosts have failed under it */

struct deal {
    unsigned char *items;
    size_t count, next;
    size_t *returned, returned_count; /* room for all that can be out: giving back never fails */
    size_t out, ended;
    bool idempotent;
};

int deal_new(struct deal **out, size_t count, size_t at_once, bool idempotent, struct ssx_error *err)
{
    struct deal *d = calloc(1, sizeof *d);
    if (d)
        *d = (struct deal){.items = calloc(count + 1, 1),
                           .count = count,
                           .returned = calloc((at_once < count ? at_once : count) + 1, sizeof *d->returned),
                           .idempotent = idempotent};
    if (d && d->items && d->returned) {
        *out = d;
        return 0;
    }
    deal_free(d);
    return error_set(err, SSX_ERROR_SYSTEM, "can't deal %zu items: out of memory", count);
}

void deal_free(struct deal *d)
{
    if (!d)
        return;
    free(d->items);
    free(d->returned);
    free(d);
}

/* In order, so that results in order need not wait for long. */
static size_t take_returned(struct deal *d)
{
    size_t first = 0;
    for (size_t i = 1; i < d->returned_count; i++)
        if (d->returned[i] < d->returned[first])
            first = i;
    size_t item = d->returned[first];
    d->returned[first] = d->returned[--d->returned_count];
    return item;
}

bool deal_next(struct deal *d, size_t *item)
{
    if (!d->returned_count && d->next == d->count)
        return false;
    *item = d->returned_count ? take_returned(d) : d->next++;
    d->out++;
    return true;
}

bool deal_may_return(const struct deal *d, size_t item, enum ssx_outcome outcome)
{
    switch (outcome) {
    case SSX_OUTCOME_UNREACHABLE: return true;
    case SSX_OUTCOME_REFUSED: return d->items[item] + 1 < DEAL_HOSTS_MAX;
    case SSX_OUTCOME_LOST: return d->idempotent && d->items[item] + 1 < DEAL_HOSTS_MAX;
    default: return false;
    }
}

void deal_return(struct deal *d, size_t item, enum ssx_outcome outcome)
{
    d->items[item] = (unsigned char)(d->items[item] + (outcome != SSX_OUTCOME_UNREACHABLE));
    d->returned[d->returned_count++] = item;
    d->out--;
}

void deal_end(struct deal *d, size_t item)
{
    d->items[item] = ENDED;
    d->out--;
    d->ended++;
}

struct deal_count deal_count(const struct deal *d) { return (struct deal_count){d->count - d->out - d->ended, d->out, d->ended}; }

unsigned deal_failed_under(const struct deal *d, size_t item) { return d->items[item]; }

bool deal_has_ended(const struct deal *d, size_t item) { return d->items[item] == ENDED; }
