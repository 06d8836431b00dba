#include "tally.h"

#include "fleet/hostset_parse.h"
#include "wire/outcome.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 160 /* bytes of names for one outcome */

int tally_init(struct tally *t, size_t count)
{
    *t = (struct tally){.count = count, .hosts = calloc(count, sizeof *t->hosts)};
    for (size_t i = 0; t->hosts && i < count; i++)
        t->hosts[i].outcome = -1;
    return t->hosts ? 0 : -1;
}

void tally_free(struct tally *t) { free(t->hosts); }

void tally_add(struct tally *t, size_t host, enum ssx_outcome outcome, int code)
{
    t->hosts[host] = (struct tally_host){(short)outcome, (short)code};
    t->ended++;
    t->failed += outcome != SSX_OUTCOME_OK;
    t->by_outcome[outcome]++;
}

int tally_exit_code(const struct tally *t, bool largest)
{
    int first = t->count ? t->hosts[0].code : 0, most = 0;
    bool same = true;
    for (size_t i = 0; i < t->count; i++) {
        same &= t->hosts[i].code == first;
        most = t->hosts[i].code > most ? t->hosts[i].code : most;
    }
    return largest ? most : same ? first : EXIT_WORKER_MAX;
}

void names_fold(struct buf *out, char *const *names, size_t count, bool (*wanted)(void *ctx, size_t host), void *ctx, size_t length_max)
{
    struct hostset *set = hostset_new();
    struct buf folded = {0};
    for (size_t i = 0; set && i < count; i++)
        if (wanted(ctx, i))
            hostset_add_name(set, names[i], strlen(names[i]), NULL);
    if (set && hostset_fold(set, &folded, NULL) == 0 && buf_length(&folded)) {
        size_t n = buf_length(&folded);
        buf_add(out, buf_data(&folded), n < length_max ? n : length_max);
        if (n > length_max)
            buf_add_text(out, "...");
    }
    buf_free(&folded);
    hostset_free(set);
}

void names_fold_these(struct buf *out, char *const *names, const size_t *hosts, size_t count)
{
    struct hostset *set = hostset_new();
    if (count == 1) { /* the most frequent one */
        buf_add_text(out, names[hosts[0]]);
        count = 0;
    }
    for (size_t i = 0; set && i < count; i++)
        hostset_add_name(set, names[hosts[i]], strlen(names[hosts[i]]), NULL);
    if (set)
        hostset_fold(set, out, NULL);
    hostset_free(set);
}

struct those { const struct tally *tally; int outcome; };

static bool has_outcome(void *ctx, size_t host)
{
    const struct those *t = ctx;
    return t->tally->hosts[host].outcome == t->outcome;
}

void tally_describe(struct buf *out, const struct tally *t, char *const *names, const char *what, double seconds)
{
    buf_printf(out, "%zu %s%s in %.1f s", t->count, what, t->count == 1 ? "" : "s", seconds);
    tally_outcomes(out, t, names);
}

void tally_outcomes(struct buf *out, const struct tally *t, char *const *names)
{
    const char *separator = ": ";
    for (int outcome = 0; outcome < SSX_OUTCOMES; outcome++) {
        struct those those = {t, outcome};
        if (!t->by_outcome[outcome])
            continue;
        buf_printf(out, "%s%zu %s", separator, t->by_outcome[outcome], outcome_name((enum ssx_outcome)outcome));
        separator = ", ";
        if (outcome == SSX_OUTCOME_OK)
            continue;
        buf_add_text(out, " (");
        names_fold(out, names, t->count, has_outcome, &those, NAMES_MAX);
        buf_add_text(out, ")");
    }
}
