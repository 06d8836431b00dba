#include "base/ini.h"

#include "base/error.h"
#include "base/text.h"

#include <string.h>

static int read_line(char *line, char **section, ini_visit *visit, void *user, unsigned number, struct ssx_error *err)
{
    line = text_trim(line);
    if (!*line || *line == '#' || *line == ';')
        return 0;
    size_t n = strlen(line);
    if (*line == '[') {
        if (line[n - 1] != ']')
            return error_set(err, SSX_ERROR_USAGE, "a heading without its ]");
        line[n - 1] = 0;
        *section = text_trim(line + 1);
        return 0;
    }
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" is not key = value", line);
    *equals = 0;
    return visit(user, *section, text_trim(line), text_trim(equals + 1), number, err);
}

int ini_read(char *text, size_t n, const char *name, ini_visit *visit, void *user, struct ssx_error *err)
{
    char none[] = "", *section = none;
    unsigned number = 0;
    if (memchr(text, 0, n))
        return error_set(err, SSX_ERROR_USAGE, "%s holds a NUL byte: it is not a text file", name);
    for (char *line = text, *end = text + n, *next; line < end; line = next) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        if (newline)
            *newline = 0;
        number++;
        if (read_line(line, &section, visit, user, number, err))
            return error_prefix(err, "%s:%u", name, number);
    }
    return 0;
}
