#include "transport/told.h"

#include "base/error.h"
#include "transport/become.h"

#include <stdbool.h>
#include <string.h>

static bool has(const char *line, size_t n, const char *text) { return memmem(line, n, text, strlen(text)); }

const char *told_line(const char *text, size_t n, size_t *length)
{
    const char *best = text;
    *length = 0;
    for (const char *line = text, *end = text + n; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t whole = (size_t)((newline ? newline : end) - line), now = whole;
        while (now && strchr("\r \t", line[now - 1]))
            now--;
        if (now) {
            best = line;
            *length = now;
        }
        if (has(line, now, "marked as revoked") || (has(line, now, "Host key for") && has(line, now, "changed")))
            break;
        line += whole + 1;
    }
    return best;
}

void told_explain(struct ssx_error *err, const char *text, size_t n)
{
    struct ssx_error told = {0};
    const char *line = told_line(text, n, &n);
    if (!n || become_explain(err, line, n))
        return;
    error_set(&told, err->code, "%.*s (%s)", (int)n, line, err->text);
    *err = told;
}
