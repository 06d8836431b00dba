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

static int read_ends(unsigned char *ends, struct record_reader *r, struct ssx_error *err)
{
    struct ssx_fleet_event e;
    int rc;
    while ((rc = record_reader_next(r, &e, err)) == 1)
        if (e.kind == SSX_FLEET_END)
            ends[e.host] = (unsigned char)e.ending->outcome;
    return rc;
}

static int add_ended(struct hostset *out, const struct record_head *head, const unsigned char *ends, unsigned outcomes, struct ssx_error *err)
{
    for (size_t i = 0; i < head->count; i++)
        if ((outcomes & BIT(ends[i])) && hostset_add_name(out, head->hosts[i], strlen(head->hosts[i]), err))
            return -1;
    return 0;
}

int rerun_hosts(struct hostset *out, const char *words, const char *record, struct ssx_error *err)
{
    char path[PATH_MAX];
    struct record_reader *r;
    unsigned outcomes;
    if (parse_words(&outcomes, words, err) || records_find(path, sizeof path, record, err) || record_reader_open(&r, path, err))
        return -1;
    const struct record_head *head = record_reader_head(r);
    unsigned char *ends = malloc(head->count + 1);
    int rc = -1;
    if (ends) {
        memset(ends, SSX_OUTCOME_LOST, head->count + 1);
        rc = read_ends(ends, r, err) || add_ended(out, head, ends, outcomes, err) ? -1 : 0;
    } else {
        error_set(err, SSX_ERROR_SYSTEM, "out of memory for the ends of hosts");
    }
    if (rc == 0 && !hostset_count(out))
        rc = error_set(err, SSX_ERROR_USAGE, "--rerun %s: no host of %s ended so", words, path);
    free(ends);
    record_reader_close(r);
    return rc;
}
