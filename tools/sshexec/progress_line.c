#include "progress_line.h"

#include "color.h"

#include "base/buf.h"
#include "base/io.h"
#include "base/text.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The cursor goes back to the line's start, and what is cleared is all from there on: where a terminal that became
 * narrower has folded the line into several, the cursor is still at the first of them. (That one first, then those
 * below: tmux takes the clearing of a whole screen for a page to be kept.) Between a change of width and our next look
 * at it, the terminal itself keeps the line from going on below. */
#define SAVE_CURSOR "\0337"
#define RESTORE_CURSOR "\0338"
#define CLEAR "\r\033[K" SAVE_CURSOR "\033[B\033[J" RESTORE_CURSOR
#define NO_FOLDING "\033[?7l"
#define FOLDING "\033[?7h"
#define WIDTH 80 /* of a terminal that doesn't say */

static bool shown;

bool progress_line_possible(void) { return isatty(STDERR_FILENO) && !terminal_is_dumb(); }

void progress_line_draw(const char *text)
{
    struct winsize size = {0};
    struct buf line = {0};
    ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
    size_t width = size.ws_col ? size.ws_col : WIDTH;
    buf_add_text(&line, CLEAR NO_FOLDING);
    buf_add(&line, text, text_cut(text, strlen(text), width - 1, NULL));
    buf_add_text(&line, FOLDING "\r");
    shown = !line.failed && fd_write_all(STDERR_FILENO, buf_data(&line), buf_length(&line)) == 0;
    buf_free(&line);
}

void progress_line_clear(void)
{
    if (shown)
        (void)!fd_write_all(STDERR_FILENO, CLEAR, sizeof CLEAR - 1);
    shown = false;
}
