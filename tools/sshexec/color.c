#include "color.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool terminal_is_dumb(void)
{
    const char *term = getenv("TERM");
    return !term || !*term || strcmp(term, "dumb") == 0;
}

struct colors colors_of(const struct settings *s)
{
    const char *no = getenv("NO_COLOR");
    bool automatic = isatty(STDOUT_FILENO) && !(no && *no) && !terminal_is_dumb();
    bool on = s->color == COLOR_ALWAYS || (s->color == COLOR_AUTO && automatic);
    return on ? (struct colors){"\033[36m", "\033[1m", "\033[31m", "\033[32m", "\033[0m"} : (struct colors){"", "", "", "", ""};
}
