#include "color.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct colors colors_of(const struct settings *s)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    bool automatic = isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb");
    bool on = s->color == COLOR_ALWAYS || (s->color == COLOR_AUTO && automatic);
    return on ? (struct colors){"\033[36m", "\033[1m", "\033[31m", "\033[32m", "\033[0m"} : (struct colors){"", "", "", "", ""};
}
