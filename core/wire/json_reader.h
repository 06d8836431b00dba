/* A place in a JSON text: white space, punctuation, strings and numbers are stepped over here, and complaints find
 * their line and column. */
#ifndef WIRE_JSON_READER_H
#define WIRE_JSON_READER_H
#include "wire/json_string.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

struct json_reader {
    const char *text, *at, *end;
    struct ssx_error *err;
};

/* Sets err to the problem with line and column (both from 1, columns in characters) of `where` before it. Returns
 * -1. */
int reader_fail(struct json_reader *r, const char *where, const char *problem);

/* Steps over white space; returns what is then next, 0 at the end of the text. (A NUL in the text itself is no JSON
 * either.) */
char reader_peek(struct json_reader *r);

/* Whether this character is next, behind white space; it is then stepped over. */
bool reader_take(struct json_reader *r, char c);

/* The same where nothing else may come. Returns 0, or -1 with the problem as error. */
int reader_expect(struct json_reader *r, char c, const char *problem);

/* Takes the string whose quote, or the number whose first character, is at r->at. *whole: the number has neither
 * fraction nor exponent. Return 0, or -1 with err. */
int reader_take_string(struct json_reader *r, struct json_string *out);
int reader_take_number(struct json_reader *r, bool *whole);

#endif
