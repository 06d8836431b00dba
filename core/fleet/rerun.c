#include "fleet/rerun.h"

#include "base/error.h"
#include "fleet/hostset_parse.h"
#include "fleet/record_reader.h"
#include "fleet/records.h"
#include "wire/outcome.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define BIT(outcome) (1u << (outcome))
#define ALL (BIT(SSX_OUTCOMES) - 1)
#define APART (BIT(SSX_OUTCOME_OK) | BIT(SSX_OUTCOME_UNREACHABLE) | BIT(SSX_OUTCOME_LOST)) /* have words of their own */

/* The outcomes that a word stands for; 0: none. */
static unsigned word_outcomes(const char *word, size_t n)
{
    if (n == 3 && memcmp(word, "all", n) == 0)
        return ALL;
    if (n == 6 && memcmp(word, "failed", n) == 0)
        return ALL & ~APART;
    for (int outcome = 0; outcome < SSX_OUTCOMES; outcome++) {
        const char *name = outcome_name((enum ssx_outcome)outcome);
        if (strlen(name) == n && memcmp(word, name, n) == 0)
            return BIT(outcome);
    }
    return 0;
}

static int parse_words(unsigned *out, const char *words, struct ssx_error *err)
{
    *out = 0;
    for (;; words++) {
        size_t n = strcspn(words, ",");
        unsigned outcomes = word_outcomes(words, n);
        if (!outcomes)
            return error_set(err, SSX_ERROR_USAGE, "--rerun: \"%.*s\" is none of failed, unreachable, lost, ok, all, or another outcome",
                             (int)(n < 40 ? n : 40), words);
        *out |= outcomes;
        words += n;
        if (!*words)
            return 0;
    }
}

/* A record that is looked at for how its rows ended: items where it dealt any, else hosts. Those without an end are
 * lost. */
struct ended { struct record_reader *reader; const struct record_head *head; unsigned char *ends; unsigned outcomes; char path[PATH_MAX]; };

static void ended_close(struct ended *e)
{
    free(e->ends);
    record_reader_close(e->reader);
}

static int read_ends(struct ended *e, struct ssx_error *err)
{
    struct ssx_fleet_event event;
    enum ssx_fleet_event_kind end = e->head->item_count ? SSX_FLEET_DEALT : SSX_FLEET_END;
    int rc;
    while ((rc = record_reader_next(e->reader, &event, err)) == 1)
        if (event.kind == end)
            e->ends[end == SSX_FLEET_END ? event.host : event.item] = (unsigned char)event.ending->outcome;
    return rc;
}

/* Returns 0 or -1; ended_close in both cases. */
static int ended_open(struct ended *e, const char *words, const char *record, struct ssx_error *err)
{
    *e = (struct ended){0};
    if (parse_words(&e->outcomes, words, err) || records_find(e->path, sizeof e->path, record, err) ||
        record_reader_open(&e->reader, e->path, err))
        return -1;
    e->head = record_reader_head(e->reader);
    size_t count = e->head->item_count ? e->head->item_count : e->head->count;
    e->ends = malloc(count + 1);
    if (!e->ends)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for how %zu ended", count);
    memset(e->ends, SSX_OUTCOME_LOST, count + 1);
    return read_ends(e, err);
}

/* Of a run that dealt items, hosts come all or none: it is the items that ended in one way or another. */
static int add_hosts(struct hostset *out, const struct ended *e, struct ssx_error *err)
{
    bool dealt = e->head->item_count > 0;
    if (dealt && e->outcomes != ALL)
        return error_set(
            err, SSX_ERROR_USAGE,
            "%s dealt items: --rerun is of those, with --scatter FIELD and no --items (--rerun all: all of its hosts)",
            e->path);
    for (size_t i = 0; i < e->head->count; i++)
        if ((dealt || (e->outcomes & BIT(e->ends[i]))) && hostset_add_name(out, e->head->hosts[i], strlen(e->head->hosts[i]), err))
            return -1;
    return 0;
}

int rerun_hosts(struct hostset *out, const char *words, const char *record, struct ssx_error *err)
{
    struct ended e;
    int rc = ended_open(&e, words, record, err) || add_hosts(out, &e, err) ? -1 : 0;
    if (rc == 0 && !hostset_count(out))
        rc = error_set(err, SSX_ERROR_USAGE, "--rerun %s: no host of %s ended so", words, e.path);
    ended_close(&e);
    return rc;
}

/* --- items --- */

static int copy_texts(struct span **texts, size_t *count, struct buf *bytes, const struct ended *e, struct ssx_error *err)
{
    *texts = calloc(e->head->item_count + 1, sizeof **texts);
    for (size_t i = 0; *texts && i < e->head->item_count; i++)
        if (e->outcomes & BIT(e->ends[i])) {
            (*texts)[(*count)++].n = e->head->texts[i].n;
            buf_add(bytes, e->head->texts[i].at, e->head->texts[i].n);
        }
    if (!*texts || bytes->failed)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", e->head->item_count);
    const unsigned char *at = bytes->at ? buf_data(bytes) : (const unsigned char *)"";
    for (size_t i = 0; i < *count; at += (*texts)[i++].n)
        (*texts)[i].at = at; /* only now: they moved while there came more */
    return 0;
}

int rerun_items(struct span **texts, size_t *count, struct buf *bytes, const char *words, const char *record, struct ssx_error *err)
{
    struct ended e;
    *count = 0;
    int rc = ended_open(&e, words, record, err);
    if (rc == 0 && !e.head->texts)
        rc = error_set(err, SSX_ERROR_USAGE,
                       e.head->item_count ? "the items of %s are secret, so that it does not hold them: --items FILE"
                                          : "%s dealt no items: --items FILE",
                       e.path);
    if (rc == 0)
        rc = copy_texts(texts, count, bytes, &e, err);
    if (rc == 0 && !*count)
        rc = error_set(err, SSX_ERROR_USAGE, "--rerun %s: no item of %s ended so", words, e.path);
    ended_close(&e);
    return rc;
}
