#include "fleet/news.h"

#include "base/error.h"
#include "base/io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct news {
    pthread_mutex_t lock;
    struct news_item *first, **last;
    int fd;
    atomic_size_t waiting; /* bytes, with those that were taken but are not done */
    atomic_bool full;      /* somebody was told that there is no room */
};

int news_new(struct news **out, struct ssx_error *err)
{
    struct news *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start a run: out of memory");
    n->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->fd < 0) {
        free(n);
        return error_system(err, "can't start a run");
    }
    pthread_mutex_init(&n->lock, NULL);
    n->last = &n->first;
    *out = n;
    return 0;
}

void news_free(struct news *n)
{
    if (!n)
        return;
    for (struct news_item *item = n->first, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    fd_close(&n->fd);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* The spans of a message that travels on; the rest of it are numbers. */
static size_t spans_of(struct message *m, struct span *out[4])
{
    size_t n = 0;
    switch (m->kind) {
    case MESSAGE_OUTPUT: case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE: out[n++] = &m->data.bytes; break;
    case MESSAGE_LOG: out[n++] = &m->log.text; break;
    case MESSAGE_PROGRESS: out[n++] = &m->progress.text; break;
    case MESSAGE_HELLO:
        out[n++] = &m->hello.build, out[n++] = &m->hello.arch, out[n++] = &m->hello.libc, out[n++] = &m->hello.policy;
        m->hello.os = span_text("linux");
        break;
    case MESSAGE_DESCRIBE:
        out[n++] = &m->describe.type, out[n++] = &m->describe.where;
        out[n++] = &m->describe.note, out[n++] = &m->describe.problem;
        break;
    case MESSAGE_END: out[n++] = &m->end.reason, out[n++] = &m->end.message, out[n++] = &m->end.sandbox; break;
    default: break;
    }
    return n;
}

static struct news_item *copy(const struct message *m)
{
    struct message clone = *m;
    struct span *spans[4];
    size_t count = spans_of(&clone, spans), bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += spans[i]->n;
    struct news_item *item = malloc(sizeof *item + bytes + 1);
    if (!item)
        return NULL;
    item->next = NULL;
    item->size = sizeof *item + bytes;
    item->message = clone;
    item->timing = (struct timing){0};
    unsigned char *at = item->bytes;
    count = spans_of(&item->message, spans);
    for (size_t i = 0; i < count; i++) {
        if (spans[i]->n)
            memcpy(at, spans[i]->at, spans[i]->n);
        spans[i]->at = at;
        at += spans[i]->n;
    }
    *at = 0;
    return item;
}

int news_put(struct news *n, enum news_kind kind, struct news_from from, const struct message *m, const struct timing *timing)
{
    struct news_item *item = copy(m);
    if (!item)
        return -1;
    item->kind = kind;
    item->from = from;
    item->cost = message_cost(m);
    if (timing)
        item->timing = *timing;
    atomic_fetch_add(&n->waiting, item->size);
    pthread_mutex_lock(&n->lock);
    bool first = !n->first;
    *n->last = item;
    n->last = &item->next;
    pthread_mutex_unlock(&n->lock);
    if (first)
        eventfd_write(n->fd, 1);
    return 0;
}

bool news_has_room(struct news *n)
{
    if (atomic_load(&n->waiting) < NEWS_MAX)
        return true;
    atomic_store(&n->full, true);
    if (atomic_load(&n->waiting) >= NEWS_MAX) /* still: whoever makes room from now on sees `full` */
        return false;
    return true;
}

void news_poke(struct news *n) { eventfd_write(n->fd, 1); }

int news_fd(const struct news *n) { return n->fd; }

struct news_item *news_take(struct news *n)
{
    eventfd_t count;
    eventfd_read(n->fd, &count);
    pthread_mutex_lock(&n->lock);
    struct news_item *first = n->first;
    n->first = NULL;
    n->last = &n->first;
    pthread_mutex_unlock(&n->lock);
    return first;
}

bool news_done(struct news *n, struct news_item *item)
{
    size_t left = atomic_fetch_sub(&n->waiting, item->size) - item->size;
    free(item);
    return left < NEWS_MAX / 2 && atomic_exchange(&n->full, false);
}
