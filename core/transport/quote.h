/* Text as one word of a shell's command line, so that bash, dash, tcsh, fish, busybox and zsh read it alike. */
#ifndef TRANSPORT_QUOTE_H
#define TRANSPORT_QUOTE_H
#include "base/buf.h"

/* Adds text in single quotes, its own single quotes as '"'"' (a backslash means different things to different shells).
 * Text that holds a newline, a backslash or an exclamation mark reads alike only in POSIX shells. Returns 0 or -1. */
int shell_quote(struct buf *out, const char *text);

#endif
