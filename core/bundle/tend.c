#include "bundle/tend.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/text.h"
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

struct item { struct digest digest; uint64_t size; int64_t idle_s; const char *state, *use; };

struct tending {
    struct store *store;
    char objects[PATH_MAX + 16];
    bool verify, gc, remove;
    uint64_t most_s, most_bytes;   /* UINT64_MAX: no limit */
    struct buf items;              /* struct item */
    struct buf used;               /* struct digest: those that generations name */
};

static struct item *items_of(struct tending *t) { return (struct item *)(void *)buf_data(&t->items); }
static size_t count_of(const struct tending *t) { return buf_length(&t->items) / sizeof(struct item); }

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

static int take_words(struct tending *t, const char *words)
{
    t->verify = strncmp(words, "verify", 6) == 0;
    t->remove = strcmp(words, "verify-remove") == 0;
    if (strcmp(words, "list") == 0 || strcmp(words, "verify") == 0 || t->remove)
        return 0;
    t->gc = strncmp(words, "gc", 2) == 0;
    t->remove = strncmp(words, "gc:", 3) == 0;
    const char *at = words + (t->remove ? 2 : 6);
    return (t->remove || strncmp(words, "gc-dry:", 7) == 0) && take_limit(&t->most_s, &at) == 0 && take_limit(&t->most_bytes, &at) == 0 &&
        !*at ? 0 : -1;
}

/* --- directories --- */

/* Calls back for each name in a directory but . and ..; none that isn't there. */
static int each_name(struct tending *t, const char *dir,
                     int (*visit)(struct tending *t, const char *path, const char *name, struct ssx_error *err), struct ssx_error *err)
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

static int take_object(struct tending *t, const char *path, const char *name, struct ssx_error *err)
{
    struct item item = {.state = "kept", .use = "-"};
    struct stat st;
    if (lstat(path, &st))
        return 0; /* gone meanwhile */
    item.size = (uint64_t)st.st_size;
    item.idle_s = time(NULL) - st.st_mtime;
    if (t->gc && t->remove && strncmp(name, ".in-", 4) == 0 && item.idle_s > STALE_S)
        unlink(path);
    if (text_unhex(item.digest.bytes, DIGEST_SIZE, name))
        return 0;
    return buf_add(&t->items, &item, sizeof item) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

/* --- generations --- */

/* Every 64 digits that stand alone are taken for a digest, whatever else the file says: too much is kept rather than too little. */
static int take_digests(struct tending *t, const char *text)
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

static int take_generation(struct tending *t, const char *path, const char *name, struct ssx_error *err)
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

static void find_use(struct tending *t, struct item *item)
{
    const unsigned char *at = buf_data(&t->used), *end = at + buf_length(&t->used);
    while (at < end && memcmp(at, item->digest.bytes, DIGEST_SIZE))
        at += DIGEST_SIZE;
    if (at < end)
        item->use = "generation";
    else if (store_is_held(t->store, &item->digest))
        item->use = "call";
}

/* --- what is done --- */

static bool is_sound(struct tending *t, const struct item *item)
{
    char path[PATH_MAX + 128];
    struct digest is;
    int fd = open(store_path(t->store, &item->digest, path, sizeof path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool sound = fd >= 0 && digest_of_fd(&is, fd, NULL) == 0 && digest_equal(&is, &item->digest);
    fd_close(&fd);
    return sound;
}

/* Nobody can use it while it goes: who has asked for it holds its lock, who asks now waits and finds it gone. Returns 1, 0 where it is in
 * use, -1 with err. */
static int remove_object(struct tending *t, const struct item *item, struct ssx_error *err)
{
    char path[PATH_MAX + 128];
    if (!t->remove)
        return 1;
    if (store_lock(t->store, &item->digest, F_WRLCK))
        return errno == EAGAIN || errno == EACCES ? 0 : error_system(err, "can't lock %s", t->objects);
    int rc = unlink(store_path(t->store, &item->digest, path, sizeof path)) && errno != ENOENT ? error_system(err, "can't remove %s", path)
        : 1;
    store_lock(t->store, &item->digest, F_UNLCK);
    return rc;
}

static int longest_unused_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->idle_s != y->idle_s ? (x->idle_s < y->idle_s) - (x->idle_s > y->idle_s) : memcmp(&x->digest, &y->digest, DIGEST_SIZE);
}

static int collect(struct tending *t, struct ssx_error *err)
{
    uint64_t sum = 0;
    struct item *items = items_of(t), *end = items + count_of(t);
    for (struct item *i = items; i < end; i++)
        sum += i->size;
    for (struct item *i = items; i < end; i++) {
        bool old = t->most_s != UINT64_MAX && i->idle_s >= 0 && (uint64_t)i->idle_s >= t->most_s;
        int rc = (old || sum > t->most_bytes) && *i->use == '-' ? remove_object(t, i, err) : 0;
        if (rc < 0)
            return -1;
        if (rc) {
            i->state = "removed";
            sum -= i->size;
        }
    }
    return 0;
}

static int verify(struct tending *t, struct ssx_error *err)
{
    for (struct item *i = items_of(t), *end = i + count_of(t); i < end; i++) {
        if (is_sound(t, i))
            continue;
        int rc = t->remove ? remove_object(t, i, err) : 0;
        if (rc < 0)
            return -1;
        i->state = rc ? "removed" : "damaged";
    }
    return 0;
}

static void print(struct tending *t, const struct item *i)
{
    char path[PATH_MAX + 128], hex[DIGEST_HEX + 1], version[64] = "-";
    struct plugin plugin;
    bool is_plugin = strcmp(i->state, "kept") == 0 &&
        plugin_open(&plugin, store_path(t->store, &i->digest, path, sizeof path), NULL, NULL, NULL) == 0;
    digest_hex(hex, &i->digest);
    if (is_plugin)
        text_escape(version, sizeof version, plugin.descriptor.version, strlen(plugin.descriptor.version));
    printf("%s %s %llu %lld %s %s %s\n", i->state, hex, (unsigned long long)i->size, (long long)i->idle_s, i->use,
           is_plugin ? plugin.descriptor.type : "-", version);
    if (is_plugin)
        plugin_dispose(&plugin);
}

static int tend(struct tending *t, struct ssx_error *err)
{
    char generations[PATH_MAX + 16];
    snprintf(t->objects, sizeof t->objects, "%s/objects", t->store->dir);
    snprintf(generations, sizeof generations, "%s/generations", t->store->dir);
    if (access(t->objects, F_OK) && errno == ENOENT)
        return 0;
    /* until the end: one that is made meanwhile names objects that were seen as unused. Without a lock nothing can be written, nor
     * removed */
    store_lock_generations(t->store, F_RDLCK);
    if (path_is_trusted(t->objects, err) || each_name(t, t->objects, take_object, err) || each_name(t, generations, take_generation, err))
        return -1;
    if (count_of(t))
        qsort(items_of(t), count_of(t), sizeof(struct item), longest_unused_first);
    for (struct item *i = items_of(t), *end = i + count_of(t); i < end; i++)
        find_use(t, i);
    if ((t->verify && verify(t, err)) || (t->gc && collect(t, err)))
        return -1;
    for (struct item *i = items_of(t), *end = i + count_of(t); i < end; i++)
        print(t, i);
    return 0;
}

int store_tend(struct store *s, const char *words, struct ssx_error *err)
{
    struct tending t = {.store = s};
    if (!s->dir[0] || take_words(&t, words))
        return error_set(err, SSX_ERROR_USAGE, "--tend %s: that is nothing that can be done to this store", words);
    int rc = tend(&t, err);
    if (rc == 0)
        puts("end");
    buf_free(&t.items);
    buf_free(&t.used);
    return rc;
}
