/* An output that is never waited for: what it can't take now stands in a queue until poll says that it can. Its
 * descriptor stays in whatever mode it is, for it may be shared with others: a terminal, a log. */
#ifndef AGENT_SINK_H
#define AGENT_SINK_H
#include "base/buf.h"

struct sink {
    int fd;                /* -1: closed, or broken: what is added is dropped */
    int failure;           /* the errno that broke it */
    struct buf queue;
};

void sink_add(struct sink *s, const void *bytes, size_t n);

/* What to poll it for. */
short sink_events(const struct sink *s);

/* After poll found these of it: writes some, notices that nobody reads any more. */
void sink_handle(struct sink *s, short revents);

/* Waits until all is written, or the sink is broken, and frees the queue. */
void sink_drain(struct sink *s);

#endif
