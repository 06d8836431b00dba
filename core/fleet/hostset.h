/* A set of host names: what -w, groups and files come to, and what engines and reports take names from.
 *
 * Names are kept by pattern, "node%s-ib%s" with the numbers apart (indexes.h, points.h), never as strings. Syntax and
 * order are ClusterShell's. hostset_parse.h reads expressions. */
#ifndef FLEET_HOSTSET_H
#define FLEET_HOSTSET_H
#include "base/buf.h"
#include "fleet/points.h"

#include <sshexec/error.h>

#define HOSTSET_MAX 4000000 /* names in a set: what a typing error makes of node[1-9999999999] has to end somewhere, and before memory does */
#define HOSTSET_DIMS 16     /* numbers in a name; further ones count as text */
#define HOSTSET_NAME_MAX 1024 /* longest name or pattern */

struct hostset;

/* Empty; NULL where memory ran out. */
struct hostset *hostset_new(void);
void hostset_free(struct hostset *s);

/* Whether the set holds at most HOSTSET_MAX names: it may be over that for a while. Returns 0 or -1 with err. */
int hostset_check(struct hostset *s, struct ssx_error *err);

/* Adds the names of a pattern. pattern is the text with %s for each number and %% for each percent sign (n bytes);
 * sets: `dims` normalised sets, none of them empty, borrowed. Returns 0, or -1 with err where that is too many
 * names. */
int hostset_add(struct hostset *s, const char *pattern, size_t n, const struct indexes *sets, size_t dims, struct ssx_error *err);

/* a becomes a,b or a!b or a&b or a^b. b keeps its names. Returns 0 or -1 with err. */
int hostset_combine(struct hostset *a, struct hostset *b, char operation, struct ssx_error *err);

/* How many names. */
size_t hostset_count(struct hostset *s);

/* Each name in order, without a NUL at its end; it lives as long as the call. A positive number ends it. */
typedef int hostset_visit(void *ctx, const char *name, size_t n);

/* Returns 0, what a visit returned, or -1 with err where memory ran out. */
int hostset_each(struct hostset *s, hostset_visit *visit, void *ctx, struct ssx_error *err);

/* Adds "node[1-3,7],web" to out. Returns 0, or -1 with err where memory ran out. */
int hostset_fold(struct hostset *s, struct buf *out, struct ssx_error *err);

#endif
