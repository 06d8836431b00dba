/* How a call ended, in words for a person: the same from the command line and from an agent that stands alone. */
#ifndef WIRE_ENDING_H
#define WIRE_ENDING_H
#include "wire/message.h"

#define ENDING_TRUNCATED "output is cut off: something kept it open after the worker had ended"

/* "timeout: not done after 1.5 s", "failed with code 3", "refused: ..." in one line that can't drive a terminal.
 * Returns out. */
char *ending_describe(char *out, size_t size, const struct message_end *e);

#endif
