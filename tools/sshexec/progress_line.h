/* The one line of stderr that is drawn over itself: how far things are, on a terminal that can take it back. */
#ifndef SSHEXEC_PROGRESS_LINE_H
#define SSHEXEC_PROGRESS_LINE_H
#include <stdbool.h>

/* Whether there is such a terminal: stderr is one, and TERM names one that does more than print. */
bool progress_line_possible(void);

/* Draws it (text is safe for a terminal), cut to the terminal's width, in place of the one before. */
void progress_line_draw(const char *text);

/* Takes it off, if there is one: to be called before anything else is written to the terminal. */
void progress_line_clear(void);

#endif
