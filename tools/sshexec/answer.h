/* Reading what an agent answered to an OFFER: a map, scanned by the client, but hostile all the same. */
#ifndef SSHEXEC_ANSWER_H
#define SSHEXEC_ANSWER_H
#include "rollout.h"

#include "wire/value.h"

/* Takes a text, made safe for a terminal and cut to size. Returns 0, or -1 where no text stands there. */
int answer_take_text(char *out, size_t size, struct value_reader *r);

/* Goes to the array of *count elements behind this key of a host's answer. Returns 1, 0 where there is no such key, or
 * -1 where what is there makes no sense. */
int answer_find_array(struct value_reader *r, size_t *count, const struct rollout_host *h, const char *key);

#endif
