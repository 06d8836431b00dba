#include "fleet/rolling.h"

#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int amount_parse(struct amount *out, const char *option, const char *text, unsigned long least, struct ssx_error *err)
{
    char *end = NULL;
    errno = 0;
    *out = (struct amount){.n = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0, .given = true};
    out->percent = end && strcmp(end, "%") == 0;
    if (!end || errno || (*end && !out->percent) || out->n < least || (out->percent && out->n > 100))
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is no number of hosts from %lu up, such as 5 or 10%%", option, text, least);
    return 0;
}

/* Of so many hosts; up: a part of a host is one. */
static size_t amount_of(struct amount a, size_t count, bool up)
{
    return !a.percent ? a.n : count / 100 * a.n + (count % 100 * a.n + (up ? 99 : 0)) / 100;
}

void rolling_init(struct rolling *r, size_t count, const struct rolling_options *options)
{
    *r = (struct rolling){.options = *options, .count = count,
                          .max_fail = options->max_fail.given ? amount_of(options->max_fail, count, false) : SIZE_MAX};
}

size_t rolling_next(struct rolling *r)
{
    size_t left = r->count - r->begun, size = r->options.serial.given ? amount_of(r->options.serial, r->count, true) : left;
    if (rolling_stopped(r))
        return 0;
    if (!r->begun && r->options.canary)
        size = r->options.canary;
    r->batch = size < left ? size : left;
    r->begun += r->batch;
    return r->batch;
}

void rolling_ended(struct rolling *r, enum ssx_outcome outcome)
{
    r->not_ok += outcome != SSX_OUTCOME_OK;
    r->unreachable += outcome == SSX_OUTCOME_UNREACHABLE;
    r->failed += outcome != SSX_OUTCOME_OK && outcome != SSX_OUTCOME_UNREACHABLE && outcome != SSX_OUTCOME_CANCELLED;
}

static bool is_canary(const struct rolling *r) { return r->options.canary && r->begun && r->begun == r->batch; }

bool rolling_stopped(const struct rolling *r) { return r->failed > r->max_fail || (is_canary(r) && r->not_ok); }

const char *rolling_reason(char *out, size_t size, const struct rolling *r)
{
    if (r->failed > r->max_fail)
        snprintf(out, size, "%zu failed, and no more than %zu may", r->failed, r->max_fail);
    else
        snprintf(out, size, "not all of the first %zu were ok", r->batch);
    return out;
}
