/* The subcommands of `sshexec bundle`, and the words that they take. */
#ifndef SSHEXEC_BUNDLE_H
#define SSHEXEC_BUNDLE_H
#include "bundle/judge.h"

#include <stdbool.h>

struct bundle_words {
    const char *output, *name, *version, *serial, *changelog;  /* create; output: sign as well */
    const char *signers, *identity;                            /* verify, extract */
    const char *key, *signature;                               /* sign */
    const char *directory;                                     /* extract */
    bool json;                                                 /* show, verify */
    int interrupt_fd;                                          /* of interrupt_watch */
    char **files;                                              /* the words behind the options */
    int count;
};

/* Each returns an exit code; what went wrong was said, unless it is -1: then err says it. */
int bundle_create(const struct bundle_words *w, struct ssx_error *err);
int bundle_show(const struct bundle_words *w, struct ssx_error *err);
int bundle_verify(const struct bundle_words *w, struct ssx_error *err);
int bundle_extract(const struct bundle_words *w, struct ssx_error *err);
int bundle_sign(const struct bundle_words *w, struct ssx_error *err);

#endif
