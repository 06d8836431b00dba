/* What `sshexec put` and `sshexec get` share: a call of the plugin of that name on the host, and the other half of the
 * transfer in a child process here, the two joined by their input and output. The child reads, digests and writes files
 * while this process serves the link. With one host it is that of transfer.c, with many those of transfers.c. */
#ifndef SSHEXEC_TRANSFER_H
#define SSHEXEC_TRANSFER_H
#include "settings.h"

#include "base/buf.h"
#include "files/transfer.h"
#include "worker/descriptor.h"

#include <sshexec/error.h>
#include <stddef.h>

#define TRANSFER_FAILED 1 /* the exit code: as the plugins fail */

/* A word as scp takes it: HOST:PATH, or a path here (also one with a ":", behind a "/"). */
struct place {
    bool remote;
    char *host;                      /* owned; NULL: this machine, through a local agent (":PATH") */
    const char *path;                /* borrowed from the word; "." where it is empty */
};

/* Returns 0, or -1 without memory. The caller calls place_free. */
int place_parse(struct place *out, const char *word, struct ssx_error *err);
void place_free(struct place *p);

/* Whether a transfer with the host of this word (NULL: none is named there) is one with many. The word may be a set;
 * with options for many, a host is a set of one. The settings then name all hosts. Returns 0, or -1 with err (USAGE:
 * the word and the options don't go together). */
int transfer_hosts(bool *many, struct settings *s, const char *host, struct ssx_error *err);

struct transfer {
    const char *type;                /* of the plugin that is the far half */
    const char *field;               /* of its state, which gets these paths */
    const char *const *far;
    size_t far_count;
    const char *const *near;         /* the paths here */
    size_t near_count;
    bool by_host;                    /* of many: near[0] is a directory, in which each has one of its own */
    /* The near half: giver_run or taker_run. Returns 0, or -1 with err. */
    int (*run)(const struct transfer *t, int in, int out, const struct observer *observer, struct ssx_error *err);
};

/* The state of the far half's call, added to out. Returns 0, or -1 with err. */
int transfer_state(struct buf *out, const struct descriptor *d, const struct transfer *t, struct ssx_error *err);

/* Runs the near half in this process. host: for what it has to say; NULL: there is only one. Returns whether all is in
 * place. */
bool transfer_near(const struct transfer *t, const char *host, int in, int out);

/* The whole of it. Returns the exit code; what went wrong was said on stderr. */
int transfer_run(const struct transfer *t, const struct settings *s, const char *host);

/* The start of both commands: options, and at least two words. Returns 0, or -1 with *code set. */
int transfer_start(struct settings *s, const char *usage, int argc, char **argv, char ***words, int *count, int *code);

#endif
