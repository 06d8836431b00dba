/* DESCRIBE requests: answered one plugin at a time, as the sender takes the answers, for a node may have any number of
 * plugins. */
#ifndef AGENT_DESCRIBE_H
#define AGENT_DESCRIBE_H
#include "plugins.h"

struct describe;

/* Adds a request to the end of the queue. Returns 0, or -1 without memory. */
int describe_add(struct describe **queue, const struct message *m);

/* Answers one plugin of the first request, or sends its END, into out. The queue is not empty. */
void describe_step(struct describe **queue, struct plugins *plugins, struct buf *out);

size_t describe_count(const struct describe *queue);
void describe_clear(struct describe **queue);

#endif
