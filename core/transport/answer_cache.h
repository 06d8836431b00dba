/* Answers of `ssh -G` kept on disk, for asking costs more than a key exchange does (6 to 13 ms).
 *
 * An answer is kept with what it was made from: the text of each configuration file that ssh read or looked for, and
 * size, inode and times of each directory that an Include pattern names and of ssh's own program. It counts only while
 * all of these are as they were, for the same words, user, host name, $HOME and working directory. Configurations whose
 * answer depends on anything else (Match exec and localnetwork, environment variables, canonical names), or that are
 * written in a way not understood here, are never kept; nor are those of an ssh that is not the distribution's. */
#ifndef TRANSPORT_ANSWER_CACHE_H
#define TRANSPORT_ANSWER_CACHE_H
#include "base/buf.h"
#include "transport/words.h"

#include <time.h>

/* The kept answers to a question (the words of the ssh command), each with a NUL behind it. Returns 0, or -1 where
 * there are none that count. */
int answer_cache_get(const struct words *question, struct buf *answer, struct buf *baseline);

/* Adds the patterns of each Host line of the configuration that a question is about to out, in order, each line's ended
 * by NUL. Returns 0, or -1 where hosts can be told apart by more than these, or where that is not known: Match host and
 * originalhost, and whatever keeps answers from being kept. */
int answer_cache_patterns(struct buf *out, const struct words *question, const char *config_file);

/* Keeps answers where that is possible; config_file is the user's -F, NULL for the default files; asked: the time
 * before ssh was asked. Failing is no error: the next call asks again. */
void answer_cache_put(const struct words *question, const char *config_file, time_t asked, const struct buf *answer,
                      const struct buf *baseline);

#endif
