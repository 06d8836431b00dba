#include "fleet/options.h"

#include "base/error.h"

#include <string.h>

#define SIZE_LEAST 64       /* below the first version of either struct */
#define SIZE_MOST  (1u << 16) /* above any version */

/* Every field whose value is all zeros means "not given", so an older struct is one that ends in zeros. */
static int take(void *out, size_t known, const void *given, const char *which, struct ssx_error *err)
{
    size_t size;
    memset(out, 0, known);
    if (!given)
        return 0;
    memcpy(&size, given, sizeof size); /* the first member of each */
    if (size < SIZE_LEAST || size > SIZE_MOST)
        return error_set(err, SSX_ERROR_USAGE, "the options were not initialised: start from %s()", which);
    for (size_t i = known; i < size; i++)
        if (((const char *)given)[i])
            return error_set(err, SSX_ERROR_USAGE, "the program asks for options that this libsshexec (" SSX_VERSION ") doesn't know: install a newer one");
    memcpy(out, given, size < known ? size : known);
    return 0;
}

int options_take_session(struct ssx_session_options *out, const struct ssx_session_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_session_defaults", err);
}

int options_take_run(struct ssx_run_options *out, const struct ssx_run_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_run_defaults", err);
}
