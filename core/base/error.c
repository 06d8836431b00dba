#include "base/error.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void store(struct ssx_error *err, enum ssx_error_code code, const char *text)
{
    err->code = code;
    text_escape(err->text, sizeof err->text, text, strlen(text));
}

int error_set(struct ssx_error *err, enum ssx_error_code code, const char *format, ...)
{
    int saved = errno;
    if (err && !err->code) {
        char text[SSX_ERROR_TEXT];
        va_list ap;
        va_start(ap, format);
        vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        store(err, code, text);
    }
    errno = saved;
    return -1;
}

int error_system(struct ssx_error *err, const char *format, ...)
{
    int saved = errno;
    if (err && !err->code) {
        char text[SSX_ERROR_TEXT];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof text)
            snprintf(text + n, sizeof text - (size_t)n, ": %s", strerror(saved));
        store(err, SSX_ERROR_SYSTEM, text);
    }
    errno = saved;
    return -1;
}

int error_prefix(struct ssx_error *err, const char *format, ...)
{
    int saved = errno;
    if (err && err->code) {
        char text[2 * SSX_ERROR_TEXT];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(text, SSX_ERROR_TEXT, format, ap);
        va_end(ap);
        size_t used = n < 0 ? 0 : (size_t)n < SSX_ERROR_TEXT ? (size_t)n : SSX_ERROR_TEXT - 1;
        snprintf(text + used, sizeof text - used, ": %s", err->text);
        store(err, err->code, text);
    }
    errno = saved;
    return -1;
}
