/* What JSON can't say, as text inside objects of one key (wire/json.h lists these forms): their names, and the text of
 * floats and times. */
#ifndef WIRE_JSON_FORM_H
#define WIRE_JSON_FORM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_form { FORM_NONE, FORM_BIN, FORM_STR, FORM_F32, FORM_FLOAT, FORM_TIME, FORM_EXT, FORM_MAP };
#define FORM_NAME_MAX 6 /* "$float" */
#define FORM_TEXT 40    /* room for the text of a float or time, with its NUL */

/* The form that a key denotes. */
enum json_form form_named(const char *key, size_t n);

/* A float that is not finite, by its bits (`width`: 32 or 64 of them): "nan" for the usual one, "inf", "-inf",
 * "nan:HEX" for other NaNs. */
void form_float_print(char out[FORM_TEXT], uint64_t bits, unsigned width);
int form_float_parse(uint64_t *bits, unsigned width, const char *text, size_t n); /* 0 or -1 */

/* msgpack's timestamp extension: decimal seconds since 1970 with nine decimals. Printing returns false for bytes that
 * are not its shortest form; parsing takes fewer decimals too, writes the shortest form (at most 12 bytes) and returns
 * its length, 0 for other text. */
#define FORM_TIME_TYPE (-1)
bool form_time_print(char out[FORM_TEXT], const unsigned char *bytes, size_t n);
size_t form_time_parse(unsigned char out[12], const char *text, size_t n);

#endif
