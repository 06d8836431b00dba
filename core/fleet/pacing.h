/* How many may be logging in at once: a default sshd (MaxStartups 10:30:100) hangs up on more than ten at random, and
 * all that go by one bastion knock at the same door. Who finds it taken waits in line; when to try again after having
 * been hung up on is answered here as well. One thread at a time. */
#ifndef FLEET_PACING_H
#define FLEET_PACING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACING_DOOR 8    /* logins at one address, or at one bastion */
#define PACING_ALL 128   /* logins in all: what comes back in one moment has to be dealt with in one */

struct pacing;
struct door;

/* What one login holds, or waits for; embedded in whatever logs in. Zeroed: nothing. */
struct pass {
    struct pass *next;       /* in a door's line */
    struct door *doors[2];   /* the address and the bastion; NULL: none */
    bool held;
};

/* NULL without memory. */
struct pacing *pacing_new(void);
void pacing_free(struct pacing *p);

/* May a login begin there now (bastion "": there is none)? Returns 1: it holds its place from now on (or has held it
 * already); 0: it stands in line, at the door that is taken; -1 without memory. */
int pacing_enter(struct pacing *p, struct pass *pass, const char *place, const char *bastion);

/* The login is over, well or not, or no longer wanted: its place is free, or it leaves the line. Returns a pass that
 * had stood in line and holds its place now, NULL where there is none; to be called again, with NULL, until it returns
 * none. */
struct pass *pacing_leave(struct pacing *p, struct pass *pass);

/* How long to wait before another try, in ms, after so many failed ones: about 100 at first, doubling up to 2 s, and
 * never the same for those that were turned away together. */
int pacing_delay_ms(unsigned tries);

#endif
