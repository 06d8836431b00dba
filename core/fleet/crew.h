/* Threads for work that blocks: as few as keep it moving, more where those that there are hang in something slow. */
#ifndef FLEET_CREW_H
#define FLEET_CREW_H
#include <sshexec/error.h>
#include <stddef.h>

struct crew;

/* A piece of work belongs to the crew from crew_give until `work` is called, which may free it. */
struct crew_job { struct crew_job *next; void (*work)(struct crew_job *job); };

/* `few` threads start as work comes; beyond them, up to `most`, one more whenever crew_hurry finds work that has waited
 * too long. Returns 0 or -1. */
int crew_start(struct crew **out, size_t few, size_t most, struct ssx_error *err);

/* Hands in work; it is done in order, by whoever is free. From any thread. */
void crew_give(struct crew *c, struct crew_job *job);

/* To be called now and then while crew_waiting: adds a thread where the oldest work has waited for longer than a
 * moment. */
void crew_hurry(struct crew *c);

/* How many pieces of work nobody has begun with. */
size_t crew_waiting(struct crew *c);

/* Does what is left, and ends. NULL is fine. */
void crew_end(struct crew *c);

#endif
