/* Answers of ssh -G for hosts that the configuration treats alike: two of them are asked for, the others' follow.
 *
 * Hosts are alike when the same patterns of Host lines fit them and nothing else of the question differs. Two answers
 * that are the same but for the name show how the name occurs in them; where they are not (a HostName that names one of
 * them, a hash of the name in a ControlPath), each host is asked for. So it is where a configuration has anything else
 * that can tell hosts apart (Match host, Match exec, canonical names) or is written in a way not understood here, and
 * for names that are not plain: lower-case letters, digits, dots and dashes. */
#ifndef TRANSPORT_ANSWER_CLASS_H
#define TRANSPORT_ANSWER_CLASS_H
#include "base/buf.h"
#include "transport/words.h"

#include <sshexec/error.h>

struct answer_classes;

/* NULL without memory. */
struct answer_classes *answer_classes_new(void);
void answer_classes_free(struct answer_classes *c);

/* Asks ssh, or a cache: both answers with a NUL behind each. Returns 0, or -1 with err. */
typedef int answer_ask(void *ctx, struct buf *answer, struct buf *baseline, struct ssx_error *err);

/* The answers to a question (the words of the ssh command; words[host] is "name" or "user@name"), by deriving them or
 * through `ask`. config_file: -F, NULL for the default files. From any thread; one waits for another who asks on behalf
 * of its class. Returns 0, or -1 with err. */
int answer_class_get(struct answer_classes *c, const struct words *question, size_t host, const char *config_file,
                     struct buf *answer, struct buf *baseline, answer_ask *ask, void *ctx, struct ssx_error *err);

#endif
