/* A run in batches: how many hosts come next, and whether any should. It only counts; whoever drives the hosts asks
 * it. */
#ifndef FLEET_ROLLING_H
#define FLEET_ROLLING_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

/* "5", or "10%" of all hosts. */
struct amount { unsigned long n; bool percent, given; };

/* Returns 0, or -1 with err (USAGE) that begins with the option's name. least: the smallest number that makes sense. */
int amount_parse(struct amount *out, const char *option, const char *text, unsigned long least, struct ssx_error *err);

struct rolling_options {
    struct amount serial;            /* hosts of a batch, at least one; not given: all at once */
    struct amount max_fail;          /* so many may fail, of a percentage the whole ones; not given: all may */
    size_t canary;                   /* a first batch of so many, all of which must be ok; 0: none */
};

struct rolling {
    struct rolling_options options;
    size_t count, begun, batch, max_fail;
    size_t failed, unreachable, not_ok; /* unreachable ones are not among those that failed: nothing was tried there */
};

void rolling_init(struct rolling *r, size_t count, const struct rolling_options *options);

/* How many hosts are to be begun with next, once all before have ended; 0: none. */
size_t rolling_next(struct rolling *r);

/* A host has ended. */
void rolling_ended(struct rolling *r, enum ssx_outcome outcome);

/* Whether no further host may be begun with. It need not have been asked whether there is one. */
bool rolling_stopped(const struct rolling *r);

/* Why that is, into out. Returns out. */
const char *rolling_reason(char *out, size_t size, const struct rolling *r);

#endif
