#include "base/ini.h"

#include "base/error.h"

#include <string.h>

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n && strchr(" \t\r", text[n - 1]))
        text[--n] = 0;
    return text;
}

static int read_line(char *line, char **section, ini_visit *visit, void *user, unsigned number, struct ssx_error *err)
{
    line = trim(line);
    if (!*line || *line == '#' || *line == ';')
        return 0;
    size_t n = strlen(line);
    if (*line == '[') {
        if (line[n - 1] != ']')
            return error_set(err, SSX_ERROR_USAGE, "a heading without its ]");
        line[n - 1] = 0;
        *section = trim(line + 1);
        return 0;
    }
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" is not key = value", line);
    *equals = 0;
    return visit(user, *section, trim(line), trim(equals + 1), number, err);
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
