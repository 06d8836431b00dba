/* What a program said on stderr before it gave up: the one line of it that tells a person why. */
#ifndef TRANSPORT_TOLD_H
#define TRANSPORT_TOLD_H
#include <sshexec/error.h>
#include <stddef.h>

/* The line that says most: one about a host key that is not to be trusted, which ssh follows with a plain "failed";
 * else the last one. *length without blanks at its end, 0 where there is none. */
const char *told_line(const char *text, size_t n, size_t *length);

/* Makes err say first what the program said, where it said anything: that the connection ended is only what
 * followed. */
void told_explain(struct ssx_error *err, const char *text, size_t n);

#endif
