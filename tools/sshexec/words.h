/* The words of `sshexec run TYPE ...`: fields of the state, the host, and what follows "--" (DESIGN D13). */
#ifndef SSHEXEC_WORDS_H
#define SSHEXEC_WORDS_H
#include "base/buf.h"
#include "worker/descriptor.h"

/* The word that is the host, of those behind TYPE; NULL: none. For a caller that has no descriptor yet. */
const char *words_host(char **words, int count);

/* Splits the words behind TYPE: *host is the one that isn't a field (NULL: none), and the state is made of the others, of the file `state_file` (NULL: none; "-": stdin) and of the rest
 * words (NULL: there was no "--"), checked against the descriptor. Adds the state to out. *read_stdin tells that stdin was used up for the state. Returns 0 or -1. */
int words_parse(struct buf *out, const char **host, bool *read_stdin, const struct descriptor *d, char **words, int count, char **rest,
                const char *state_file, struct ssx_error *err);

#endif
