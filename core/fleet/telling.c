/* The program's thread: what hosts said becomes callbacks, and what has no memory left to be told in, or came to no
 * host, gets its end all the same. */
#include "fleet/engine_parts.h"

#include "base/io.h"

#include <poll.h>

#define TOLD_AT_ONCE 256     /* pieces of news in one engine_work, so that the program's loop gets its turn */
#define GRANT_STEP (128u << 10) /* of a call's window, granted again at once: far less than CLIENT_WINDOW, or hosts would wait */

/* What the program has taken of a call that is over is nobody's business any more. */
static void grant(struct member *m, const struct news_item *item)
{
    atomic_uint_fast64_t *consumed = item->cost ? &m->consumed[item->from.slot] : NULL;
    uint_fast64_t was = consumed ? atomic_load(consumed) : 0;
    do
        if (!consumed || was >> 32 != item->from.call)
            return;
    while (!atomic_compare_exchange_weak(consumed, &was, was + item->cost));
    size_t owed = (size_t)(was & UINT32_MAX);
    if (owed < GRANT_STEP && owed + item->cost >= GRANT_STEP && m->pump)
        pump_grant(m->pump, m);
}

static void tell_end(struct engine *e, struct news_item *item)
{
    const struct engine_listener *l = &e->o.listener;
    struct message_end *end = &item->message.end;
    item->timing.drain_us = clock_us() - e->began_us - item->timing.total_us;
    e->told++;
    if (item->from.item != NEWS_NONE) {
        e->items_told[item->from.item] = true;
        l->on_item_end(l->user, item->from.host, item->from.item, end, &item->timing);
        return;
    }
    e->members[item->from.host].told = true;
    e->refusers += end->outcome == SSX_OUTCOME_REFUSED;
    l->on_end(l->user, item->from.host, end, &item->timing);
}

static void tell_message(struct engine *e, struct news_item *item)
{
    const struct engine_listener *l = &e->o.listener;
    e->members[item->from.host].greeted |= item->message.kind == MESSAGE_HELLO;
    if (item->from.item != NEWS_NONE)
        l->on_item_message(l->user, item->from.host, item->from.item, &item->message);
    else
        l->on_message(l->user, item->from.host, &item->message);
    grant(&e->members[item->from.host], item);
}

static void tell(struct engine *e, struct news_item *item)
{
    const struct engine_listener *l = &e->o.listener;
    struct message *m = &item->message;
    switch (item->kind) {
    case NEWS_MESSAGE: tell_message(e, item); break;
    case NEWS_STDERR:
        if (l->on_stderr)
            l->on_stderr(l->user, item->from.host, m->data.bytes.at, m->data.bytes.n);
        break;
    case NEWS_NOTE: l->on_note(l->user, item->from.host, (int)m->log.level, m->log.text.at); break;
    case NEWS_RETURN: l->on_item_return(l->user, item->from.host, item->from.item, m->log.text.at); break;
    case NEWS_END: tell_end(e, item); break;
    }
    telling_done(e, item);
}

void telling_done(struct engine *e, struct news_item *item)
{
    if (news_done(e->news, item))
        for (size_t i = 0; i < e->pump_count; i++)
            pump_wake(e->pumps[i]);
}

/* --- what was not among the news --- */

/* All is over, and some host's END found no memory to be told in. */
static void make_up_hosts(struct engine *e)
{
    for (size_t i = 0; i < e->count; i++) {
        struct message_end lost = {.outcome = SSX_OUTCOME_LOST, .message = span_text("out of memory here for how it ended")};
        struct timing timing = {0};
        if (e->members[i].told)
            continue;
        e->members[i].told = true;
        e->told++;
        e->o.listener.on_end(e->o.listener.user, i, &lost, &timing);
    }
}

static struct message_end unbegun(const struct engine *e)
{
    bool stopped = e->stopped != SSX_OUTCOME_OK || e->no_more, refused = e->refusers == e->count;
    if (!stopped)
        return (struct message_end){.outcome = refused ? SSX_OUTCOME_REFUSED : SSX_OUTCOME_UNREACHABLE,
                                    .message =
                                        span_text(refused ? "every host refused" : "no host was left to take it")};
    return (struct message_end){.outcome =
                                    e->stopped == SSX_OUTCOME_TIMEOUT ? SSX_OUTCOME_UNREACHABLE : SSX_OUTCOME_CANCELLED,
                                .message = span_text(engine_why_unbegun(e))};
}

/* The same of items, and those that came to no host. There may be a million of them. */
static void make_up_items(struct engine *e)
{
    for (int n = 0; n < TOLD_AT_ONCE && e->made_up < e->items.count; e->made_up++) {
        size_t item = e->made_up;
        struct message_end end = unbegun(e);
        struct timing timing = {.total_us = clock_us() - e->began_us};
        if (e->items_told[item])
            continue;
        if (deal_has_ended(e->deal, item))
            end = (struct message_end){.outcome = SSX_OUTCOME_LOST, .message = span_text("out of memory here for how it ended")};
        else
            timing.wait_us = timing.total_us;
        e->told++;
        n++;
        e->o.listener.on_item_end(e->o.listener.user, ENGINE_NONE, item, &end, &timing);
    }
}

static void make_up(struct engine *e)
{
    make_up_hosts(e);
    make_up_items(e);
    if (e->made_up < e->items.count)
        news_poke(e->news);
}

/* --- moving --- */

bool telling_is_over(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool finished = e->finished;
    pthread_mutex_unlock(&e->lock);
    return finished;
}

static size_t left(const struct engine *e) { return e->count + e->items.count - e->told; }

size_t engine_work(struct engine *e, int timeout_ms)
{
    struct pollfd fd = {news_fd(e->news), POLLIN, 0};
    bool finished = telling_is_over(e), takes = !e->pending;
    if (takes && timeout_ms && left(e))
        poll(&fd, 1, timeout_ms);
    if (takes)
        e->pending = news_take(e->news);
    for (int n = 0; e->pending && n < TOLD_AT_ONCE; n++) {
        struct news_item *item = e->pending;
        e->pending = item->next;
        tell(e, item);
    }
    if (!e->pending && finished && takes &&
        left(e)) /* all was over before the last of the news was taken: what is missing now will never come */
        make_up(e);
    else if (e->pending || (left(e) && telling_is_over(e))) /* nobody else will say that there is more to do */
        news_poke(e->news);
    return left(e);
}
