#include "fleet/bundle_file.h"

#include "base/error.h"
#include "base/io.h"
#include "bundle/judge.h"
#include "fleet/options.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct unpacking { struct ssx_bundle *bundle; int fd; };

/* bundle_each's: where the object is going to be, as an offset until the file is mapped. */
static int take_object(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n,
                       struct ssx_error *err)
{
    struct unpacking *u = user;
    struct ssx_bundle *b = u->bundle;
    (void)m;
    if (fd_write_all(u->fd, image, n))
        return error_system(err, "can't unpack the bundle into a temporary file (TMPDIR)");
    b->objects[b->count++] = (struct client_object){.digest = v->digest, .size = n};
    b->size += n;
    return 0;
}

static int map(struct ssx_bundle *b, int fd, struct ssx_error *err)
{
    size_t offset = 0;
    b->at = b->size ? mmap(NULL, b->size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (b->at == MAP_FAILED) {
        b->at = NULL;
        return error_system(err, "can't map the unpacked bundle");
    }
    for (size_t i = 0; i < b->count; i++) {
        b->objects[i].bytes = (const char *)b->at + offset;
        offset += b->objects[i].size;
    }
    return 0;
}

static int unpack(struct ssx_bundle *b, const char *path, int interrupt_fd, struct ssx_error *err)
{
    const char *dir = getenv("TMPDIR");
    struct unpacking u = {b, open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    b->objects = calloc(bundle_manifest(b->file)->variant_count, sizeof *b->objects);
    int rc = u.fd < 0 ? error_system(err, "can't make a temporary file for the bundle (TMPDIR)")
        : !b->objects ? error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", path)
        : bundle_each(b->file, path, interrupt_fd > 0 ? interrupt_fd : -1, take_object, &u, err);
    if (rc == 0)
        rc = map(b, u.fd, err);
    fd_close(&u.fd);
    return rc;
}

static int open_file(struct ssx_bundle *b, const char *path, const struct ssx_bundle_options *o, struct ssx_error *err)
{
    struct bundle_signer who;
    if (o->signer && !o->signers)
        return error_set(err, SSX_ERROR_USAGE, "a signer without the file of signers, which says which key is whose");
    if (bundle_open(&b->file, path, err))
        return -1;
    const struct buf *text = bundle_manifest_text(b->file);
    digest_of(&b->manifest, buf_data(text), buf_length(text));
    return bundle_judge_signature(&who, b->file, path, o->signers, o->signer, err) ||
           unpack(b, path, o->interrupt_fd, err) ? -1 : 0;
}

int ssx_bundle_open(struct ssx_bundle **out, const char *path, const struct ssx_bundle_options *options,
                    struct ssx_error *err)
{
    struct ssx_error unread = {0};
    struct ssx_bundle_options o;
    struct ssx_bundle *b = calloc(1, sizeof *b);
    *out = NULL;
    err = err ? err : &unread; /* what is below looks at it */
    if (!b)
        return error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", path);
    if (options_take_bundle(&o, options, err) || open_file(b, path, &o, err)) {
        ssx_bundle_close(b);
        return -1;
    }
    *out = b;
    return 0;
}

void ssx_bundle_close(struct ssx_bundle *b)
{
    if (!b)
        return;
    if (b->at)
        munmap(b->at, b->size);
    free(b->objects);
    if (b->file)
        bundle_close(b->file);
    free(b);
}

const char *ssx_bundle_name(const struct ssx_bundle *b) { return bundle_manifest(b->file)->name; }
const char *ssx_bundle_version(const struct ssx_bundle *b) { return bundle_manifest(b->file)->version; }
uint64_t ssx_bundle_serial(const struct ssx_bundle *b) { return bundle_manifest(b->file)->serial; }
