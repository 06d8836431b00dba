#include "partial.h"

#include "fail.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define BLOCK 4096u              /* of a hole */
#define TAG (sizeof PARTIAL_PREFIX - 1 + 17) /* prefix, T and "-" */
#define PARTIAL_NAME (TAG + 19)
#define SLOTS 10
#define MANY 16                  /* files that are worth one flush together */
#define WRITE_OUT (16u << 20)     /* bytes between two nudges to the disk */

int partial_init(struct partial *p, struct folder *f, const char *name, const struct entry *e, struct ssx_error *err)
{
    *p = (struct partial){.folder = f, .name = strdup(name), .mode = e->mode & MODE_BITS, .mtime = e->mtime, .nanoseconds = e->nanoseconds,
                          .size = e->size, .fd = -1};
    f->refs++;
    sha256_start(&p->digest);
    return p->name ? 0 : fail(err, SSX_ERROR_SYSTEM, "out of memory");
}

static void add_hex(char *out, const void *bytes, size_t n)
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 s;
    sha256_start(&s);
    sha256_add(&s, bytes, n);
    sha256_digest(&s, digest);
    for (int i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void partial_name(const struct partial *p, int slot, char out[PARTIAL_NAME])
{
    unsigned char source[20];
    put_u32(put_u64(put_u64(source, p->size), (uint64_t)p->mtime), p->nanoseconds);
    memcpy(out, PARTIAL_PREFIX, sizeof PARTIAL_PREFIX);
    add_hex(out + TAG - 17, p->name, strlen(p->name));
    out[TAG - 1] = '-';
    add_hex(out + TAG, source, sizeof source);
    snprintf(out + PARTIAL_NAME - 3, 3, "-%d", slot);
}

static int complain(const struct partial *p, const char *what, struct ssx_error *err)
{
    char path[PATH_BYTES];
    return fail_errno(err, "can't %s %s", what, folder_path(p->folder, p->name, path));
}

/* Adds what is in the file, up to n bytes; a file that can't be read, or is shorter, leaves the digest empty: it is
 * then of no use. */
static void digest_file(struct partial *p, uint64_t n)
{
    static unsigned char bytes[256 << 10];
    sha256_start(&p->digest);
    while (p->digest.n < n) {
        uint64_t left = n - p->digest.n;
        ssize_t got = pread(p->fd, bytes, left < sizeof bytes ? (size_t)left : sizeof bytes, (off_t)p->digest.n);
        if (got <= 0) {
            sha256_start(&p->digest);
            return;
        }
        sha256_add(&p->digest, bytes, (size_t)got);
    }
}

static void close_file(struct partial *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

enum lock { LOCKED, BUSY, GONE, LOCK_FAILED };

/* One process at a time writes a partial file. It may have got its name, and be no partial file any more, between our
 * opening and locking it: GONE. */
static enum lock take_lock(struct partial *p, const char *name, struct ssx_error *err)
{
    char path[PATH_BYTES];
    struct stat mine, now;
    if (flock(p->fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            return BUSY;
        complain(p, "lock what there is of", err);
        return LOCK_FAILED;
    }
    if (status_of(p->fd, &mine) || status_at(p->folder->fd, name, &now, AT_SYMLINK_NOFOLLOW) ||
        now.st_ino != mine.st_ino || now.st_dev != mine.st_dev)
        return GONE;
    if (S_ISREG(mine.st_mode) && mine.st_uid == geteuid() && mine.st_nlink == 1)
        return LOCKED;
    fail(err, SSX_ERROR_SYSTEM, "%s is not ours to write to", folder_path(p->folder, name, path));
    return LOCK_FAILED;
}

static int create(struct partial *p, struct ssx_error *err)
{
    char name[PARTIAL_NAME];
    partial_name(p, p->slot, name);
    p->fd = openat(p->folder->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (p->fd < 0)
        return complain(p, "write", err);
    enum lock lock = take_lock(p, name, err);
    if (lock == LOCKED)
        return 0;
    close_file(p);
    return fail(err, SSX_ERROR_SYSTEM, "another transfer took the partial file of %s", p->name);
}

/* What another process has of it, into a partial file of our own. */
static int copy_busy(struct partial *p, int busy, struct ssx_error *err)
{
    static unsigned char bytes[256 << 10];
    char name[PARTIAL_NAME];
    struct stat st;
    ssize_t n = 0;
    partial_name(p, busy, name);
    int from = openat(p->folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0)
        return 0;
    bool usable = status_of(from, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (uint64_t)st.st_size <= p->size;
    int rc = usable ? create(p, err) : 0;
    while (usable && rc == 0 && (n = pread(from, bytes, sizeof bytes, (off_t)p->digest.n)) > 0)
        rc = partial_write(p, bytes, (size_t)n, err);
    close(from);
    return rc;
}

static int use_found(struct partial *p)
{
    struct stat st;
    if (status_of(p->fd, &st) == 0 && (uint64_t)st.st_size <= p->size)
        digest_file(p, (uint64_t)st.st_size);
    return 0;
}

static int find_partial(struct partial *p, struct ssx_error *err)
{
    char name[PARTIAL_NAME];
    int busy = -1;
    for (p->slot = 0; p->slot < SLOTS; p->slot++) {
        partial_name(p, p->slot, name);
        p->fd = openat(p->folder->fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (p->fd < 0 && errno != ENOENT)
            return complain(p, "open what there is of", err);
        enum lock lock = p->fd < 0 ? GONE : take_lock(p, name, err);
        if (lock == LOCKED)
            return use_found(p);
        close_file(p);
        if (lock == LOCK_FAILED)
            return -1;
        if (lock == GONE)
            return busy < 0 ? 0 : copy_busy(p, busy, err);
        busy = busy < 0 ? p->slot : busy;
    }
    return fail(err, SSX_ERROR_SYSTEM, "%d other transfers are writing %s", SLOTS, p->name);
}

static bool looks_the_same(const struct partial *p, const struct stat *st)
{
    return S_ISREG(st->st_mode) && (uint64_t)st->st_size == p->size && st->st_mtim.tv_sec == p->mtime &&
           (uint32_t)st->st_mtim.tv_nsec == p->nanoseconds;
}

/* The same size and time mean probably the same bytes, which the digest will tell. */
static void find_whole(struct partial *p)
{
    struct stat st;
    p->fd = openat(p->folder->fd, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (p->fd < 0)
        return;
    p->in_place = status_of(p->fd, &st) == 0 && looks_the_same(p, &st);
    if (p->in_place)
        digest_file(p, p->size);
    if (!p->in_place || p->digest.n < p->size) {
        p->in_place = false;
        close_file(p);
    }
}

int partial_find(struct partial *p, struct ssx_error *err)
{
    if (find_partial(p, err))
        return -1;
    if (p->fd < 0)
        find_whole(p);
    return 0;
}

int partial_begin(struct partial *p, uint64_t offset, struct ssx_error *err)
{
    if (p->in_place && offset == p->size)
        return 0;
    if (offset && p->fd >= 0 && !p->in_place && offset == p->digest.n)
        return 0;
    if (offset)
        return fail(err, SSX_ERROR_PROTOCOL, "not a stream of files: bytes from where nothing was asked for");
    sha256_start(&p->digest);
    if (p->in_place)
        close_file(p);
    p->in_place = false;
    if (p->fd < 0)
        return create(p, err);
    return ftruncate(p->fd, 0) ? complain(p, "write", err) : 0;
}

static bool is_zero(const unsigned char *at, size_t n) { return !at[0] && memcmp(at, at + 1, n - 1) == 0; }

static int write_run(struct partial *p, const unsigned char *at, size_t n, uint64_t offset, struct ssx_error *err)
{
    while (n) {
        ssize_t wrote = pwrite(p->fd, at, n, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return complain(p, "write", err);
        at += wrote;
        n -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return 0;
}

/* Sets the disk to work on what came so far: the fsync at the end would else be a long silence after the last byte. */
static void start_writing_out(const struct partial *p, uint64_t from)
{
    if (p->digest.n / WRITE_OUT != from / WRITE_OUT)
        sync_file_range(p->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int partial_write(struct partial *p, const unsigned char *at, size_t n, struct ssx_error *err)
{
    uint64_t offset = p->digest.n;
    if (n > p->size - offset)
        return fail(err, SSX_ERROR_PROTOCOL, "not a stream of files: more bytes than were announced");
    sha256_add(&p->digest, at, n);
    for (size_t from = 0, to = 0; from < n; from = to) { /* each run of blocks that hold something */
        size_t block = n - to < BLOCK ? n - to : BLOCK;
        if (is_zero(at + to, block)) {
            to += block;
            continue;
        }
        from = to;
        while (to < n && !is_zero(at + to, block)) {
            to += block;
            block = n - to < BLOCK ? n - to : BLOCK;
        }
        if (write_run(p, at + from, to - from, offset + from, err))
            return -1;
    }
    start_writing_out(p, offset);
    return 0;
}

/* What earlier transfers of other sources left for this place. One that is being written is locked, and stays. */
static void remove_leftovers(struct partial *p)
{
    char name[PARTIAL_NAME];
    partial_name(p, p->slot, name);
    folder_scan(p->folder);
    for (size_t i = 0; i < p->folder->leftover_count; i++) {
        const char *other = p->folder->leftovers[i];
        if (strncmp(other, name, TAG) != 0)
            continue;
        int fd = openat(p->folder->fd, other, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(p->folder->fd, other, 0);
        if (fd >= 0)
            close(fd);
    }
}

static int set_mode_and_time(struct partial *p, struct ssx_error *err)
{
    struct stat st;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = p->mtime, .tv_nsec = p->nanoseconds}};
    bool same_mode = p->in_place && status_of(p->fd, &st) == 0 && (st.st_mode & 07777) == p->mode; /* it may be another's */
    if (!same_mode && fchmod(p->fd, p->mode))
        return complain(p, "set the mode of", err);
    if (p->in_place)
        return 0;
    if (ftruncate(p->fd, (off_t)p->size)) /* a hole at its end */
        return complain(p, "write", err);
    return futimens(p->fd, times) ? complain(p, "set the time of", err) : 0;
}

int partial_check(struct partial *p, const unsigned char digest[SHA256_SIZE], struct ssx_error *err)
{
    unsigned char ours[SHA256_SIZE];
    char path[PATH_BYTES];
    sha256_digest(&p->digest, ours);
    if (p->digest.n != p->size)
        return fail(err, SSX_ERROR_PROTOCOL, "not a stream of files: fewer bytes than were announced");
    if (memcmp(ours, digest, sizeof ours) != 0)
        return fail(err, SSX_ERROR_PROTOCOL, "refused: what came for %s has not the digest that it was sent with",
                    folder_path(p->folder, p->name, path));
    if (set_mode_and_time(p, err))
        return -1;
    p->whole = true;
    return 0;
}

static int give_name(struct partial *p, struct ssx_error *err)
{
    char name[PARTIAL_NAME];
    partial_name(p, p->slot, name);
    if (renameat(p->folder->fd, name, p->folder->fd, p->name))
        return complain(p, "replace", err);
    p->folder->changed = true;
    close_file(p);
    remove_leftovers(p);
    return 0;
}

static bool is_waiting(const struct partial *p) { return p->whole && !p->in_place; }

static bool is_on(const struct partial *p, dev_t device)
{
    struct stat st;
    return status_of(p->fd, &st) == 0 && st.st_dev == device;
}

/* One fsync costs a flush of the disk's own cache, some milliseconds, whatever the file's size. So many files are
 * written out side by side, each waited for (an error of the disk is told there), and the rest, names and all, goes out
 * with one flush for the whole file system. */
static int write_out_many(struct partial *p, size_t count, dev_t device, struct ssx_error *err)
{
    const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    const struct partial *last = NULL;
    for (size_t i = 0; i < count; i++)
        if (is_waiting(&p[i]))
            sync_file_range(p[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    for (size_t i = 0; i < count; i++) {
        if (!is_waiting(&p[i]))
            continue;
        bool together = is_on(&p[i], device) && sync_file_range(p[i].fd, 0, 0, all) == 0;
        if (!together && fsync(p[i].fd))
            return complain(&p[i], "write to disk", err);
        last = together ? &p[i] : last;
    }
    return last && syncfs(last->fd) ? complain(last, "write to disk", err) : 0;
}

static int write_out(struct partial *p, size_t count, struct ssx_error *err)
{
    size_t waiting = 0;
    struct stat st;
    const struct partial *some = NULL;
    for (size_t i = 0; i < count; i++)
        if (is_waiting(&p[i])) {
            some = &p[i];
            waiting++;
        }
    if (waiting >= MANY && status_of(some->fd, &st) == 0)
        return write_out_many(p, count, st.st_dev, err);
    for (size_t i = 0; i < count; i++)
        if (is_waiting(&p[i]) && fsync(p[i].fd))
            return complain(&p[i], "write to disk", err);
    return 0;
}

int partial_place(struct partial *p, size_t count, struct ssx_error *err)
{
    if (write_out(p, count, err))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (is_waiting(&p[i]) && give_name(&p[i], err)) {
            p[i].spoilt = true;
            return -1;
        }
    return 0;
}

int partial_dispose(struct partial *p, bool finished, struct ssx_error *err)
{
    char name[PARTIAL_NAME];
    struct stat st;
    if (p->fd >= 0 && !p->in_place) {
        partial_name(p, p->slot, name);
        if (status_at(p->folder->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && looks_the_same(p, &st))
            p->spoilt = true; /* another transfer has finished it meanwhile */
        if (p->spoilt || !p->digest.n || ftruncate(p->fd, (off_t)p->digest.n)) /* a hole at its end */
            unlinkat(p->folder->fd, name, 0);
    }
    close_file(p);
    free(p->name);
    return folder_release(p->folder, finished, err);
}
