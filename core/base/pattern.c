#include "base/pattern.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/* * any run, ? any one character. Steps back to the last * only: n * m steps at most. */
static bool matches(const char *pattern, size_t n, const char *name, bool fold)
{
    size_t p = 0, star = SIZE_MAX;
    const char *retry = NULL;
    while (*name) {
        if (p < n && pattern[p] == '*') {
            star = p++;
            retry = name;
        } else if (p < n && (pattern[p] == '?' || (fold ? tolower((unsigned char)pattern[p]) : pattern[p]) == *name)) {
            p++;
            name++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (p < n && pattern[p] == '*')
        p++;
    return p == n;
}

bool pattern_list_matches(const char *list, size_t n, const char *name, bool fold)
{
    bool found = false;
    for (const char *at = list, *end = list + n; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        bool negated = *at == '!';
        if (matches(at + negated, (size_t)(stop - at) - negated, name, fold)) {
            if (negated)
                return false;
            found = true;
        }
        at = stop + 1;
    }
    return found;
}
