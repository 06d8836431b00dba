/* ssh's pattern lists, as in known_hosts and allowed_signers: comma-separated names with * and ?, or a ! in front to
 * rule out. */
#ifndef BASE_PATTERN_H
#define BASE_PATTERN_H
#include <stdbool.h>
#include <stddef.h>

/* Whether a list of n bytes matches the name: one of its patterns does, and none with a !. fold: capitals in the list
 * count as small letters (the name has none). */
bool pattern_list_matches(const char *list, size_t n, const char *name, bool fold);

#endif
