#include "bundle/generation.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "sshexec-generation 1\n"
#define TEXT_MAX (1u << 20)
#define PATH_ROOM (PATH_MAX + 128)
#define READY "ready-"
#define STALE_S (24 * 60 * 60)           /* a bundle that was prepared, and not switched to for so long, never will be */

/* --- the text --- */

/* The next word of a line into out; the last one may hold blanks. Returns whether it is one that fits. */
static bool take_word(const char **at, char *out, size_t size, bool last)
{
    size_t n = strcspn(*at, last ? "\n" : " \n");
    if (!n || n >= size || (*at)[n] != (last ? '\n' : ' '))
        return false;
    memcpy(out, *at, n);
    out[n] = 0;
    *at += n + 1;
    return true;
}

static const char *behind_magic(const struct buf *text)
{
    return buf_length(text) > sizeof MAGIC ? (const char *)buf_data(text) + sizeof MAGIC - 1 : "";
}

bool generation_is_name(const char *at, size_t n)
{
    size_t printable = 0;
    while (printable < n && at[printable] > ' ' && at[printable] <= '~')
        printable++;
    return n && printable == n && n < GENERATION_SAID;
}

static bool take_by(const char **at, struct generation_by *out)
{
    char seconds[24], *end;
    if (strncmp(*at, "by ", 3))
        return false;
    *at += 3;
    if (!take_word(at, seconds, sizeof seconds, false) || !take_word(at, out->said, sizeof out->said, true) ||
        !generation_is_name(out->said, strlen(out->said)))
        return false;
    out->made_s = strtoull(seconds, &end, 10);
    if (strcmp(out->said, "-") == 0)
        out->said[0] = 0;
    return *seconds >= '0' && *seconds <= '9' && !*end && out->made_s <= INT64_MAX;
}

bool generation_made_by(const struct buf *text, struct generation_by *out)
{
    const char *at = behind_magic(text);
    return take_by(&at, out);
}

/* A line about the whole that makes no sense stays, and is no bundle's. */
const char *generation_begin(const struct buf *text)
{
    const char *first = behind_magic(text), *at = first;
    struct generation_by by;
    return take_by(&at, &by) ? at : first;
}

static bool take_digest(const char **at, struct digest *out, bool last)
{
    char hex[DIGEST_HEX + 1];
    return take_word(at, hex, sizeof hex, last) && text_unhex(out->bytes, DIGEST_SIZE, hex) == 0;
}

static bool take_bundle(const char **at, struct generation_bundle *b)
{
    char serial[24], *end;
    if (!take_word(at, b->name, sizeof b->name, false) || !take_word(at, b->version, sizeof b->version, false) ||
        !take_word(at, serial, sizeof serial, false) ||
        !take_digest(at, &b->manifest, false) || !take_word(at, b->signer, sizeof b->signer, true))
        return false;
    b->serial = strtoull(serial, &end, 10);
    if (strcmp(b->signer, "-") == 0)
        b->signer[0] = 0;
    return *serial >= '0' && *serial <= '9' && !*end && text_is_type_name(b->name);
}

int generation_next(const char **at, struct generation_bundle *b, struct generation_type *t)
{
    if (!**at)
        return 0;
    bool bundle = strncmp(*at, "bundle ", 7) == 0;
    if (!bundle && strncmp(*at, "type ", 5))
        return -1;
    *at += bundle ? 7 : 5;
    if (bundle)
        return take_bundle(at, b) ? 2 : -1;
    return take_word(at, t->name, sizeof t->name, false) && take_word(at, t->version, sizeof t->version, false) &&
        take_digest(at, &t->object, true) && text_is_type_name(t->name)
               ? 1 : -1;
}

int generation_add_bundle(struct buf *text, const struct generation_bundle *b)
{
    char hex[DIGEST_HEX + 1];
    digest_hex(hex, &b->manifest);
    if (!buf_length(text) && buf_add_text(text, MAGIC))
        return -1;
    return buf_printf(text, "bundle %s %s %" PRIu64 " %s %s\n", b->name, b->version, b->serial, hex, *b->signer ? b->signer : "-");
}

int generation_add_type(struct buf *text, const struct generation_type *t)
{
    char hex[DIGEST_HEX + 1];
    digest_hex(hex, &t->object);
    return buf_printf(text, "type %s %s %s\n", t->name, t->version, hex);
}

bool generation_find(const struct buf *text, const char *type, struct generation_bundle *b, struct generation_type *t)
{
    const char *at = generation_begin(text);
    for (int kind; (kind = generation_next(&at, b, t)) > 0;)
        if (kind == 1 && strcmp(t->name, type) == 0)
            return true;
    return false;
}

bool generation_find_bundle(const struct buf *text, const char *name, struct generation_bundle *b)
{
    const char *at = generation_begin(text);
    struct generation_type t;
    for (int kind; (kind = generation_next(&at, b, &t)) > 0;)
        if (kind == 2 && strcmp(b->name, name) == 0)
            return true;
    return false;
}

static int check_text(const struct buf *text)
{
    const char *at = generation_begin(text);
    struct generation_bundle b;
    struct generation_type t;
    int kind;
    while ((kind = generation_next(&at, &b, &t)) > 0)
        ;
    return kind;
}

/* --- files --- */

static const char *path_of(const struct store *s, unsigned number, char out[PATH_ROOM])
{
    snprintf(out, PATH_ROOM, "%s/generations/%u", s->dir, number);
    return out;
}

static const char *ready_path(const struct store *s, const struct digest *manifest, char out[PATH_ROOM])
{
    char hex[DIGEST_HEX + 1];
    digest_hex(hex, manifest);
    snprintf(out, PATH_ROOM, "%s/generations/" READY "%s", s->dir, hex);
    return out;
}

/* 0 for what is no number of a generation. */
static unsigned number_of(const char *name)
{
    char *end;
    unsigned long n = *name >= '1' && *name <= '9' ? strtoul(name, &end, 10) : 0;
    return n && !*end && n < UINT32_MAX ? (unsigned)n : 0;
}

unsigned generation_current(const struct store *s)
{
    static const char words[] = "generations/";
    char path[PATH_ROOM], to[64];
    snprintf(path, sizeof path, "%s/current", s->dir);
    ssize_t n = s->dir[0] ? readlink(path, to, sizeof to - 1) : 0;
    if (n <= (ssize_t)sizeof words - 1)
        return 0;
    to[n] = 0;
    return memcmp(to, words, sizeof words - 1) ? 0 : number_of(to + sizeof words - 1);
}

static int load(struct buf *out, const char *path, struct ssx_error *err)
{
    if (path_is_trusted(path, err) || file_read(out, path, TEXT_MAX, err) || buf_add(out, "", 1))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", path);
    if (buf_length(out) < sizeof MAGIC || memcmp(buf_data(out), MAGIC, sizeof MAGIC - 1) ||
        strlen((const char *)buf_data(out)) + 1 != buf_length(out) || check_text(out))
        return error_set(err, SSX_ERROR_REFUSED, "%s is damaged; deploy again, or roll back", path);
    return 0;
}

int generation_load(struct buf *out, const struct store *s, unsigned number, struct ssx_error *err)
{
    char path[PATH_ROOM];
    if (!number)
        return buf_add(out, "", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
    return load(out, path_of(s, number, path), err);
}

/* Under the lock, so that one temporary name is enough: what a kill leaves of it is written over by the next. */
static int write_file(const struct store *s, const char *path, const void *text, size_t n, struct ssx_error *err)
{
    char temp[PATH_ROOM], dir[PATH_ROOM];
    snprintf(dir, sizeof dir, "%s/generations", s->dir);
    snprintf(temp, sizeof temp, "%s/generations/.new", s->dir);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), at = -1;
    int rc = fd < 0 || fd_write_all(fd, text, n) || fsync(fd) || rename(temp, path) ||
        (at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
             (fsync(at) && errno != EINVAL) ? error_system(err, "can't write %s", path) : 0;
    if (rc && fd >= 0)
        unlink(temp);
    fd_close(&fd);
    fd_close(&at);
    return rc;
}

/* The one rename. */
static int put_in_force(const struct store *s, unsigned number, struct ssx_error *err)
{
    char temp[PATH_ROOM], path[PATH_ROOM], to[64];
    snprintf(temp, sizeof temp, "%s/.current", s->dir);
    snprintf(path, sizeof path, "%s/current", s->dir);
    snprintf(to, sizeof to, "generations/%u", number);
    unlink(temp);
    if (symlink(to, temp) || rename(temp, path))
        return error_system(err, "can't switch %s to generation %u", path, number);
    int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0)
        fsync(dir);
    fd_close(&dir);
    return 0;
}

/* Returns 0 with the lock, 1 where another one has it, -1 with err. */
static int begin_change(struct store *s, struct ssx_error *err)
{
    char dir[PATH_ROOM];
    snprintf(dir, sizeof dir, "%s/generations", s->dir);
    if (!s->dir[0])
        return error_set(err, SSX_ERROR_REFUSED, "this node has nowhere to keep a generation");
    if (dir_make(dir, err) || path_is_trusted(dir, err))
        return -1;
    if (store_lock_generations(s, F_WRLCK) == 0)
        return 0;
    return errno == EAGAIN ? 1 : error_system(err, "can't lock %s", dir);
}

static int end_change(struct store *s, int rc)
{
    store_lock_generations(s, F_UNLCK);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

/* The numbers of the generations, in their order; tidy: old prepared ones go on the way, for which the caller has the
 * lock. */
static int each_number(struct buf *out, const struct store *s, bool tidy, struct ssx_error *err)
{
    char path[PATH_ROOM];
    struct stat st;
    snprintf(path, sizeof path, "%s/generations", s->dir);
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT ? 0 : error_system(err, "can't read %s", path);
    for (struct dirent *e; (e = readdir(d));) {
        unsigned number = number_of(e->d_name);
        if (number && buf_add(out, &number, sizeof number))
            error_set(err, SSX_ERROR_SYSTEM, "out of memory for %s", path);
        if (tidy && strncmp(e->d_name, READY, strlen(READY)) == 0 && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - st.st_mtime > STALE_S)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    if (buf_length(out))
        qsort(buf_data(out), buf_length(out) / sizeof(unsigned), sizeof(unsigned), by_number);
    return out->failed ? -1 : 0;
}

int generation_list(struct buf *out, const struct store *s, struct ssx_error *err) { return each_number(out, s, false, err); }

/* Those beyond the newest ones go; what only they named is gc's from now on. */
static void prune(const struct store *s, const struct buf *numbers, unsigned current)
{
    const unsigned *at = (const unsigned *)(const void *)buf_data(numbers);
    size_t n = buf_length(numbers) / sizeof *at;
    char path[PATH_ROOM];
    for (size_t i = 0; i + GENERATIONS_KEPT <= n; i++) /* the new one is not among them */
        if (at[i] != current)
            unlink(path_of(s, at[i], path));
}

/* --- putting one together --- */

/* Whether `next` holds a type that stays with another bundle. */
static int check_twice(const struct buf *next, const struct generation_bundle *b, const struct generation_type *t, struct ssx_error *err)
{
    struct generation_bundle other;
    struct generation_type same;
    if (!generation_find(next, t->name, &other, &same))
        return 0;
    return error_set(err, SSX_ERROR_REFUSED, "%s %s holds the type %s, which the node has from the bundle %s %s", other.name,
                     other.version, t->name, b->name, b->version);
}

static int check_serial(const struct generation_bundle *now, const struct generation_bundle *next, struct ssx_error *err)
{
    if (next->serial >= now->serial)
        return 0;
    return error_set(err, SSX_ERROR_REFUSED,
                     "%s %s has the serial %" PRIu64 ", older than the %" PRIu64 " of %s, which is there (--allow-downgrade)", next->name,
                         next->version,
                     next->serial, now->serial, now->version);
}

int generation_compose(struct buf *out, const struct buf *now, const struct buf *next, bool downgrade, struct ssx_error *err)
{
    const char *at = generation_begin(now), *first = generation_begin(next);
    struct generation_bundle b = {.name = ""}, mine;
    struct generation_type t;
    bool replaced = false;
    if (generation_next(&first, &mine, &t) != 2)
        return error_set(err, SSX_ERROR_REFUSED, "what was prepared is damaged; deploy again");
    buf_add(out, buf_data(next), strlen((const char *)buf_data(next)));
    for (int kind; (kind = generation_next(&at, &b, &t)) > 0;) {
        if (kind == 2)
            replaced = strcmp(b.name, mine.name) == 0;
        if (kind == 2 && replaced && !downgrade && check_serial(&b, &mine, err))
            return -1;
        if (replaced)
            continue;
        if (kind == 1 && check_twice(next, &b, &t, err))
            return -1;
        (void)(kind == 2 ? generation_add_bundle(out, &b) : generation_add_type(out, &t));
    }
    return out->failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a generation") : 0;
}

int generation_prepare(struct store *s, const struct digest *manifest, const struct buf *text, struct ssx_error *err)
{
    char path[PATH_ROOM];
    int rc = begin_change(s, err);
    if (rc)
        return rc;
    return end_change(s, write_file(s, ready_path(s, manifest, path), buf_data(text), buf_length(text) - 1, err));
}

/* The text of a generation with the line that says who made it. */
static int sign_off(struct buf *out, const struct buf *text, const char *by, struct ssx_error *err)
{
    size_t magic = sizeof MAGIC - 1;
    buf_printf(out, MAGIC "by %lld %s\n", (long long)time(NULL), *by ? by : "-");
    return buf_add(out, buf_data(text) + magic, buf_length(text) - magic) || out->failed
               ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a generation") : 0;
}

/* With the lock. */
static int switch_over(struct store *s, const char *ready, const char *by, bool downgrade, unsigned *number, struct ssx_error *err)
{
    struct buf now = {0}, next = {0}, both = {0}, text = {0}, numbers = {0};
    char path[PATH_ROOM];
    unsigned current = generation_current(s);
    int rc = generation_load(&now, s, current, err) || load(&next, ready, err) || generation_compose(&both, &now, &next, downgrade, err) ||
        sign_off(&text, &both, by, err) || each_number(&numbers, s, true, err) ? -1 : 0;
    if (rc == 0) {
        size_t n = buf_length(&numbers) / sizeof(unsigned);
        *number = n ? ((const unsigned *)(const void *)buf_data(&numbers))[n - 1] + 1 : 1;
        rc = write_file(s, path_of(s, *number, path), buf_data(&text), buf_length(&text), err) || put_in_force(s, *number, err) ? -1 : 0;
    }
    if (rc == 0) {
        unlink(ready);
        prune(s, &numbers, *number);
    }
    buf_free(&now);
    buf_free(&next);
    buf_free(&both);
    buf_free(&text);
    buf_free(&numbers);
    return rc;
}

/* Whether the generation in force, *number, has this bundle. Returns -1 with err. */
static int has_manifest(const struct store *s, const struct digest *manifest, unsigned *number, struct ssx_error *err)
{
    struct buf now = {0};
    struct generation_bundle b;
    struct generation_type t;
    int kind = 0;
    *number = generation_current(s);
    int rc = generation_load(&now, s, *number, err);
    for (const char *at = generation_begin(&now); rc == 0 && (kind = generation_next(&at, &b, &t)) > 0;)
        if (kind == 2 && digest_equal(&b.manifest, manifest))
            break;
    buf_free(&now);
    return rc ? -1 : kind > 0;
}

int generation_switch(struct store *s, const struct digest *manifest, const char *by, bool downgrade, unsigned *number,
                      struct ssx_error *err)
{
    char ready[PATH_ROOM];
    int rc = begin_change(s, err);
    if (rc)
        return rc;
    ready_path(s, manifest, ready);
    rc = has_manifest(s, manifest, number, err);
    if (rc) /* another sender was faster with the same bundle */
        return end_change(s, rc < 0 ? -1 : 0);
    rc = access(ready, F_OK) ? error_set(err, SSX_ERROR_REFUSED, "the bundle was not prepared on this node")
        : switch_over(s, ready, by, downgrade, number, err);
    return end_change(s, rc);
}

/* The newest one before the current, or the one that was asked for. */
static unsigned choose(const struct buf *numbers, unsigned current, unsigned to)
{
    const unsigned *at = (const unsigned *)(const void *)buf_data(numbers);
    unsigned found = 0;
    for (size_t i = 0; i < buf_length(numbers) / sizeof *at; i++)
        if (to ? at[i] == to : at[i] < current)
            found = at[i];
    return found;
}

int generation_roll_back(struct store *s, unsigned to, unsigned *number,
                         int (*check)(void *user, const struct buf *text, struct ssx_error *err), void *user, struct ssx_error *err)
{
    struct buf numbers = {0}, text = {0};
    int rc = begin_change(s, err);
    if (rc)
        return rc;
    unsigned current = generation_current(s);
    rc = each_number(&numbers, s, false, err);
    if (rc == 0 && !(*number = choose(&numbers, current, to)))
        rc = to ? error_set(err, SSX_ERROR_REFUSED, "there is no generation %u", to)
                : error_set(err, SSX_ERROR_REFUSED, current ? "there is no generation before %u" : "nothing was deployed", current);
    if (rc == 0)
        rc = generation_load(&text, s, *number, err) || (check && check(user, &text, err)) ||
            (*number != current && put_in_force(s, *number, err)) ? -1 : 0;
    buf_free(&numbers);
    buf_free(&text);
    return end_change(s, rc);
}
