/* What a sender's OFFER wants done with the store itself (PROTOCOL.md, `tend`): an object at a time, between the other
 * things of a session; the answer goes out as the sender takes it. */
#ifndef AGENT_TENDING_H
#define AGENT_TENDING_H
#include "plugins.h"

#include "base/buf.h"

struct tending;

/* Begins with it, or answers it at once. window: bytes of data that the sender takes before it grants more. plugins and
 * out are borrowed.
 * *t has to be NULL: one at a time. */
void tending_add(struct tending **t, struct plugins *plugins, const struct message *m, size_t window, struct buf *out);

/* Takes a CREDIT or a CANCEL; one that is for somebody else is passed over. */
void tending_take(struct tending **t, const struct message *m);

/* Whether there is something to do now; when, where it waits for another session to be done with the store (INT64_MAX:
 * no matter); a step of it. */
bool tending_is_busy(const struct tending *t);
int64_t tending_next_ms(const struct tending *t);
void tending_step(struct tending **t);

void tending_clear(struct tending **t);

#endif
