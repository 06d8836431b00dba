/* What <sshexec/bundle.h> asks of many hosts, in rounds and batches, and what they answered: for deploy, rollback,
 * generations and store. */
#ifndef SSHEXEC_ROLLOUT_H
#define SSHEXEC_ROLLOUT_H
#include "settings.h"

#include "base/buf.h"

#include <sshexec/bundle.h>
#include <stdint.h>

struct rollout_host {
    char *name;
    bool skip;                       /* the next round is not for this one */
    /* what came of it, the last time that it was asked */
    bool answered;                   /* with outcome `ok`; else the next two say why */
    int code;                        /* answered: the exit code that the answer stands for; the caller's, 0 at first */
    enum ssx_outcome outcome;
    char reason[32], message[SSX_ERROR_TEXT];
    /* of the answer */
    uint64_t generation, needs, bytes; /* in force; objects that it lacked, and their bytes */
    bool changes;
    char has[96];                    /* the version that was there; "": none */
    struct buf value;                /* all of the answer: msgpack */
    uint64_t sent, total;            /* as ssx_fleet_sent, in this round */
    uint64_t told;                   /* of that */
};

/* What is asked: how fleets for it are opened, and the word for the progress line. */
struct rollout_order {
    int (*open)(struct ssx_fleet **out, const void *what, const struct ssx_fleet_options *o, struct ssx_error *err);
    const void *what;
    const char *doing;
    bool follows;                    /* on a round whose answers said already what hosts had and lacked */
};

struct rollout {
    const struct settings *settings;
    const char *command;
    struct rollout_host *hosts;
    size_t count;
    bool here;                       /* no host was named: this machine */
    int interrupt_fd, interrupts;    /* how many of them have been dealt with */
    bool cancelled;                  /* by a signal */
    int output_error;                /* stdout could not be written to: errno */
    bool fanout_said;                /* or not to be said */
    /* of the round that runs */
    const char *doing;               /* for the progress line */
    struct rolling rolling;
    size_t done, asked;
    int64_t began_us, drawn_us, told_us;
    int64_t took_ms;                 /* all rounds */
};

/* The hosts that these words (host sets) and the options come to; without any, this machine. Watches for signals from
 * now on. Returns 0, or
 * -1 with err. */
int rollout_init(struct rollout *r, const struct settings *s, const char *command, char **words, int count, struct ssx_error *err);

/* Asks each that is not to be skipped, as `rolling` says: all at once, or in batches, until too many have failed. Those
 * that are not begun with for that reason end as `cancelled`. The first Ctrl-C shows who is pending (of one host: ends
 * it), any other signal ends it everywhere. Returns 0, or -1 with err: none was asked. */
int rollout_ask(struct rollout *r, const struct rollout_order *order, const struct rolling_options *rolling,
                struct ssx_error *err);

/* How all hosts ended, those that were skipped as they had ended before: a line on stderr where there are several, and
 * the exit code: also for a stdout that could not be written to (tool_output_lost). */
int rollout_sum_up(struct rollout *r);

/* Each host's text on stdout, that is one line or more, behind its name; hosts with the same text share it. For one
 * that did not answer "sshexec: HOST: why" goes to stderr. With --json, the lines of each host as they are. add: adds
 * it, nothing for one that has none; host numbers are those of r->hosts. */
void rollout_show(struct rollout *r, void (*add)(void *user, struct buf *out, const struct rollout_host *h), void *user);

/* The beginning of a JSON object for a host, an event of this name (of one that did not answer, its end), up to its
 * outcome. */
void rollout_json(struct buf *out, const struct rollout_host *h, const char *event);

void rollout_free(struct rollout *r);

#endif
