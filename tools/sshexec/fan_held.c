#include "fan_held.h"

#include <stdlib.h>
#include <string.h>

/* Copies a text to *at, and moves *at behind it. */
static void copy_text(const char **text, char **at)
{
    size_t n = strlen(*text) + 1;
    memcpy(*at, *text, n);
    *text = *at;
    *at += n;
}

int fan_held_keep(struct fan_held *h, const struct ssx_fleet_event *e)
{
    struct ssx_ending x = *e->ending;
    const char **const texts[] = {&x.reason, &x.message, &x.digest, &x.sandbox, &x.text};
    const size_t count = sizeof texts / sizeof *texts;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(*texts[i]) + 1;
    struct held *held = malloc(sizeof *held + bytes);
    if (!held)
        return -1;
    char *at = held->texts;
    for (size_t i = 0; i < count; i++)
        copy_text(texts[i], &at);
    held->ending = x;
    held->timing = *e->timing;
    held->event = *e;
    held->event.ending = &held->ending;
    held->event.timing = &held->timing;
    held->next = h->first;
    h->first = held;
    return 0;
}

struct held *fan_held_take(struct fan_held *h, bool (*due)(void *user, size_t host), void *user)
{
    for (struct held **at = &h->first, *held; (held = *at); at = &held->next)
        if (due(user, held->event.host)) {
            *at = held->next;
            return held;
        }
    return NULL;
}
