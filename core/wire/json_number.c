#include "wire/json_number.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C locale for this thread; returns what was in force. glibc and musl have it ready, so it can't fail and is not
 * freed. */
static locale_t enter_c_locale(void) { return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); }

static void mark_as_float(char out[NUMBER_TEXT])
{
    if (!strpbrk(out, ".e"))
        strcat(out, ".0");
}

/* Whether trying 15 digits is worth its cost: false for most doubles that need more. Products and quotients of integers
 * below 2^53 and powers of ten up to 1e22 are rounded once only, so that a number with 15 digits comes back exactly. */
static bool may_have_15_digits(double number)
{
    static const double powers[] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    };
    double size = number < 0 ? -number : number;
    size_t p = 0;
    while (p < 22 && size * powers[p] < 1e14)
        p++;
    double scaled = size * powers[p];
    return scaled < 1e14 || scaled >= 1e15 || (double)(int64_t)(scaled + 0.5) / powers[p] == size;
}

void number_print_double(char out[NUMBER_TEXT], double number)
{
    if (number > -1e15 && number < 1e15 && number != 0 && (double)(int64_t)number == number) {
        snprintf(out, NUMBER_TEXT, "%" PRId64 ".0", (int64_t)number);
        return;
    }
    locale_t before = enter_c_locale();
    for (int digits = may_have_15_digits(number) ? 15 : 16; digits <= 17; digits++) {
        snprintf(out, NUMBER_TEXT, "%.*g", digits, number);
        if (digits < 17 && strtod(out, NULL) == number)
            break;
    }
    uselocale(before);
    mark_as_float(out);
}

void number_print_float(char out[NUMBER_TEXT], float number)
{
    locale_t before = enter_c_locale();
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(out, NUMBER_TEXT, "%.*g", digits, (double)number);
        if (digits < 9 && strtof(out, NULL) == number)
            break;
    }
    uselocale(before);
    mark_as_float(out);
}

/* The same text with a NUL behind it: in `small` where it fits, else allocated. */
static char *ended_copy(char *small, size_t size, const char *text, size_t n)
{
    char *copy = n < size ? small : malloc(n + 1);
    if (copy) {
        memcpy(copy, text, n);
        copy[n] = 0;
    }
    return copy;
}

int number_parse_double(double *out, const char *text, size_t n)
{
    char small[64], *copy = ended_copy(small, sizeof small, text, n);
    if (!copy)
        return -1;
    locale_t before = enter_c_locale();
    *out = strtod(copy, NULL);
    uselocale(before);
    if (copy != small)
        free(copy);
    return isfinite(*out) ? 0 : -1;
}

int number_parse_float(float *out, const char *text, size_t n)
{
    char small[64], *copy = ended_copy(small, sizeof small, text, n);
    if (!copy)
        return -1;
    locale_t before = enter_c_locale();
    *out = strtof(copy, NULL);
    uselocale(before);
    if (copy != small)
        free(copy);
    return isfinite(*out) ? 0 : -1;
}
