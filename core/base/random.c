#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *out, size_t n)
{
    for (char *p = out; n;) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno != EINTR)
            abort(); /* a kernel without getrandom: nothing here could be trusted */
        if (got > 0)
            p += got, n -= (size_t)got;
    }
}
