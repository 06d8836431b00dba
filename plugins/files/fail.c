#include "fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int set(struct ssx_error *err, enum ssx_error_code code, const char *why, const char *format, va_list ap)
{
    if (err->code)
        return -1;
    err->code = code;
    int n = vsnprintf(err->text, sizeof err->text, format, ap);
    if (why && n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", why);
    return -1;
}

int fail(struct ssx_error *err, enum ssx_error_code code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    set(err, code, NULL, format, ap);
    va_end(ap);
    return -1;
}

int fail_errno(struct ssx_error *err, const char *format, ...)
{
    const char *why = strerror(errno);
    va_list ap;
    va_start(ap, format);
    set(err, SSX_ERROR_SYSTEM, why, format, ap);
    va_end(ap);
    return -1;
}
