/* Colours of what many hosts say. */
#ifndef SSHEXEC_COLOR_H
#define SSHEXEC_COLOR_H
#include "settings.h"

/* What turns each colour on, and all of them off; all "" where there are to be none. */
struct colors { const char *name, *head, *removed, *added, *off; };

/* For what goes to stdout: --color, NO_COLOR, and whether it is a terminal. */
struct colors colors_of(const struct settings *s);

/* Whether TERM names no terminal, or one that knows no control sequences. */
bool terminal_is_dumb(void);

#endif
