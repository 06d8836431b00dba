/* A growing list of words, always ended by NULL: an argv in the making, the paths of a directive. */
#ifndef TRANSPORT_WORDS_H
#define TRANSPORT_WORDS_H
#include <stdbool.h>
#include <stddef.h>

struct words {
    char **at;   /* owned, each word too; at[n] is NULL; NULL as long as nothing was added */
    size_t n;
    bool failed; /* memory ran out: a word is missing; sticky until words_free */
};

/* Adds a copy. A zeroed struct is an empty list. */
void words_add(struct words *w, const char *text);
void words_add_n(struct words *w, const char *text, size_t n);
void words_free(struct words *w);

#endif
