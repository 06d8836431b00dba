/* Which host gets which item: the deal, with the engine's lock around it. */
#include "fleet/engine_parts.h"

#include "base/error.h"

#include <stdlib.h>

int engine_deal(struct engine *e, const void *fields, size_t n, struct ssx_error *err) { return items_add(&e->items, fields, n, err); }

bool engine_deals(const struct engine *e) { return e->items.count > 0; }

size_t engine_calls(const struct engine *e)
{
    size_t wanted = e->o.per_host ? e->o.per_host : 1;
    return !engine_deals(e) ? 1 : wanted < e->items.count ? wanted : e->items.count;
}

int dealing_start(struct engine *e, struct ssx_error *err)
{
    if (!engine_deals(e))
        return 0;
    e->items_told = calloc(e->items.count, 1);
    if (!e->items_told)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", e->items.count);
    return deal_new(&e->deal, e->items.count, e->o.fanout * engine_calls(e), e->o.idempotent, err);
}

void dealing_expect(struct member *m, size_t items)
{
    m->engine->expected += items - m->expects;
    m->expects = items;
}

/* Those that are on their way, or have nothing to do, come first. */
bool dealing_wants_host(const struct engine *e) { return !e->deal || deal_count(e->deal).waiting > e->expected; }

bool dealing_is_over(const struct engine *e)
{
    struct deal_count c = e->deal ? deal_count(e->deal) : (struct deal_count){1, 0, 0};
    return !c.waiting && !c.out;
}

void dealing_look(struct engine *e)
{
    for (size_t i = 0; e->deal && i < e->pump_count; i++)
        pump_deal(e->pumps[i]);
    pthread_cond_signal(&e->change);
}

size_t engine_take(struct member *m, size_t *items, size_t wanted, bool *over)
{
    struct engine *e = m->engine;
    size_t count = 0;
    pthread_mutex_lock(&e->lock);
    *over = e->stopped != SSX_OUTCOME_OK || e->no_more || dealing_is_over(e);
    while (!*over && count < wanted && deal_next(e->deal, &items[count]))
        count++;
    dealing_expect(m, *over ? 0 : wanted - count);
    pthread_mutex_unlock(&e->lock);
    return count;
}

bool engine_has_dealt(struct engine *e, const char **why)
{
    pthread_mutex_lock(&e->lock);
    bool over = dealing_is_over(e);
    pthread_mutex_unlock(&e->lock);
    *why = DEALING_OVER;
    return over;
}

int engine_item_state(struct buf *out, const struct member *m, size_t item, struct ssx_error *err)
{
    const struct client_request *call = &m->engine->o.call;
    return items_state(out, &m->engine->items, item, m->state ? m->state : call->state, m->state ? m->state_size : call->state_size, err);
}

bool engine_may_return(struct engine *e, size_t item, enum ssx_outcome outcome, unsigned *hosts)
{
    pthread_mutex_lock(&e->lock);
    bool none_is_begun = e->stopped != SSX_OUTCOME_OK || e->no_more; /* then what may have run has ended */
    bool may = deal_may_return(e->deal, item, outcome) && !(none_is_begun && outcome == SSX_OUTCOME_LOST);
    *hosts = deal_failed_under(e->deal, item);
    pthread_mutex_unlock(&e->lock);
    return may;
}

void engine_return(struct engine *e, size_t item, enum ssx_outcome outcome)
{
    pthread_mutex_lock(&e->lock);
    deal_return(e->deal, item, outcome);
    dealing_look(e);
    pthread_mutex_unlock(&e->lock);
}

void engine_item_ends(struct engine *e, size_t item)
{
    pthread_mutex_lock(&e->lock);
    deal_end(e->deal, item);
    if (dealing_is_over(e))
        dealing_look(e);
    pthread_mutex_unlock(&e->lock);
}

struct engine_count engine_count_items(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    struct deal_count c = e->deal ? deal_count(e->deal) : (struct deal_count){e->items.count, 0, 0};
    pthread_mutex_unlock(&e->lock);
    return (struct engine_count){.waiting = c.waiting, .running = c.out, .ended = c.ended};
}
