#include "plugins.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "bundle/generation.h"
#include "worker/elf.h"
#include "worker/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IDLE_IMAGES_MAX 16 /* a sender that brings ever new plugins must not fill the node's memory */

int plugins_open(struct plugins *p, const char *plugin_path, const char *store_dir, struct ssx_error *err)
{
    char system[PATH_MAX];
    memset(p, 0, sizeof *p);
    store_open(&p->store, store_dir);
    p->brought = store_dir != NULL;
    elf_host_libc(p->libc);
    return registry_open(&p->registry, plugin_path, install_plugin_dir(system, sizeof system), err);
}

static void image_free(struct image *image)
{
    fd_close(&image->fd);
    free(image);
}

void plugins_close(struct plugins *p)
{
    for (struct image *i = p->images, *next; i; i = next) {
        next = i->next;
        image_free(i);
    }
    store_close(&p->store);
    registry_close(&p->registry);
}

struct image *image_hold(struct image *image)
{
    if (image)
        image->users++;
    return image;
}

void image_release(struct image *image)
{
    if (image)
        image->users--;
}

void plugins_drop(struct plugins *p, struct image *image)
{
    struct image **link = &p->images;
    if (image->users)
        return;
    while (*link != image)
        link = &(*link)->next;
    *link = image->next;
    image_free(image);
}

/* New images stand at the front. */
static void drop_old_images(struct plugins *p)
{
    size_t idle = 0;
    for (struct image **link = &p->images; *link;) {
        struct image *image = *link;
        if (image->users || ++idle < IDLE_IMAGES_MAX) {
            link = &image->next;
        } else {
            *link = image->next;
            image_free(image);
        }
    }
}

static uint64_t memory_of(const struct plugins *p)
{
    uint64_t bytes = p->coming;
    for (const struct image *image = p->images; image; image = image->next)
        bytes += image->size;
    return bytes;
}

static struct image *oldest_idle(const struct plugins *p)
{
    struct image *oldest = NULL;
    for (struct image *image = p->images; image; image = image->next)
        oldest = image->users ? oldest : image;
    return oldest;
}

int plugins_make_room(struct plugins *p, uint64_t bytes, struct ssx_error *err)
{
    struct image *idle;
    while (memory_of(p) + bytes > PLUGINS_MEMORY_MAX && (idle = oldest_idle(p)))
        plugins_drop(p, idle);
    if (memory_of(p) + bytes <= PLUGINS_MEMORY_MAX)
        return 0;
    return error_set(err, SSX_ERROR_REFUSED, "the plugins of this session take too much memory (%llu MiB at most); "
                     "wait until calls have ended", (unsigned long long)(PLUGINS_MEMORY_MAX >> 20));
}

static void refuse(struct refusal *why, const char *reason)
{
    snprintf(why->reason, sizeof why->reason, "%s", reason);
}

/* Copies a file into a sealed memfd. Returns the descriptor, or -1. */
static int seal(int file, const char *path, struct ssx_error *err)
{
    size_t size = 0;
    unsigned char block[32 << 10];
    int fd = memfd_create("plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_system(err, "can't load %s", path);
    for (ssize_t n; (n = read(file, block, sizeof block)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        size += n > 0 ? (size_t)n : 0;
        if (n < 0 || size > PLUGIN_SIZE_MAX || fd_write_all(fd, block, (size_t)n)) {
            if (size > PLUGIN_SIZE_MAX)
                errno = EFBIG;
            error_system(err, "can't load %s", path);
            fd_close(&fd);
            return -1;
        }
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    return fd;
}

/* Judges a sealed image. known: its digest; NULL: still to be found. */
static int inspect(struct plugins *p, struct image *image, const char *path, const struct digest *known, struct refusal *why)
{
    struct plugin plugin;
    off_t end = lseek(image->fd, 0, SEEK_END);
    size_t size = image->size = end > 0 ? (size_t)end : 0;
    enum plugin_problem problem = PLUGIN_OK;
    struct plugin_needs needs = {.elf_machine = elf_own_machine(), .libc_version = p->libc, .libraries = true};
    void *at = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, image->fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED) {
        refuse(why, "elf");
        return error_set(&why->error, SSX_ERROR_REFUSED, "%s is empty or can't be mapped", path);
    }
    if (known)
        image->digest = *known;
    else
        digest_of(&image->digest, at, size);
    int rc = plugin_inspect(&plugin, path, at, size, &needs, &problem, &why->error);
    munmap(at, size);
    if (rc) {
        refuse(why, plugin_problem_reason(problem));
        return -1;
    }
    image->traits = plugin.descriptor.traits;
    if (strcmp(plugin.descriptor.type, image->type)) {
        refuse(why, "abi");
        rc = error_set(&why->error, SSX_ERROR_REFUSED, "%s holds the type %s, not %s", path, plugin.descriptor.type, image->type);
    }
    plugin_dispose(&plugin);
    return rc;
}

/* The image of a sealed descriptor (taken over), judged and added to those of p; or NULL. */
static struct image *add_image(struct plugins *p, const char *type, int fd, const char *path, const struct digest *known,
                               struct refusal *why)
{
    struct image *image = calloc(1, sizeof *image);
    if (!image) {
        error_set(&why->error, SSX_ERROR_SYSTEM, "can't load %s: out of memory", path);
        refuse(why, "load");
        fd_close(&fd);
        return NULL;
    }
    snprintf(image->type, sizeof image->type, "%s", type);
    image->fd = fd;
    if (inspect(p, image, path, known, why)) {
        image_free(image);
        return NULL;
    }
    drop_old_images(p);
    image->next = p->images;
    return p->images = image;
}

/* Reads a plugin file that was opened. */
static struct image *read_image(struct plugins *p, const char *type, int file, const char *path, struct refusal *why)
{
    struct stat seen;
    int fd = -1;
    if (fstat(file, &seen))
        error_system(&why->error, "can't load %s", path);
    else if (plugins_make_room(p, (uint64_t)seen.st_size, &why->error))
        refuse(why, "busy");
    else
        fd = seal(file, path, &why->error);
    if (fd < 0 && !*why->reason)
        refuse(why, "load");
    if (fd < 0)
        return NULL;
    struct image *image = add_image(p, type, fd, path, NULL, why);
    if (image)
        image->seen = seen;
    return image;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The image of a file of the registry, read anew only if the file is another one than before. */
static struct image *from_file(struct plugins *p, const char *type, const char *path, struct refusal *why)
{
    struct stat now;
    struct image *image = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0 || fstat(file, &now)) {
        error_system(&why->error, "can't load %s", path);
        refuse(why, "load");
    } else {
        for (image = p->images;
             image && (image->from_store || strcmp(image->type, type) || !same_file(&image->seen, &now));
             image = image->next)
            ;
        if (!image)
            image = read_image(p, type, file, path, why);
    }
    fd_close(&file);
    return image;
}

/* The image of an object of the store; NULL with why empty where there is none, or where what is there is not what its
 * name says. */
static struct image *from_store(struct plugins *p, const char *type, const struct digest *digest, struct refusal *why)
{
    char name[TYPE_NAME_MAX + 32];
    for (struct image *image = p->images; image; image = image->next)
        if (digest_equal(&image->digest, digest) && strcmp(image->type, type) == 0)
            return image;
    int file = store_object(&p->store, digest);
    if (file < 0)
        return NULL;
    snprintf(name, sizeof name, "the stored %s.so", type);
    struct image *image = read_image(p, type, file, name, why);
    fd_close(&file);
    if (image)
        image->from_store = true;
    if (image && digest_equal(&image->digest, digest))
        return image;
    if (image) {
        p->images = image->next;
        image_free(image);
        store_discard(&p->store, digest);
    }
    return NULL;
}

struct image *plugins_take(struct plugins *p, const struct message_call *call, int fd, struct refusal *why)
{
    char type[TYPE_NAME_MAX + 1], name[TYPE_NAME_MAX + 32];
    snprintf(name, sizeof name, "the sender's %s.so", span_copy(type, sizeof type, call->type));
    struct image *image = add_image(p, type, fd, name, &call->digest, why);
    if (image)
        image->from_store = true;
    return image;
}

int plugins_check_room(const struct plugins *p, uint64_t bytes, struct ssx_error *err)
{
    const char *rule = "";
    uint64_t most = policy_least(p->policy, POLICY_STORE_SIZE, &rule), has = most ? store_size(&p->store) : 0;
    return has + bytes <= most || !most ? 0 : error_set(err, SSX_ERROR_REFUSED,
                                                        "policy: %s: the store holds %llu bytes of %llu, and %llu more are too many", rule,
                                                        (unsigned long long)has, (unsigned long long)most, (unsigned long long)bytes);
}

void plugins_keep(struct plugins *p, const struct image *image)
{
    struct stat st;
    if (fstat(image->fd, &st) == 0 && plugins_check_room(p, (uint64_t)st.st_size, NULL) == 0)
        store_put(&p->store, &image->digest, image->fd, NULL);
}

const char *plugins_libc(const struct plugins *p, char *out, size_t size)
{
    snprintf(out, size, "%s%s", p->libc[0] >= '0' && p->libc[0] <= '9' ? "glibc " : "", p->libc);
    return out;
}

/* A damaged object can be unreadable as ELF before its digest is compared: then it is the digest that is wrong. */
static bool object_is_damaged(struct plugins *p, const struct digest *digest)
{
    struct digest is;
    int file = store_object(&p->store, digest);
    if (file < 0)
        return false;
    bool damaged = digest_of_fd(&is, file, NULL) || !digest_equal(&is, digest);
    fd_close(&file);
    if (damaged)
        store_discard(&p->store, digest);
    return damaged;
}

struct image *plugins_stored(struct plugins *p, const char *type, const struct digest *digest, struct refusal *why)
{
    struct image *image = from_store(p, type, digest, why);
    if (!image && why->error.code && strcmp(why->reason, "busy") && object_is_damaged(p, digest))
        memset(why, 0, sizeof *why);
    return image;
}

/* What a generation has under that name: an image, or why there is none. *missing: the call's own object would do. */
static struct image *take_deployed(struct plugins *p, const struct generation_bundle *b, const struct generation_type *t,
                                   const struct message_call *call, bool *missing,
                                   struct refusal *why)
{
    if (policy_check_signed(p->policy, b->name, *b->signer, &why->error)) {
        refuse(why, "policy");
        return NULL;
    }
    struct image *image = plugins_stored(p, t->name, &t->object, why);
    if (image || why->error.code)
        return image;
    *missing = call->has_object && digest_equal(&t->object, &call->digest);
    if (!*missing) {
        error_set(&why->error, SSX_ERROR_REFUSED,
                  "the %s of the bundle %s %s is missing in this node's store, or was damaged; deploy it again", t->name, b->name,
                      b->version);
        refuse(why, "object");
    }
    return NULL;
}

/* Whether the generation in force settles which plugin runs: it has the type, in the object that the call wants; or it
 * can't be read, which must not let another plugin run in its place. */
static bool is_deployed(struct plugins *p, const char *type, const struct message_call *call, struct image **image, bool *missing,
                        struct refusal *why)
{
    struct buf text = {0};
    struct generation_bundle b;
    struct generation_type t;
    unsigned number = generation_current(&p->store);
    if (!number)
        return false;
    int rc = generation_load(&text, &p->store, number, &why->error);
    bool settled = rc || (generation_find(&text, type, &b, &t) && (!call->exact || digest_equal(&t.object, &call->digest)));
    if (rc)
        refuse(why, "store");
    else if (settled)
        *image = take_deployed(p, &b, &t, call, missing, why);
    buf_free(&text);
    return settled;
}

struct image *plugins_find(struct plugins *p, const struct message_call *call, bool *missing, struct refusal *why)
{
    char type[TYPE_NAME_MAX + 2], *path = NULL;
    struct image *image = NULL;
    *missing = false;
    span_copy(type, sizeof type, call->type);
    if (call->type.n != strlen(type) || !text_is_type_name(type)) {
        error_set(&why->error, SSX_ERROR_UNKNOWN_TYPE, "\"%s\" is not a type name", type);
        refuse(why, "unknown-type");
        return NULL;
    }
    if (policy_check_type(p->policy, type, &why->error)) {
        refuse(why, "policy");
        return NULL;
    }
    if (is_deployed(p, type, call, &image, missing, why))
        return image;
    bool found = registry_find(&p->registry, type, &path, &why->error) == 0;
    if (found && (image = from_file(p, type, path, why)) && call->exact && !digest_equal(&image->digest, &call->digest))
        image = NULL;
    free(path);
    if (image || (found && !call->exact))
        return image;
    if (!found && why->error.code != SSX_ERROR_UNKNOWN_TYPE) {
        refuse(why, "policy");
        return NULL;
    }
    if (!call->has_object) {
        refuse(why, "unknown-type");
        return NULL;
    }
    memset(why, 0, sizeof *why);
    if (policy_check_upload(p->policy, type, &why->error)) { /* the store holds nothing but what senders brought */
        refuse(why, "policy");
        return NULL;
    }
    image = plugins_stored(p, type, &call->digest, why);
    *missing = !image && !why->error.code;
    return image;
}

/* --- describe --- */

struct listing { const struct policy *policy; const char *type; struct buf *out; const struct buf *deployed; };

static int list_if_meant(void *user, const char *type, const char *path)
{
    const struct listing *l = user;
    if ((*l->type && strcmp(type, l->type)) || policy_check_type(l->policy, type, NULL))
        return 0;
    return buf_add(l->out, type, strlen(type) + 1) || buf_add(l->out, path, strlen(path) + 1);
}

/* A type that was deployed hides those of the directories. */
static int list_unless_deployed(void *user, const char *type, const char *path)
{
    const struct listing *l = user;
    struct generation_bundle b;
    struct generation_type t;
    return generation_find(l->deployed, type, &b, &t) ? 0 : list_if_meant(user, type, path);
}

static void list_deployed(struct listing *l, const struct store *s)
{
    char path[PATH_MAX + 128];
    const char *at = generation_begin(l->deployed);
    struct generation_bundle b;
    struct generation_type t;
    for (int kind; (kind = generation_next(&at, &b, &t)) > 0;)
        if (kind == 1)
            list_if_meant(l, t.name, store_path(s, &t.object, path, sizeof path));
}

void plugins_list(struct plugins *p, const char *type, struct buf *out)
{
    struct buf deployed = {0};
    struct listing listing = {p->policy, type, out, &deployed};
    if (generation_load(&deployed, &p->store, generation_current(&p->store), NULL) == 0) {
        list_deployed(&listing, &p->store);
        registry_each(&p->registry, list_unless_deployed, &listing);
    }
    buf_free(&deployed);
}

void plugins_describe(struct plugins *p, const char *type, const char *path,
                      void (*visit)(void *user, const struct message_describe *), void *user)
{
    struct plugin plugin;
    struct ssx_error err = {0};
    struct message_describe m = {.type = span_text(type), .where = span_text(path)};
    struct plugin_needs needs = {.elf_machine = elf_own_machine(), .libc_version = p->libc, .libraries = true};
    if (plugin_open(&plugin, path, &needs, NULL, &err)) {
        m.problem = span_text(err.text);
        visit(user, &m);
        return;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0 || digest_of_fd(&m.digest, file, &err))
        m.problem = span_text(err.code ? err.text : "it can't be read");
    else
        m.note = (struct span){buf_data(&plugin.descriptor.note), buf_length(&plugin.descriptor.note)};
    visit(user, &m);
    fd_close(&file);
    plugin_dispose(&plugin);
}
