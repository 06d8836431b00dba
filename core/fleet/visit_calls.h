/* What is called in a visit: the host's one call, or items one after the other, a number of them at once. */
#ifndef FLEET_VISIT_CALLS_H
#define FLEET_VISIT_CALLS_H
#include "fleet/visit.h"

/* Room for them. Returns 0, or -1 with err. */
int visit_calls_new(struct visit *v, struct ssx_error *err);

/* Opens the host's own call. Returns 0, or -1 with err. */
int visit_calls_own(struct visit *v, struct ssx_error *err);

/* The agent has answered: the time of what was called runs from now. most: the calls that it takes at once (0: not
 * said). */
void visit_calls_answered(struct visit *v, uint64_t most);

/* Takes items for the calls that are free. */
void visit_calls_fill(struct visit *v);

/* The call that a message is for; NULL: it is for none. */
struct visit_call *visit_call_of(const struct visit *v, uint32_t id);

/* Whose news that is; call may be NULL. */
struct news_from visit_call_from(const struct visit *v, const struct visit_call *call);

/* The END of an item's call has come: tells it, or gives the item back. */
void visit_calls_item_ended(struct visit *v, struct visit_call *call, struct message *m);

/* Where the time went: of the host's own call, or of an item's. */
struct timing visit_call_timing(const struct visit *v, const struct visit_call *call, uint64_t run_us);

/* Gives input to those that take it. Returns whether there may be more to give at once. */
bool visit_calls_input(struct visit *v);

/* Whether the host's own call takes input now. */
bool visit_calls_want_input(const struct visit *v);

/* Notes when uploads of the plugin begin and end. */
void visit_calls_watch(struct visit *v);

/* Cancels those that are open. */
void visit_calls_cancel(struct visit *v);

/* Why to give up now; NULL: there is no reason. later_ms: how much of the time that has passed does not count. */
const char *visit_calls_overdue(struct visit *v, int64_t now_ms, int64_t later_ms);

/* Words for an end that came only because the run was ended before. */
void visit_settle(const struct visit *v, struct message_end *e);

#endif
