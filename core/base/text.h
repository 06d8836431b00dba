/* Small work on text: making hostile text safe to show, finding the name that was probably meant, hexadecimal. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies n bytes of text into out (size bytes, NUL-ended, cut on a whole character), control characters, DEL and bytes
 * that are not UTF-8 written as \xHH, a newline or tab as \n and \t. What comes out can't drive a terminal. Returns its
 * length. */
size_t text_escape(char *out, size_t size, const char *text, size_t n);

/* How many insertions, deletions, replacements and swaps of neighbours turn a into b (optimal string alignment). Names
 * of over 64 bytes are infinitely far. */
size_t text_distance(const char *a, const char *b);

/* Whether `candidate` is near enough to `word` to be suggested for it. */
bool text_is_near(const char *word, const char *candidate);

/* The length of the UTF-8 character at the start of n (at least 1) bytes; 0 where there is none (overlong forms,
 * surrogates, cut off). */
size_t text_utf8_length(const char *text, size_t n);

/* Whether n bytes are well-formed UTF-8. */
bool text_is_utf8(const char *text, size_t n);

/* How many columns of a terminal n bytes take; what is not UTF-8 takes one a byte. Control characters are not for
 * here. */
size_t text_width(const char *text, size_t n);

/* How many of n bytes, whole characters, fit into so many columns; *width (may be NULL) is how many they take. */
size_t text_cut(const char *text, size_t n, size_t width_max, size_t *width);

/* 2n lower-case digits and a NUL into out. */
void text_hex(char *out, const void *bytes, size_t n);

/* Exactly 2n digits of either case into n bytes. Returns 0, or -1 for anything else. */
int text_unhex(void *out, size_t n, const char *hex);

/* Whether name is a type name: [a-z][a-z0-9_-]{0,63} (PROTOCOL.md, section 5). */
bool text_is_type_name(const char *name);
#define TYPE_NAME_MAX 64 /* without its NUL */

/* "1048576", "500K", "2M", "1G", "1T" (of 1024): a size in bytes; -1 for anything else. */
int64_t text_size(const char *text);

/* "500ms", "10", "1.5s", "2m", "1h", "30d": a duration in milliseconds; -1 for anything else. */
long text_duration(const char *text);

/* Without the blanks, tabs and carriage returns around it: cuts them off the end, and returns where the rest begins. */
char *text_trim(char *text);

#endif
