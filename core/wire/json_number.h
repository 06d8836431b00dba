/* Floats as JSON's numbers, exact both ways and with a point as decimal separator, whatever the program's locale
 * says. */
#ifndef WIRE_JSON_NUMBER_H
#define WIRE_JSON_NUMBER_H
#include <stddef.h>

#define NUMBER_TEXT 32

/* A text of 15, 16 or 17 significant digits (float: 6 to 9), as few as make it read as the same number again, told from
 * an integer by a point or an exponent. Only for finite numbers. */
void number_print_double(char out[NUMBER_TEXT], double number);
void number_print_float(char out[NUMBER_TEXT], float number);

/* The nearest double (float) to a JSON number of n characters. Returns 0, or -1 if it is too large for one or memory
 * ran out (both are left out of what JSON can say). */
int number_parse_double(double *out, const char *text, size_t n);
int number_parse_float(float *out, const char *text, size_t n);

#endif
