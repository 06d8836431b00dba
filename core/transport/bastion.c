#include "transport/bastion.h"

#include "base/error.h"
#include "transport/attempt.h"
#include "transport/login.h"
#include "transport/needs.h"
#include "transport/survey.h"
#include "transport/tunnel.h"
#include "transport/turn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOPS_MAX 8     /* more is a loop of configurations */
#define HOLDERS_MAX 500 /* sshd has a descriptor for each connection, mostly 1,024 of them, and ends at that: those beyond share another login */

struct bastion {
    struct bastion *next;        /* of its run's */
    atomic_size_t holders;       /* the run is one of them */
    char *jump;                  /* all hops up to it */
    const char *name;            /* the last one; points into jump */
    char *before;                /* those before it; NULL: what the configuration says */
    struct turn turn;            /* of whoever finds out or logs in; what follows is written only then */
    bool surveyed;               /* or failed to be */
    struct survey survey;
    char reason[400];
    struct ssx_error problem;    /* why it can't be gone by; code 0: it can */
    struct bastion *parent;      /* NULL: it is reached directly. Written, as `reason` then is, with the run's lock */
    struct passage *passage;     /* through the parent */
    _Atomic(struct tunnel *) tunnel; /* NULL until somebody has logged in */
};

struct bastions { pthread_mutex_t lock; struct bastion *first; };

/* --- those of a run --- */

struct bastions *bastions_new(void)
{
    struct bastions *all = calloc(1, sizeof *all);
    if (all)
        pthread_mutex_init(&all->lock, NULL);
    return all;
}

void bastions_free(struct bastions *all)
{
    if (!all)
        return;
    for (struct bastion *b = all->first, *next; b; b = next) {
        next = b->next;
        bastion_release(b);
    }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static void discard(struct bastion *b)
{
    tunnel_end(atomic_load(&b->tunnel));
    passage_close(b->passage);
    if (b->parent)
        bastion_release(b->parent);
    survey_dispose(&b->survey);
    turn_dispose(&b->turn);
    free(b->before);
    free(b->jump);
    free(b);
}

void bastion_release(struct bastion *b)
{
    if (atomic_fetch_sub(&b->holders, 1) == 1)
        discard(b);
}

static struct bastion *make(const char *jump, struct ssx_error *err)
{
    struct bastion *b = calloc(1, sizeof *b);
    const char *comma = strrchr(jump, ',');
    if (!b || turn_init(&b->turn, err)) {
        free(b);
        error_set(err, SSX_ERROR_SYSTEM, "can't go through a bastion: out of memory");
        return NULL;
    }
    atomic_init(&b->holders, 1);
    atomic_init(&b->tunnel, NULL);
    b->jump = strdup(jump);
    b->before = comma ? strndup(jump, (size_t)(comma - jump)) : NULL;
    if (!b->jump || (comma && !b->before)) {
        discard(b);
        error_set(err, SSX_ERROR_SYSTEM, "can't go through a bastion: out of memory");
        return NULL;
    }
    b->name = comma ? b->jump + (comma + 1 - jump) : b->jump;
    return b;
}

/* One that had let hosts through and was then lost may be logged in to anew; one that never did is not tried again. */
static bool is_spent(struct bastion *b)
{
    bool served;
    struct tunnel *t = atomic_load(&b->tunnel);
    return t && tunnel_is_lost(t, &served) && served;
}

/* With the lock: the one that has room, holding it; *spent: one that nobody is to be given any more, which the caller
 * lets go of. */
static struct bastion *look_up(struct bastions *all, const char *jump, struct bastion **spent)
{
    for (struct bastion **at = &all->first, *b; (b = *at); at = &b->next) {
        if (strcmp(b->jump, jump))
            continue;
        if (is_spent(b)) {
            *at = b->next;
            *spent = b;
            return NULL;
        }
        if (atomic_load(&b->holders) <= HOLDERS_MAX) {
            atomic_fetch_add(&b->holders, 1);
            return b;
        }
    }
    return NULL;
}

static struct bastion *hold(struct bastions *all, const char *jump, struct ssx_error *err)
{
    struct bastion *spent = NULL;
    pthread_mutex_lock(&all->lock);
    struct bastion *b = look_up(all, jump, &spent);
    if (!b && (b = make(jump, err))) {
        atomic_fetch_add(&b->holders, 1);
        b->next = all->first;
        all->first = b;
    }
    pthread_mutex_unlock(&all->lock);
    if (spent)
        bastion_release(spent);
    return b;
}

/* --- finding out about one --- */

/* The bastions that are being found out about, from the host's own on. */
struct trail { const struct trail *before; const char *jump; int length; };

/* As ssh has it: of what the user said for the host, only the configuration file means the hop, too. */
struct hop { struct transport_target target; struct transport_attempt attempt; char before[600]; const char *options[2]; };

static int hop_make(struct hop *out, const struct bastion *b, const struct transport_target *target, struct ssx_error *err)
{
    *out = (struct hop){.attempt = {.common = target->attempt ? target->attempt->common : NULL}};
    out->target = (struct transport_target){.host = b->name,
                                            .config_file = target->config_file,
                                            .connect_timeout_ms = target->connect_timeout_ms,
                                            .interrupt_fd = target->interrupt_fd,
                                            .ask = target->ask,
                                            .ask_ctx = target->ask_ctx,
                                            .log = target->log,
                                            .log_ctx = target->log_ctx,
                                            .attempt = &out->attempt};
    if (!b->before)
        return 0;
    if ((size_t)snprintf(out->before, sizeof out->before, "ProxyJump=%s", b->before) >= sizeof out->before)
        return error_set(err, SSX_ERROR_USAGE, "the ProxyJump %.100s... is too long", b->jump);
    out->options[0] = out->before;
    out->target.options = out->options;
    return 0;
}

static int check_trail(const struct trail *trail, const char *name, struct ssx_error *err)
{
    if (trail->length > HOPS_MAX)
        return error_set(err, SSX_ERROR_USAGE, "the ProxyJump by way of %s has more than %d hops", name, HOPS_MAX);
    for (const struct trail *t = trail->before; t; t = t->before)
        if (!strcmp(t->jump, trail->jump))
            return error_set(
                err, SSX_ERROR_USAGE,
                "the ProxyJump of %s leads back to %s itself (a Host * names it? exclude it there: Host * !%s)", name,
                name, name);
    return 0;
}

static int survey(struct bastion *b, const struct transport_target *target, struct ssx_error *err)
{
    struct hop hop;
    if (hop_make(&hop, b, target, err) || survey_make(&b->survey, &hop.target, err))
        return error_prefix(err, "bastion %s", b->name);
    const struct survey *s = &b->survey;
    char reason[256];
    if (needs_system_ssh(&s->config, &s->keys, &s->offers, &s->agent, reason, sizeof reason))
        snprintf(b->reason, sizeof b->reason, "for the bastion %.100s, %s", b->name, reason);
    return 0;
}

/* Returns 0 when it is the caller's turn. */
static int take_turn(struct bastion *b, const struct patience *patience, struct ssx_error *err)
{
    int rc = turn_take(&b->turn, patience, err);
    if (rc == 0)
        error_set(err, SSX_ERROR_UNREACHABLE, "the bastion %s did not let anybody in in time", b->name);
    return rc == 1 ? 0 : -1;
}

static int find_out(struct bastion *b, const struct transport_target *target, struct ssx_error *err)
{
    struct patience patience = patience_for(2 * TRANSPORT_CONNECT_MS,
                                            target->interrupt_fd); /* the other one asks ssh, which has half of that */
    if (take_turn(b, &patience, err))
        return -1;
    if (!b->surveyed)
        survey(b, target, &b->problem);
    b->surveyed = true;
    int rc = b->problem.code ? error_set(err, b->problem.code, "%s", b->problem.text) : 0;
    turn_give(&b->turn);
    return rc;
}

static int find(struct bastion **out, struct bastions *all, const struct transport_target *target,
                const struct trail *trail, struct ssx_error *err);

/* The one through which it is reached itself. */
static int find_parent(struct bastion *b, struct bastions *all, const struct transport_target *target,
                       const struct trail *trail, struct ssx_error *err)
{
    const struct trail longer = {trail, b->survey.config.proxy_jump, trail->length + 1};
    struct bastion *parent;
    pthread_mutex_lock(&all->lock);
    bool known = b->parent || !longer.jump[0];
    pthread_mutex_unlock(&all->lock);
    if (known)
        return 0;
    if (check_trail(&longer, b->name, err) || find(&parent, all, target, &longer, err))
        return -1;
    pthread_mutex_lock(&all->lock);
    bool first = !b->parent;
    if (first) {
        b->parent = parent;
        if (!b->reason[0])
            snprintf(b->reason, sizeof b->reason, "%s", parent->reason);
    }
    pthread_mutex_unlock(&all->lock);
    if (!first)
        bastion_release(parent);
    return 0;
}

static int find(struct bastion **out, struct bastions *all, const struct transport_target *target,
                const struct trail *trail, struct ssx_error *err)
{
    struct bastion *b = hold(all, trail->jump, err);
    if (!b)
        return -1;
    if (find_out(b, target, err) || find_parent(b, all, target, trail, err)) {
        bastion_release(b);
        return -1;
    }
    *out = b;
    return 0;
}

int bastion_find(struct bastion **out, struct bastions *all, const struct transport_target *target, const char *jump, struct ssx_error *err)
{
    return find(out, all, target, &(struct trail){NULL, jump, 1}, err);
}

void bastion_hold(struct bastion *b) { atomic_fetch_add(&b->holders, 1); }
const char *bastion_reason(const struct bastion *b) { return b->reason; }
const char *bastion_name(const struct bastion *b) { return b->name; }

/* --- logging in --- */

static int log_in(struct bastion *b, const struct transport_target *target, const struct patience *patience, struct ssx_error *err)
{
    const struct survey *s = &b->survey;
    struct tunnel *tunnel;
    struct hop hop;
    if (hop_make(&hop, b, target, err))
        return -1;
    struct login l = {.target = &hop.target,
                      .config = &s->config,
                      .keys = &s->keys,
                      .agent = &s->agent,
                      .offers = &s->offers,
                      .bastion = b->parent,
                      .timeout_ms = survey_timeout_ms(s, &hop.target),
                      .limit_ms = target->ask ? 0 : patience->deadline_ms};
    if (login_open_again(&l, err)) {
        login_drop(&l);
        return error_prefix(err, "bastion %s", b->name);
    }
    b->passage = l.passage;
    if (tunnel_start(&tunnel, l.session, b->name, s->config.alive_s, s->config.alive_max, err))
        return -1;
    atomic_store(&b->tunnel, tunnel);
    target_log(target, 1, "bastion %s: logged in, as %s at %s port %d, for all hosts behind it", b->name,
               s->config.user, s->config.hostname, s->config.port);
    return 0;
}

/* The first one logs in for all. */
static int enter(struct bastion *b, const struct transport_target *target, const struct patience *patience, struct ssx_error *err)
{
    if (take_turn(b, patience, err))
        return -1;
    if (!b->problem.code && !atomic_load(&b->tunnel))
        log_in(b, target, patience, &b->problem);
    int rc = b->problem.code ? error_set(err, b->problem.code, "%s", b->problem.text) : 0;
    turn_give(&b->turn);
    return rc;
}

int bastion_connect(struct bastion *b, struct passage **out, const struct transport_target *target, const char *host,
                    int port, int timeout_ms, struct ssx_error *err)
{
    struct patience patience = patience_for(timeout_ms, target->interrupt_fd);
    int fd;
    if (enter(b, target, &patience, err))
        return -1;
    if (target->ask) /* the user may have taken their time */
        patience = patience_for(timeout_ms, target->interrupt_fd);
    return passage_open(out, &fd, atomic_load(&b->tunnel), host, port, &patience, err) ? -1 : fd;
}
