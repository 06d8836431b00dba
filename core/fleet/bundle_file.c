#include "payload.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct unpacking { struct payload *payload; int fd; };

/* bundle_each's: where the object is going to be, as an offset until the file is mapped. */
static int take_object(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err)
{
    struct unpacking *u = user;
    struct payload *p = u->payload;
    (void)m;
    if (fd_write_all(u->fd, image, n))
        return error_system(err, "can't unpack the bundle into a temporary file (TMPDIR)");
    p->objects[p->count++] = (struct client_object){.digest = v->digest, .size = n};
    p->size += n;
    return 0;
}

static int map(struct payload *p, int fd, struct ssx_error *err)
{
    size_t offset = 0;
    p->at = p->size ? mmap(NULL, p->size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (p->at == MAP_FAILED) {
        p->at = NULL;
        return error_system(err, "can't map the unpacked bundle");
    }
    for (size_t i = 0; i < p->count; i++) {
        p->objects[i].bytes = (const char *)p->at + offset;
        offset += p->objects[i].size;
    }
    return 0;
}

static int unpack(struct payload *p, const char *path, int interrupt_fd, struct ssx_error *err)
{
    const char *dir = getenv("TMPDIR");
    struct unpacking u = {p, open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    p->objects = calloc(bundle_manifest(p->bundle)->variant_count, sizeof *p->objects);
    int rc = u.fd < 0 ? error_system(err, "can't make a temporary file for the bundle (TMPDIR)")
                      : !p->objects ? error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", path)
                          : bundle_each(p->bundle, path, interrupt_fd, take_object, &u, err);
    if (rc == 0)
        rc = map(p, u.fd, err);
    fd_close(&u.fd);
    return rc;
}

int payload_open(struct payload *out, const char *path, const char *signers, const char *signer, int interrupt_fd,
                 struct ssx_error *err)
{
    struct bundle_signer who;
    memset(out, 0, sizeof *out);
    if (bundle_open(&out->bundle, path, err))
        return -1;
    const struct buf *text = bundle_manifest_text(out->bundle);
    digest_of(&out->manifest, buf_data(text), buf_length(text));
    if (bundle_judge_signature(&who, out->bundle, path, signers, signer, err) == 0 && unpack(out, path, interrupt_fd, err) == 0)
        return 0;
    payload_close(out);
    return -1;
}

void payload_close(struct payload *p)
{
    if (p->at)
        munmap(p->at, p->size);
    free(p->objects);
    bundle_close(p->bundle);
}
