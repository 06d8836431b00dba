/* sshexec bundle extract: a bundle's plugins as files, in a directory for each machine, which --plugin-path takes. All
 * of it, or nothing. */
#include "bundle.h"

#include "base/error.h"
#include "base/file.h"
#include "base/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct extraction { char temp[PATH_MAX]; };

static int make_directory(const char *path, struct ssx_error *err)
{
    return mkdir(path, 0755) && errno != EEXIST ? error_system(err, "can't make the directory %s", path) : 0;
}

/* "aarch64"; "aarch64-glibc-2.38" where there is more than one of the type for that architecture. */
static void name_directory(char *out, size_t size, const struct extraction *e, const struct manifest *m, const struct variant *v)
{
    const struct manifest_type *t = manifest_type_of(m, v);
    size_t same = 0;
    for (size_t i = t->first; i < t->first + t->count; i++)
        same += strcmp(m->variants[i].arch, v->arch) == 0;
    snprintf(out, size, "%s/%s%s%s", e->temp, v->arch, same > 1 ? "-" : "", same > 1 ? v->libc : "");
}

static int write_object(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err)
{
    char directory[PATH_MAX + 80], path[PATH_MAX + 160];
    name_directory(directory, sizeof directory, user, m, v);
    if (make_directory(directory, err))
        return -1;
    snprintf(path, sizeof path, "%s/%s.so", directory, manifest_type_of(m, v)->name);
    return file_write_atomic(path, image, n, 0755, err);
}

static int write_text(const struct extraction *e, const char *name, const struct buf *text, struct ssx_error *err)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", e->temp, name);
    return buf_length(text) ? file_write_atomic(path, buf_data(text), buf_length(text), 0644, err) : 0;
}

static int extract(struct extraction *e, struct bundle *b, const struct bundle_words *w, const char *path,
                   struct ssx_error *err)
{
    if (!mkdtemp(e->temp))
        return error_system(err, "can't make %s", path);
    if (chmod(e->temp, 0755) || write_text(e, BUNDLE_MANIFEST, bundle_manifest_text(b), err) ||
        write_text(e, BUNDLE_SIGNATURE, bundle_signature(b), err) ||
        bundle_each(b, w->files[0], w->interrupt_fd, write_object, e, err) ||
        (rename(e->temp, path) && error_system(err, "can't make %s", path))) {
        tree_remove(e->temp);
        return -1;
    }
    return 0;
}

int bundle_extract(const struct bundle_words *w, struct ssx_error *err)
{
    struct bundle *b;
    struct bundle_signer signer;
    struct extraction e;
    char path[PATH_MAX];
    const char *dir = w->directory ? w->directory : ".";
    if (bundle_open(&b, w->files[0], err))
        return -1;
    const struct manifest *m = bundle_manifest(b);
    int rc = bundle_judge_signature(&signer, b, w->files[0], w->signers, w->identity, err);
    snprintf(path, sizeof path, "%s/%s-%s", dir, m->name, m->version);
    if (rc == 0 && (size_t)snprintf(e.temp, sizeof e.temp, "%s/.%s-%s.XXXXXX", dir, m->name, m->version) >= sizeof e.temp)
        rc = error_set(err, SSX_ERROR_USAGE, "the directory's name is too long");
    if (rc == 0 && access(path, F_OK) == 0)
        rc = error_set(err, SSX_ERROR_USAGE, "%s is already there; remove it, or give another directory with -C", path);
    if (rc == 0)
        rc = extract(&e, b, w, path, err);
    if (rc == 0)
        printf("%s\n", path);
    bundle_close(b);
    return rc;
}
