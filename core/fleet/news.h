/* What pumps have to tell the program, in order, from many threads to one. What waits is bounded: pumps ask for room
 * before they take more from hosts. */
#ifndef FLEET_NEWS_H
#define FLEET_NEWS_H
#include "fleet/timing.h"
#include "wire/message.h"

#include <sshexec/error.h>
#include <stdbool.h>

#define NEWS_MAX (8u << 20) /* bytes that may wait for the program; then hosts wait. One value of up to 16 MiB may be on top */

enum news_kind {
    NEWS_MESSAGE,      /* OUTPUT, LOG, PROGRESS, ITEM, RESULT, STATE, HELLO of a host's call */
    NEWS_END,          /* its END, and with it the item's; without one the host's. timing is set */
    NEWS_RETURN,       /* its item was given back, as message.log says: what came of it counts no more */
    NEWS_STDERR,       /* what the host says beside the protocol, as message.data */
    NEWS_NOTE,         /* for -v: how a host is being reached, as message.log */
};

#define NEWS_NONE ((size_t)-1)

/* Whose news it is: a host's, of which item (NEWS_NONE: none), and the call that cost counts for: its id, and which of
 * the host's it is. */
struct news_from { size_t host, item, slot; uint32_t call; };

/* One piece of news; what message points to lies behind it. */
struct news_item {
    struct news_item *next;
    enum news_kind kind;
    struct news_from from;
    size_t cost;       /* of the call's window, to be granted again */
    size_t size;       /* of all of this */
    struct message message;
    struct timing timing;
    unsigned char bytes[];
};

struct news;

/* Returns 0 or -1. */
int news_new(struct news **out, struct ssx_error *err);
void news_free(struct news *n);

/* Copies the message; a text that is its only one has a NUL behind it. Returns 0, or -1 without memory. */
int news_put(struct news *n, enum news_kind kind, struct news_from from, const struct message *m, const struct timing *timing);

/* Whether pumps may take more from hosts. Who is told no goes on when news_done says so. */
bool news_has_room(struct news *n);

/* Readable while there is something to take. */
int news_fd(const struct news *n);

/* Makes it readable, whether there is something or not. */
void news_poke(struct news *n);

/* All that waits, oldest first; the caller's to pass to news_done one by one. NULL: nothing. */
struct news_item *news_take(struct news *n);

/* Frees it. Returns whether there is room again where pumps had been told that there was none: they have to be
 * woken. */
bool news_done(struct news *n, struct news_item *item);

#endif
