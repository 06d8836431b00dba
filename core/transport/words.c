#include "transport/words.h"

#include <stdlib.h>
#include <string.h>

void words_add_n(struct words *w, const char *text, size_t n)
{
    char **at = realloc(w->at, (w->n + 2) * sizeof *at);
    if (at)
        w->at = at;
    char *copy = at ? strndup(text, n) : NULL; /* a failed copy leaves at[n] as it was: NULL, or never looked at */
    if (!copy) {
        w->failed = true;
        return;
    }
    at[w->n++] = copy;
    at[w->n] = NULL;
}

void words_add(struct words *w, const char *text) { words_add_n(w, text, strlen(text)); }

void words_free(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->at[i]);
    free(w->at);
    *w = (struct words){0};
}
