/* A line that somebody else wrote, made safe for a terminal, as git does with what servers say: colours stay, and
 * nothing else drives it. */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H
#include "base/buf.h"

/* Adds a line (n bytes, its newline not among them) to out. Text, tabs and colour sequences (ESC [ ... m) stay as they
 * are, and colours end with the line; a carriage return before its end goes, and so does ESC [ K, which grep puts
 * behind its colours; other control characters and bytes that are not UTF-8 become \xHH. Returns 0, or -1 without
 * memory. */
int printable_add(struct buf *out, const void *line, size_t n);

#endif
