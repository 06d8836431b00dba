/* A bundle's objects, one whole after the other: bundle_each. */
#include "base/error.h"
#include "base/io.h"
#include "bundle/archive.h"

#include <poll.h>

static bool is_interrupted(int fd)
{
    struct pollfd interrupt = {fd, POLLIN, 0};
    return fd >= 0 && poll(&interrupt, 1, 0) > 0;
}

/* The object that bundle_next came to, in place of what image holds. Returns 0 once its digest is found to be right, or
 * -1 with err. */
static int read_object(struct buf *image, struct bundle *b, const char *path, struct ssx_error *err)
{
    const void *piece;
    ptrdiff_t n;
    buf_consume(image, buf_length(image));
    while ((n = bundle_read(b, &piece, err)) > 0)
        if (buf_add(image, piece, (size_t)n))
            return error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", path);
    return (int)n;
}

int bundle_each(struct bundle *b, const char *path, int interrupt_fd, bundle_visit *visit, void *user,
                struct ssx_error *err)
{
    struct buf image = {0};
    const struct variant *v;
    int rc;
    while ((rc = bundle_next(b, &v, err)) > 0) {
        rc = read_object(&image, b, path, err);
        if (rc == 0 && is_interrupted(interrupt_fd))
            rc = error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
        if (rc == 0 && visit(user, bundle_manifest(b), v, buf_data(&image), buf_length(&image), err))
            rc = -1;
        if (rc)
            break;
    }
    buf_free(&image);
    return rc;
}
