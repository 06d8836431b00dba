/* A pump: a thread with an epoll of its own that moves the sessions it was given. */
#ifndef FLEET_PUMP_H
#define FLEET_PUMP_H
#include "fleet/visit.h"

struct pump;

/* over: called in the pump's thread with each visit whose END is among the news; it is no longer the pump's. Returns 0
 * or -1. */
int pump_start(struct pump **out, void (*over)(struct visit *v), struct ssx_error *err);

/* Hands it a visit that is open. From any thread. */
void pump_adopt(struct pump *p, struct visit *v);

/* The member's host may send more, its `consumed` says how much; or descriptors were handed over for its joint. From
 * any thread. */
void pump_grant(struct pump *p, struct member *m);

/* There is room for news again: those that were paused go on. */
void pump_wake(struct pump *p);

/* Every visit that it has, or gets from now on, is stopped. */
void pump_stop_visits(struct pump *p);

/* Items may be had again, or none ever any more: those that had none look. */
void pump_deal(struct pump *p);

/* Ends the thread, which has no visit any more. NULL is fine. */
void pump_end(struct pump *p);

#endif
