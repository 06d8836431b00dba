/* One operand of a host set expression in the making: its pattern, and the numbers of each place. */
#ifndef FLEET_TERM_H
#define FLEET_TERM_H
#include "fleet/hostset.h"
#include "fleet/range.h"

/* A zeroed struct is an empty term. It can be filled again and again; term_free in the end. */
struct term {
    struct buf pattern; /* of hostset_add; %s for each of the sets */
    struct indexes sets[HOSTSET_DIMS];
    size_t dims;
};

void term_clear(struct term *t);
void term_free(struct term *t);

/* Text as it is, a digit too. */
void term_add_literal(struct term *t, struct span text);

/* Text in which digits are numbers, unless they are too many for one, or come after HOSTSET_DIMS of them. */
void term_add_text(struct term *t, struct span text);

/* A name or a piece of one: as term_add_text, but for [addresses], which are text. */
void term_add_name(struct term *t, struct span name);

/* Another place for a number, for range_parse to fill; NULL where there are HOSTSET_DIMS. */
struct indexes *term_add_set(struct term *t);

/* Adds its names to a set. Returns 0 or -1 with err. */
int term_add_to(const struct term *t, struct hostset *s, struct ssx_error *err);

#endif
