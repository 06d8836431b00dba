/* How a call ended, from the wire's words into those of <sshexec/client.h>. */
#ifndef FLEET_ENDINGS_H
#define FLEET_ENDINGS_H
#include "wire/message.h"

#include <sshexec/client.h>

/* Fills in *out. *texts, which the caller frees, is what its texts point into; NULL where memory has run out: they are
 * empty then, and the end is no less an end. */
void endings_make(struct ssx_ending *out, char **texts, const struct message_end *e);

#endif
