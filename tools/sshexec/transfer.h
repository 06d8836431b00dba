/* What `sshexec put` and `sshexec get` share: a call of the plugin of that name on the host, and the other half of the transfer in a
 * child process here, the two joined by their input and output. The child reads, digests and writes files while this process serves
 * the link. */
#ifndef SSHEXEC_TRANSFER_H
#define SSHEXEC_TRANSFER_H
#include "settings.h"

#include "files/transfer.h"

#include <sshexec/error.h>
#include <stddef.h>

/* A word as scp takes it: HOST:PATH, or a path here (also one with a ":", behind a "/"). */
struct place {
    bool remote;
    char *host;                      /* owned; NULL: this machine, through a local agent (":PATH") */
    const char *path;                /* borrowed from the word; "." where it is empty */
};

/* Returns 0, or -1 without memory. The caller calls place_free. */
int place_parse(struct place *out, const char *word, struct ssx_error *err);
void place_free(struct place *p);

struct transfer {
    const char *type;                /* of the plugin that is the far half */
    const char *field;               /* of its state, which gets these paths */
    const char *const *far;
    size_t far_count;
    const char *const *near;         /* the paths here */
    size_t near_count;
    /* The near half: giver_run or taker_run. Returns 0, or -1 with err. */
    int (*run)(const struct transfer *t, int in, int out, const struct observer *observer, struct ssx_error *err);
};

/* The whole of it. Returns the exit code; what went wrong was said on stderr. */
int transfer_run(const struct transfer *t, const struct settings *s, const char *host);

/* The start of both commands: options, and at least two words. Returns 0, or -1 with *code set. */
int transfer_start(struct settings *s, const char *usage, int argc, char **argv, char ***words, int *count, int *code);

#endif
