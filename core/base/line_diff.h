/* How one text differs from another, line by line, as diff -u shows it. */
#ifndef BASE_LINE_DIFF_H
#define BASE_LINE_DIFF_H
#include "base/buf.h"

/* What goes around lines of each kind: colours, or "". */
struct diff_look { const char *hunk, *removed, *added, *after; };

/* Adds the hunks that turn a (an bytes) into b, with 3 lines around each change; nothing where they are the same. Texts
 * that have very little in common are shown as replaced: the time is bounded by lines x DIFF_EDITS_MAX. Returns 0, or
 * -1 without memory. */
#define DIFF_EDITS_MAX 1000
int diff_lines(struct buf *out, const void *a, size_t an, const void *b, size_t bn, const struct diff_look *look);

#endif
