/* One OFFER to each of many hosts, through the fleet's engine, and what they answered: for deploy, rollback and generations. */
#ifndef SSHEXEC_ROLLOUT_H
#define SSHEXEC_ROLLOUT_H
#include "settings.h"

#include "base/buf.h"
#include "client/client.h"

#include <stdint.h>

struct rollout_host {
    char *name;
    bool skip;                       /* the next round is not for this one */
    /* what came of it, the last time that it was asked */
    bool answered;                   /* with outcome `ok`; else: */
    enum ssx_outcome outcome;
    char reason[32], message[SSX_ERROR_TEXT];
    /* of the answer */
    uint64_t generation, needs, bytes; /* in force; objects that it lacked, and their bytes */
    bool changes;
    char has[96];                    /* the version that was there; "": none */
    struct buf value;                /* all of the answer: msgpack, scanned */
};

struct rollout {
    const struct settings *settings;
    struct rollout_host *hosts;
    size_t count;
    bool here;                       /* no host was named: this machine */
    int interrupt_fd;
    const char *doing;               /* for the progress line; NULL: none */
    size_t done, asked;
    int64_t took_ms;                 /* all rounds */
};

/* The hosts that these words (host sets) come to; without any, this machine. Returns 0, or -1 with err. */
int rollout_init(struct rollout *r, const struct settings *s, char **words, int count, struct ssx_error *err);

/* Asks each that is not to be skipped. Returns 0, or -1 with err: none was asked. A signal ends it: hosts that had not answered by then
 * end as `cancelled` or `lost`. */
int rollout_ask(struct rollout *r, const struct client_offer *offer, struct ssx_error *err);

/* How all hosts ended, those that were skipped as they had ended before: a line on stderr where there are several, and the exit code. */
int rollout_sum_up(const struct rollout *r);

/* "sshexec: HOST: why" on stderr for one that failed. */
void rollout_complain(const struct rollout_host *h);

/* The beginning of a JSON object for a host, up to its outcome. */
void rollout_json(struct buf *out, const struct rollout_host *h);

void rollout_free(struct rollout *r);

#endif
