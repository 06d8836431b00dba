#include "bundle/tend.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
#include "bundle/store.h"
#include "worker/plugin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GENERATION_FILE_MAX (1u << 20)
#define STALE_S (24 * 60 * 60) /* what an upload left whose machine went down */

struct item { struct digest digest; uint64_t size; int64_t idle_s; };

struct tend {
    struct store store;
    char objects[PATH_MAX + 16];
    bool verify, gc, remove;
    uint64_t most_s, most_bytes;   /* UINT64_MAX: no limit */
    uint64_t left_bytes;           /* of all objects that were not removed */
    struct buf items;              /* struct item */
    size_t next;                   /* of them */
    struct buf used;               /* struct digest: those that generations name */
};

static struct item *items_of(struct tend *t) { return (struct item *)(void *)buf_data(&t->items); }
static size_t count_of(const struct tend *t) { return buf_length(&t->items) / sizeof(struct item); }

/* --- the words --- */

static int take_limit(uint64_t *out, const char **at)
{
    char *end = NULL;
    *out = UINT64_MAX;
    if (**at != ':')
        return -1;
    if ((*at)[1] >= '0' && (*at)[1] <= '9') {
        *out = strtoull(*at + 1, &end, 10);
        *at = end;
    } else {
        ++*at;
    }
    return 0;
}

bool tend_removes(const char *words) { return strcmp(words, "verify-remove") == 0 || strncmp(words, "gc:", 3) == 0; }

static int take_words(struct tend *t, const char *words)
{
    t->verify = strncmp(words, "verify", 6) == 0;
    t->remove = tend_removes(words);
    if (strcmp(words, "list") == 0 || strcmp(words, "verify") == 0 || strcmp(words, "verify-remove") == 0)
        return 0;
    t->gc = strncmp(words, "gc", 2) == 0;
    const char *at = words + (t->remove ? 2 : 6);
    return (t->remove || strncmp(words, "gc-dry:", 7) == 0) && take_limit(&t->most_s, &at) == 0 && take_limit(&t->most_bytes, &at) == 0 &&
        !*at ? 0 : -1;
}

/* --- directories --- */

/* Calls back for each name in a directory but . and ..; none that isn't there. */
static int each_name(struct tend *t, const char *dir,
                     int (*visit)(struct tend *t, const char *path, const char *name, struct ssx_error *err), struct ssx_error *err)
{
    char path[2 * PATH_MAX];
    int rc = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : error_system(err, "can't read %s", dir);
    errno = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(d)); errno = 0) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = visit(t, path, e->d_name, err);
    }
    if (rc == 0 && errno)
        rc = error_system(err, "can't read %s", dir);
    closedir(d);
    return rc;
}

/* Not by time(): that may lag by a tick behind what the kernel stamps a file with, and would find it to be from the
 * future. */
static int64_t age_s(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec - st->st_mtime;
}

static int take_object(struct tend *t, const char *path, const char *name, struct ssx_error *err)
{
    struct item item;
    struct stat st;
    if (lstat(path, &st))
        return 0; /* gone meanwhile */
    item.size = (uint64_t)st.st_size;
    item.idle_s = age_s(&st);
    if (t->gc && t->remove && strncmp(name, ".in-", 4) == 0 && item.idle_s > STALE_S)
        unlink(path);
    if (text_unhex(item.digest.bytes, DIGEST_SIZE, name))
        return 0;
    t->left_bytes += item.size;
    return buf_add(&t->items, &item, sizeof item) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

/* --- generations --- */

/* Every 64 digits that stand alone are taken for a digest, whatever else the file says: too much is kept rather than
 * too little. */
static int take_digests(struct tend *t, const char *text)
{
    for (size_t n; *text; text += n + (text[n] != 0)) {
        char hex[DIGEST_HEX + 1] = "";
        struct digest digest;
        n = strspn(text, "0123456789abcdef");
        if (n != DIGEST_HEX)
            continue;
        memcpy(hex, text, n);
        if (text_unhex(digest.bytes, DIGEST_SIZE, hex) == 0 && buf_add(&t->used, &digest, sizeof digest))
            return -1;
    }
    return 0;
}

static int take_generation(struct tend *t, const char *path, const char *name, struct ssx_error *err)
{
    struct buf text = {0};
    struct stat st;
    (void)name;
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return each_name(t, path, take_generation, err);
    int rc = file_read(&text, path, GENERATION_FILE_MAX, err) || buf_add(&text, "", 1) || take_digests(t, (char *)buf_data(&text)) ? -1 : 0;
    buf_free(&text);
    return rc ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

static const char *use_of(struct tend *t, const struct digest *digest)
{
    const unsigned char *at = buf_data(&t->used), *end = at + buf_length(&t->used);
    while (at < end && memcmp(at, digest->bytes, DIGEST_SIZE))
        at += DIGEST_SIZE;
    return at < end ? "generation" : store_is_held(&t->store, digest) ? "call" : "-";
}

/* --- what is done --- */

static bool is_sound(struct tend *t, const struct digest *digest)
{
    char path[PATH_MAX + 128];
    struct digest is;
    int fd = open(store_path(&t->store, digest, path, sizeof path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool sound = fd >= 0 && digest_of_fd(&is, fd, NULL) == 0 && digest_equal(&is, digest);
    fd_close(&fd);
    return sound;
}

/* Nobody can use it while it goes: who has asked for it holds its lock, who asks now waits and finds it gone. Returns
 * 1, 0 where it is in use, -1 with err. */
static int remove_object(struct tend *t, const struct digest *digest, struct ssx_error *err)
{
    char path[PATH_MAX + 128];
    if (!t->remove)
        return 1;
    if (store_lock(&t->store, digest, F_WRLCK))
        return errno == EAGAIN || errno == EACCES ? 0 : error_system(err, "can't lock %s", t->objects);
    store_path(&t->store, digest, path, sizeof path);
    int rc = unlink(path) && errno != ENOENT ? error_system(err, "can't remove %s", path) : 1;
    store_lock(&t->store, digest, F_UNLCK);
    return rc;
}

static int longest_unused_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->idle_s != y->idle_s ? (x->idle_s < y->idle_s) - (x->idle_s > y->idle_s) : memcmp(&x->digest, &y->digest, DIGEST_SIZE);
}

/* What the words want of an object that is in no use, or damaged. Returns 1 for its removal, 0, or -1 with err. */
static int treat(struct tend *t, const struct item *i, struct tend_object *o, struct ssx_error *err)
{
    bool damaged = t->verify && !is_sound(t, &i->digest);
    bool old = t->most_s != UINT64_MAX && i->idle_s >= 0 && (uint64_t)i->idle_s >= t->most_s;
    bool goes = t->gc ? *o->use == '-' && (old || t->left_bytes > t->most_bytes) : damaged && t->remove;
    int removed = goes ? remove_object(t, &i->digest, err) : 0;
    o->state = removed > 0 ? "removed" : damaged ? "damaged" : "kept";
    return removed;
}

static void describe(struct tend *t, struct tend_object *o)
{
    char path[PATH_MAX + 128];
    struct plugin plugin;
    if (strcmp(o->state, "kept") || plugin_open(&plugin, store_path(&t->store, &o->digest, path, sizeof path), NULL, NULL, NULL))
        return;
    snprintf(o->type, sizeof o->type, "%s", plugin.descriptor.type);
    snprintf(o->version, sizeof o->version, "%s", plugin.descriptor.version);
    plugin_dispose(&plugin);
}

int tend_next(struct tend *t, struct tend_object *out, struct ssx_error *err)
{
    if (t->next == count_of(t))
        return 0;
    const struct item *i = &items_of(t)[t->next++];
    *out = (struct tend_object){.digest = i->digest, .size = i->size, .idle_s = i->idle_s > 0 ? (uint64_t)i->idle_s : 0,
                                .use = use_of(t, &i->digest)};
    int removed = treat(t, i, out, err);
    if (removed < 0)
        return -1;
    t->left_bytes -= removed ? i->size : 0;
    describe(t, out);
    return 1;
}

/* --- beginning and end --- */

/* Returns 0, 1 where somebody changes the generations now, -1 with err. */
static int look(struct tend *t, struct ssx_error *err)
{
    char generations[PATH_MAX + 16];
    snprintf(t->objects, sizeof t->objects, "%s/objects", t->store.dir);
    snprintf(generations, sizeof generations, "%s/generations", t->store.dir);
    if (access(t->objects, F_OK) && errno == ENOENT)
        return 0;
    /* until the end: one that is made meanwhile names objects that were seen as unused. Without a lock nothing can be
     * written, nor removed */
    if (store_lock_generations(&t->store, F_RDLCK) && errno == EAGAIN)
        return 1;
    if (path_is_trusted(t->objects, err) || each_name(t, t->objects, take_object, err) || each_name(t, generations, take_generation, err))
        return -1;
    if (count_of(t))
        qsort(items_of(t), count_of(t), sizeof(struct item), longest_unused_first);
    return 0;
}

int tend_begin(struct tend **out, const char *dir, const char *words, struct ssx_error *err)
{
    struct tend *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the store's objects");
    store_open(&t->store, dir);
    int rc = take_words(t, words) ? error_set(err, SSX_ERROR_USAGE, "\"%s\" is nothing that can be done to a store", words) : look(t, err);
    if (rc)
        tend_end(t);
    else
        *out = t;
    return rc;
}

void tend_end(struct tend *t)
{
    if (!t)
        return;
    store_close(&t->store); /* and with it the locks */
    buf_free(&t->items);
    buf_free(&t->used);
    free(t);
}
