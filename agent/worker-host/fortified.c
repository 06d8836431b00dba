/* The functions that glibc's _FORTIFY_SOURCE puts in place of the usual ones, with the same check. musl has none of
 * them, but all else that the worker host asks for: with these its loader runs the same file that glibc's does. */
#ifdef OLD_GLIBC
#undef _FORTIFY_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memmove_chk(void *to, const void *from, size_t n, size_t room);
int __snprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, ...) __attribute__((format(printf, 5, 6)));
int __vsnprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, va_list values) __attribute__((format(printf, 5, 0)));

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room)
{
    if (n > room)
        abort();
    return memcpy(to, from, n);
}

void *__memmove_chk(void *to, const void *from, size_t n, size_t room)
{
    if (n > room)
        abort();
    return memmove(to, from, n);
}

int __vsnprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, va_list values)
{
    (void)flag; /* about %n, which no format here has */
    if (n > room)
        abort();
    return vsnprintf(to, n, format, values);
}

int __snprintf_chk(char *to, size_t n, int flag, size_t room, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int length = __vsnprintf_chk(to, n, flag, room, format, values);
    va_end(values);
    return length;
}
#endif
typedef int fortified_is_not_empty; /* ISO C wants a declaration in every file */
