/* The keys of one msgpack map: whether one comes twice, and leaving out all but the last of each. By sorting, so that
 * no choice of keys makes it slow. */
#ifndef WIRE_MAP_KEYS_H
#define WIRE_MAP_KEYS_H
#include <stddef.h>

/* `bytes` hold that many pairs, well-formed, each key a str. Drops every pair whose key comes again later and closes
 * the gaps; *n and
 * *pairs become what is left. Returns 0, or -1 if memory ran out. */
int map_drop_repeated(unsigned char *bytes, size_t *n, size_t *pairs);

/* Whether the pairs at the start of n well-formed bytes can be an object of JSON: each key UTF-8 text, none twice.
 * Returns 1 or 0, or -1 if memory ran out. */
int map_is_object(const unsigned char *bytes, size_t n, size_t pairs);

#endif
