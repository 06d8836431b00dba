#include "fan_hosts.h"

#include "host_sets.h"
#include "interrupt.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static int add_name(void *ctx, const char *name, size_t n)
{
    struct fan_hosts *h = ctx;
    if (h->count == h->capacity) {
        size_t more = h->capacity ? 2 * h->capacity : 64;
        char **names = realloc(h->names, more * sizeof *names);
        if (!names)
            return 1;
        h->names = names;
        h->capacity = more;
    }
    h->names[h->count] = strndup(name, n);
    return h->names[h->count] ? (h->count++, 0) : 1;
}

bool fan_hosts_is_set(const char *host)
{
    const char *bracket = strchr(host, '[');
    return *host == '@' || strpbrk(host, ",!&^") || (bracket && bracket > host && bracket[-1] != '@');
}

int fan_hosts_find(struct fan_hosts *h, const struct settings *s, const char *command, struct ssx_error *err)
{
    const struct groups_options groups = {
        .source = s->group_source, .ssh_config = s->ssh_config, .watch = interrupt_watch, .unwatch = interrupt_unwatch};
    struct host_sets sets;
    int rc = host_sets_init(&sets, &groups, err);
    for (size_t i = 0; rc == 0 && i < s->host_word_count; i++)
        rc = host_sets_take(&sets, s->host_words[i].option, s->host_words[i].value, err);
    if (rc == 0 && s->rerun)
        rc = host_sets_rerun(&sets, s->scatter && !s->items ? "all" : s->rerun, s->record, err); /* which: of its items then */
    if (rc == 0)
        rc = host_sets_finish(&sets, command, err);
    if (rc == 0 && hostset_each(sets.included, add_name, h, err))
        rc = error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
    host_sets_dispose(&sets);
    return rc;
}

void fan_hosts_free(struct fan_hosts *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->names[i]);
    free(h->names);
}
