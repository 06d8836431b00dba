#include "fleet/pump.h"

#include "base/error.h"
#include "base/io.h"
#include "base/thread.h"
#include "fleet/member.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_MS 250 /* how exactly times are kept */
#define EVENTS 128  /* taken from the kernel at once */

/* How epoll names a visit. The kernel may speak of one that is gone: a descriptor that was closed here stays known to
 * it while a child between fork and exec holds a copy. */
struct slot { struct visit *visit; uint32_t generation, next_free; };

struct pump {
    pthread_t thread;
    void (*over)(struct visit *v);
    int epoll, wake;
    struct visit *visits;          /* all of them */
    struct slot *slots;            /* theirs; 0 stands for `wake` */
    uint32_t slot_count, free_slot;
    struct visit *ready, **ready_end;
    int64_t tick_ms;
    bool stops;                    /* visits that come are stopped */
    pthread_mutex_t lock;          /* of what others hand in: */
    struct visit *adopted;
    struct member *grants;
    bool woken, ending, stopping, dealt;
};

/* --- handing in --- */

static void wake(struct pump *p) { eventfd_write(p->wake, 1); }

void pump_adopt(struct pump *p, struct visit *v)
{
    pthread_mutex_lock(&p->lock);
    v->next = p->adopted;
    p->adopted = v;
    pthread_mutex_unlock(&p->lock);
    wake(p);
}

void pump_grant(struct pump *p, struct member *m)
{
    pthread_mutex_lock(&p->lock);
    bool listed = m->grant_listed;
    if (!listed) {
        m->grant_listed = true;
        m->next_grant = p->grants;
        p->grants = m;
    }
    pthread_mutex_unlock(&p->lock);
    if (!listed)
        wake(p);
}

static void set(struct pump *p, bool *what)
{
    pthread_mutex_lock(&p->lock);
    *what = true;
    pthread_mutex_unlock(&p->lock);
    wake(p);
}

void pump_wake(struct pump *p) { set(p, &p->woken); }
void pump_stop_visits(struct pump *p) { set(p, &p->stopping); }
void pump_deal(struct pump *p) { set(p, &p->dealt); }

/* --- watching --- */

/* Returns 0, or -1 without memory. */
static int give_slot(struct pump *p, struct visit *v)
{
    if (!p->free_slot) {
        uint32_t more = p->slot_count ? 2 * p->slot_count : 64;
        struct slot *slots = realloc(p->slots, more * sizeof *slots);
        if (!slots)
            return -1;
        memset(slots + p->slot_count, 0, (more - p->slot_count) * sizeof *slots);
        for (uint32_t i = more - 1; i >= (p->slot_count ? p->slot_count : 1); i--) {
            slots[i].next_free = p->free_slot;
            p->free_slot = i;
        }
        p->slots = slots;
        p->slot_count = more;
    }
    v->slot = p->free_slot;
    p->free_slot = p->slots[v->slot].next_free;
    p->slots[v->slot].visit = v;
    return 0;
}

static void take_slot(struct pump *p, const struct visit *v)
{
    struct slot *s = &p->slots[v->slot];
    if (!v->slot)
        return;
    s->visit = NULL;
    s->generation++;
    s->next_free = p->free_slot;
    p->free_slot = v->slot;
}

static uint64_t name_of(const struct pump *p, const struct visit *v) { return (uint64_t)p->slots[v->slot].generation << 32 | v->slot; }

/* NULL: it is gone. */
static struct visit *visit_of(const struct pump *p, uint64_t name)
{
    const struct slot *s = &p->slots[(uint32_t)name];
    return s->generation == name >> 32 ? s->visit : NULL;
}

/* Each descriptor speaks once, and is asked anew after each step: so nothing has to be taken back of those that the
 * transport has closed meanwhile, whose numbers may be another thread's by now. poll's words and epoll's are the same
 * for what is used here. */
static void watch(struct pump *p, struct visit *v)
{
    struct pollfd fds[VISIT_FDS];
    size_t n = visit_poll(v, fds);
    for (size_t i = 0; i < n; i++) {
        struct epoll_event event = {.events = (uint32_t)fds[i].events | EPOLLONESHOT, .data = {.u64 = name_of(p, v)}};
        if (epoll_ctl(p->epoll, EPOLL_CTL_MOD, fds[i].fd, &event) && errno == ENOENT)
            epoll_ctl(p->epoll, EPOLL_CTL_ADD, fds[i].fd, &event);
    }
}

/* --- moving --- */

static void make_ready(struct pump *p, struct visit *v)
{
    if (v->is_ready)
        return;
    v->is_ready = true;
    v->next_ready = NULL;
    *p->ready_end = v;
    p->ready_end = &v->next_ready;
}

static void let_go(struct pump *p, struct visit *v)
{
    struct visit **at = &p->visits;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    take_slot(p, v);
    v->member->visit = NULL;
    p->over(v);
}

static void move(struct pump *p, struct visit *v)
{
    enum visit_state state = visit_step(v);
    v->is_paused = state == VISIT_PAUSED;
    if (state == VISIT_OVER) {
        let_go(p, v);
        return;
    }
    if (state == VISIT_READY)
        make_ready(p, v);
    else
        watch(p, v);
}

/* Each of those that are ready now, once. */
static void move_ready(struct pump *p)
{
    struct visit *list = p->ready;
    p->ready = NULL;
    p->ready_end = &p->ready;
    for (struct visit *v = list, *next; v; v = next) {
        next = v->next_ready;
        v->is_ready = false;
        move(p, v);
    }
}

static void adopt(struct pump *p, struct visit *v)
{
    v->next = p->visits;
    p->visits = v;
    v->pump = p;
    v->member->visit = v;
    if (give_slot(p, v))
        visit_give_up(v, "out of memory for one more session");
    if (p->stops)
        visit_stop(v);
    make_ready(p, v);
}

static void take_grants(struct pump *p, struct member *list)
{
    for (struct member *m = list, *next; m; m = next) {
        pthread_mutex_lock(&p->lock);
        next = m->next_grant;
        m->grant_listed = false;
        pthread_mutex_unlock(&p->lock);
        if (!m->visit) {
            member_drop_join(m);
            continue;
        }
        visit_join(m->visit);
        visit_consumed(m->visit);
        make_ready(p, m->visit);
    }
}

/* Returns false at the end. */
static bool take_what_was_handed_in(struct pump *p)
{
    eventfd_t count;
    eventfd_read(p->wake, &count);
    pthread_mutex_lock(&p->lock);
    struct visit *adopted = p->adopted;
    struct member *grants = p->grants;
    bool woken = p->woken, stopping = p->stopping, ending = p->ending, dealt = p->dealt;
    p->adopted = NULL;
    p->grants = NULL;
    p->woken = p->stopping = p->dealt = false;
    pthread_mutex_unlock(&p->lock);
    p->stops |= stopping;
    for (struct visit *v = adopted, *next; v; v = next) {
        next = v->next;
        adopt(p, v);
    }
    take_grants(p, grants);
    for (struct visit *v = p->visits; v && (woken || stopping || dealt); v = v->next) {
        if (stopping)
            visit_stop(v);
        if (stopping || dealt || v->is_paused)
            make_ready(p, v);
    }
    return !ending;
}

static void tick(struct pump *p)
{
    int64_t now = clock_ms();
    if (now < p->tick_ms)
        return;
    p->tick_ms = now + TICK_MS;
    for (struct visit *v = p->visits; v; v = v->next) {
        visit_check_time(v, now);
        if (v->link.ended || v->is_paused)
            make_ready(p, v);
    }
}

static void *run(void *arg)
{
    struct pump *p = arg;
    struct epoll_event events[EVENTS];
    bool going = true;
    while (going) {
        int n = epoll_wait(p->epoll, events, EVENTS, p->ready ? 0 : p->visits ? TICK_MS : -1);
        for (int i = 0; i < n; i++) {
            struct visit *v = events[i].data.u64 ? visit_of(p, events[i].data.u64) : NULL;
            if (v)
                make_ready(p, v);
            else if (!events[i].data.u64)
                going = take_what_was_handed_in(p) && going;
        }
        move_ready(p);
        tick(p);
    }
    return NULL;
}

/* --- the thread --- */

static void discard(struct pump *p)
{
    fd_close(&p->epoll);
    fd_close(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->slots);
    free(p);
}

int pump_start(struct pump **out, void (*over)(struct visit *v), struct ssx_error *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct pump *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, SSX_ERROR_SYSTEM, "can't start a thread: out of memory");
    p->over = over;
    p->ready_end = &p->ready;
    pthread_mutex_init(&p->lock, NULL);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = p->epoll < 0 || p->wake < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &event) ? errno : thread_start(&p->thread, run, p);
    if (rc) {
        discard(p);
        errno = rc;
        return error_system(err, "can't start a thread that moves sessions");
    }
    *out = p;
    return 0;
}

void pump_end(struct pump *p)
{
    if (!p)
        return;
    set(p, &p->ending);
    pthread_join(p->thread, NULL);
    discard(p);
}
