/* A type for a person: what it does, takes and gives, all of it from the descriptor. */
#ifndef SSHEXEC_SHOW_TYPE_H
#define SSHEXEC_SHOW_TYPE_H
#include "worker/descriptor.h"

void show_type(const struct descriptor *d);

/* The same as one JSON object in a line, added to out: {"type":..,"version":..,"fields":[..],"result":[..], ...}. */
int show_type_json(struct buf *out, const struct descriptor *d);

#endif
