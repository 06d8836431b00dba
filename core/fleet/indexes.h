/* Sets of the numbers in host names, with their zeros: node[01-10,12] holds 01 to 10 and 12, and 1 is another number
 * than 01.
 *
 * An index is one int64_t that sorts as ClusterShell sorts: negative numbers first, then by the digits' count, then by
 * value. */
#ifndef FLEET_INDEXES_H
#define FLEET_INDEXES_H
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_DIGITS_MAX 17  /* 10^17 < 2^57: with the count of digits above the value an index fits in 63 bits */
#define INDEX_TEXT_MAX 20
#define INDEX_VALUE_BITS 57

/* value: 0 to 10^17-1 written with `width` digits, at least as many as it has; or negative, where width is of no
 * account. */
static inline int64_t index_make(int64_t value, unsigned width)
{
    return value < 0 ? value : (int64_t)((uint64_t)width << INDEX_VALUE_BITS | (uint64_t)value);
}
static inline int64_t index_value(int64_t index) { return index < 0 ? index : index & (((int64_t)1 << INDEX_VALUE_BITS) - 1); }
static inline unsigned index_width(int64_t index) { return index < 0 ? 0 : (unsigned)(index >> INDEX_VALUE_BITS); }

/* 10^n, n up to INDEX_DIGITS_MAX. */
int64_t index_power(unsigned n);

/* How many digits a value has. */
unsigned index_digits(int64_t value);

/* Whether it has a leading zero that counts ("0" has none, "00" has). */
bool index_is_padded(int64_t index);

/* Writes it as in a name, no NUL; out has INDEX_TEXT_MAX bytes. Returns the length. */
size_t index_text(char *out, int64_t index);

/* A number that sorts as the texts do as strings: "10" before "2". */
int64_t index_string_order(int64_t index);

/* The index that sorts there. */
int64_t index_from_string_order(int64_t order);

struct interval { int64_t lo, hi; }; /* of indexes of one width, or of negative ones */

/* A zeroed struct is an empty set. Additions gather at the end until the set is needed in order. */
struct indexes {
    struct interval *at; /* owned */
    size_t n, capacity;
    bool unsorted;       /* not in order, or not disjoint */
    bool failed;         /* memory ran out; sticky until indexes_free */
};

void indexes_add(struct indexes *s, int64_t lo, int64_t hi);

/* Sorts, and joins what overlaps or touches. All below but indexes_add need it done. */
void indexes_normalise(struct indexes *s);

void indexes_free(struct indexes *s);

uint64_t indexes_count(const struct indexes *s);

/* The operators, by what ClusterShell calls them: a becomes a,b (union), a!b (without), a&b (both), a^b (one of
 * them). */
void indexes_combine(struct indexes *a, const struct indexes *b, char operation);

/* A walk over what is written as one range each: 8-11 spans two intervals. Where numbers with zeros in front, or those
 * that only have as many digits, come before, ClusterShell writes 90-99,100-105 apart: that they are padded holds until
 * a range of several numbers ends, or a number of another length comes. */
struct index_runs {
    const struct interval *at; /* n intervals in order, borrowed; the rest begins as 0 */
    size_t n, i;
    bool padded, several;      /* what holds now; whether the last run had several numbers */
    unsigned width;
};

/* The next run; false at the end. */
bool index_runs_next(struct index_runs *r, struct interval *run);

/* "1-3,5" of n intervals in order. */
void indexes_print(struct buf *out, const struct interval *at, size_t n);

#endif
