/* JSON's strings: finding their end and their length before anything is copied, taking them out of their escapes. (Into
 * escapes: json_add_string.) */
#ifndef WIRE_JSON_STRING_H
#define WIRE_JSON_STRING_H
#include <stddef.h>

struct json_string {
    const char *at, *end; /* between the quotes, borrowed */
    size_t n;             /* bytes of UTF-8 that it stands for */
    const char *bad;      /* where string_scan failed */
};

/* Reads the string whose opening quote is at `at`. Returns NULL, or what is wrong at out->bad. */
const char *string_scan(struct json_string *out, const char *at, const char *end);

/* Writes the n bytes that a scanned string stands for. */
void string_decode(char *out, const struct json_string *s);

#endif
