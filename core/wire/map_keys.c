#include "wire/map_keys.h"

#include "base/text.h"
#include "wire/value.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct key {
    const unsigned char *at; /* the text */
    const unsigned char *pair, *end;
    size_t n;
    bool repeated;           /* comes again later */
};

#define FEW 16 /* most maps are small: no allocation for them */

/* By length first: cheap, and any order will do. Equal keys stay in the order of the map. */
static int by_text(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    int order = memcmp(a->at, b->at, a->n);
    return order ? order : (a->pair > b->pair) - (a->pair < b->pair);
}

static int by_place(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    return (a->pair > b->pair) - (a->pair < b->pair);
}

/* Sorts by text and marks. Returns how many are repeated. */
static size_t mark_repeated(struct key *keys, size_t count)
{
    size_t repeated = 0;
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 1; i < count; i++) {
        keys[i - 1].repeated = keys[i - 1].n == keys[i].n && memcmp(keys[i - 1].at, keys[i].at, keys[i].n) == 0;
        repeated += keys[i - 1].repeated;
    }
    return repeated;
}

/* Fills keys[pairs]. Returns whether all of them are text. */
static bool read_keys(struct key *keys, const unsigned char *bytes, size_t n, size_t pairs)
{
    struct value_reader r = value_reader(bytes, n);
    for (size_t i = 0; i < pairs; i++) {
        struct value key;
        const unsigned char *pair = r.at;
        if (value_next(&r, &key) || key.kind != VALUE_STR || value_skip(&r))
            return false;
        keys[i] = (struct key){key.at, pair, r.at, key.n, false};
    }
    return true;
}

int map_drop_repeated(unsigned char *bytes, size_t *n, size_t *pairs)
{
    struct key few[FEW], *keys = *pairs <= FEW ? few : malloc(*pairs * sizeof *keys);
    if (!keys)
        return -1;
    size_t repeated = read_keys(keys, bytes, *n, *pairs) ? mark_repeated(keys, *pairs) : 0;
    if (repeated) {
        unsigned char *to = bytes;
        qsort(keys, *pairs, sizeof *keys, by_place);
        for (size_t i = 0; i < *pairs; i++) {
            if (keys[i].repeated)
                continue;
            size_t length = (size_t)(keys[i].end - keys[i].pair);
            memmove(to, keys[i].pair, length);
            to += length;
        }
        *n = (size_t)(to - bytes);
        *pairs -= repeated;
    }
    if (keys != few)
        free(keys);
    return 0;
}

int map_is_object(const unsigned char *bytes, size_t n, size_t pairs)
{
    struct key few[FEW], *keys = pairs <= FEW ? few : malloc(pairs * sizeof *keys);
    if (!keys)
        return -1;
    bool yes = read_keys(keys, bytes, n, pairs);
    for (size_t i = 0; yes && i < pairs; i++)
        yes = text_is_utf8((const char *)keys[i].at, keys[i].n);
    yes = yes && !mark_repeated(keys, pairs);
    if (keys != few)
        free(keys);
    return yes;
}
