#include "fleet/pacing.h"

#include "base/random.h"

#include <stdlib.h>
#include <string.h>

#define DELAY_MS 100
#define DOUBLINGS 4
#define CHAINS 4096 /* of doors, by the hash of their names; a door lasts as long as the run */

struct door {
    struct door *next;      /* of its chain */
    struct door *next_open; /* of those that somebody stands in line at, and has room */
    bool listed;
    unsigned inside;
    struct pass *first, **last;
    char name[];
};

struct pacing {
    struct door *chains[CHAINS];
    struct door *open;
};

struct pacing *pacing_new(void) { return calloc(1, sizeof(struct pacing)); }

void pacing_free(struct pacing *p)
{
    for (size_t i = 0; p && i < CHAINS; i++)
        for (struct door *d = p->chains[i], *next; d; d = next) {
            next = d->next;
            free(d);
        }
    free(p);
}

/* FNV-1a: good enough for names that nobody gains anything by choosing. */
static size_t hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h % CHAINS;
}

static struct door *find(struct pacing *p, const char *name)
{
    struct door **chain = &p->chains[hash(name)];
    for (struct door *d = *chain; d; d = d->next)
        if (strcmp(d->name, name) == 0)
            return d;
    struct door *d = calloc(1, sizeof *d + strlen(name) + 1);
    if (!d)
        return NULL;
    strcpy(d->name, name);
    d->last = &d->first;
    d->next = *chain;
    return *chain = d;
}

/* In line at the first door that is full; or inside all of them. */
static bool go_in(struct pass *pass)
{
    for (int i = 0; i < 2; i++) {
        struct door *d = pass->doors[i];
        if (!d || d->inside < PACING_DOOR)
            continue;
        pass->next = NULL;
        *d->last = pass;
        d->last = &pass->next;
        return false;
    }
    for (int i = 0; i < 2; i++)
        if (pass->doors[i])
            pass->doors[i]->inside++;
    return pass->held = true;
}

int pacing_enter(struct pacing *p, struct pass *pass, const char *place, const char *bastion)
{
    if (pass->held)
        return 1;
    pass->doors[0] = find(p, place);
    pass->doors[1] = *bastion ? find(p, bastion) : NULL;
    if (!pass->doors[0] || (*bastion && !pass->doors[1]))
        return -1;
    return go_in(pass);
}

static void list(struct pacing *p, struct door *d)
{
    if (d->listed || !d->first || d->inside >= PACING_DOOR)
        return;
    d->listed = true;
    d->next_open = p->open;
    p->open = d;
}

static void step_out_of_line(struct pass *pass)
{
    for (int i = 0; i < 2; i++) {
        struct door *d = pass->doors[i];
        for (struct pass **at = d ? &d->first : NULL; at && *at; at = &(*at)->next) {
            if (*at != pass)
                continue;
            *at = pass->next;
            if (!*at)
                d->last = at;
            break;
        }
    }
}

struct pass *pacing_leave(struct pacing *p, struct pass *pass)
{
    if (pass && !pass->held)
        step_out_of_line(pass);
    for (int i = 0; pass && pass->held && i < 2; i++)
        if (pass->doors[i]) {
            pass->doors[i]->inside--;
            list(p, pass->doors[i]);
        }
    if (pass)
        *pass = (struct pass){0};
    while (p->open) {
        struct door *d = p->open;
        struct pass *first = d->inside < PACING_DOOR ? d->first : NULL;
        if (!first) {
            p->open = d->next_open;
            d->listed = false;
            continue;
        }
        d->first = first->next;
        if (!d->first)
            d->last = &d->first;
        if (go_in(first)) /* else it stands in line at its other door now */
            return first;
    }
    return NULL;
}

int pacing_delay_ms(unsigned tries)
{
    uint32_t random;
    uint32_t mean = (uint32_t)DELAY_MS << (tries < DOUBLINGS ? tries : DOUBLINGS);
    random_bytes(&random, sizeof random);
    return (int)(mean / 2 + random % mean);
}
