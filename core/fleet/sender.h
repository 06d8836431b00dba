/* Who this sender says it is, where a node keeps that: its word, which nobody checks. */
#ifndef FLEET_SENDER_H
#define FLEET_SENDER_H
#include <stdbool.h>

#define SENDER_NAME 128

/* user@host of this process, each as the system has it, what isn't printable ASCII as '?'. Returns out. */
const char *sender_name(char out[SENDER_NAME]);

/* Whether a node keeps this name: 1 to SENDER_NAME - 1 printable bytes of ASCII, no blank. */
bool sender_name_is_valid(const char *name);

#endif
