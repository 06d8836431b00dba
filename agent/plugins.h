/* Which plugin runs for a call (DESIGN D9), and its image: hashed, judged without running it, and sealed in memory, so
 * that what was checked is what is loaded. */
#ifndef AGENT_PLUGINS_H
#define AGENT_PLUGINS_H
#include "base/digest.h"
#include "base/text.h"
#include "bundle/store.h"
#include "wire/message.h"
#include "worker/policy.h"
#include "worker/registry.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct image {
    struct image *next;
    size_t users;                      /* calls and hosts that hold it */
    char type[TYPE_NAME_MAX + 1];
    struct digest digest;
    int fd;                            /* sealed memfd */
    uint64_t size;
    uint32_t traits;
    bool from_store;
    struct stat seen;                  /* of the file it was read from: a file that changed is read anew */
};

/* Bytes of plugins that a session holds in memory: images, and what is on its way in, as announced, once the first of
 * it is there. Two of the largest. */
#define PLUGINS_MEMORY_MAX ((uint64_t)2 * OBJECT_MAX)

struct plugins {
    struct registry registry;
    struct store store;
    bool brought;                      /* the store was named, as for an agent that a sender brought; or there is to be none */
    char libc[16];                     /* the newest glibc symbols of this node, "2.36" */
    struct image *images;
    uint64_t coming;                   /* bytes, as announced, of plugins on their way in */
    const struct policy *policy;       /* borrowed; NULL: everything is permitted. Set after plugins_open */
};

/* plugin_path, store_dir: from the command line, NULL for the defaults. Returns 0 or -1. */
int plugins_open(struct plugins *p, const char *plugin_path, const char *store_dir, struct ssx_error *err);
void plugins_close(struct plugins *p);

/* Another session may have the lock of the store's generations, for as long as it takes to hash all objects: how soon
 * one that needs it tries again. Between that its loop goes on. */
#define STORE_RETRY_MS 50

struct refusal { char reason[16]; struct ssx_error error; };

/* The image for a call. Returns it (owned by p), or NULL: with *missing set, the object that the call offers would do
 * and has to be sent; else *why is filled in for END. */
struct image *plugins_find(struct plugins *p, const struct message_call *call, bool *missing, struct refusal *why);

/* The image of an object of the store, hashed anew; NULL with why empty where it isn't there, or is not what its name
 * says (it is then removed). */
struct image *plugins_stored(struct plugins *p, const char *type, const struct digest *digest, struct refusal *why);

/* Whether so many more bytes may be stored. Returns 0, or -1 with err naming the rule. */
int plugins_check_room(const struct plugins *p, uint64_t bytes, struct ssx_error *err);

/* Whether memory takes so many more bytes of plugins; for that, images go that nobody holds. Returns 0, or -1 with err:
 * the caller may ask again once it holds less. An image that there is no room for is refused for the reason "busy". */
int plugins_make_room(struct plugins *p, uint64_t bytes, struct ssx_error *err);

/* Stores an image that its sender sent, for the next session; a node that can't, or may not, keep it runs it all the
 * same. */
void plugins_keep(struct plugins *p, const struct image *image);

/* This node's libc, as HELLO says it. Returns out. */
const char *plugins_libc(const struct plugins *p, char *out, size_t size);

/* The image of an object that a call offered and its sender sent: fd (taken over) is sealed, its digest is the call's.
 * Returns it, or NULL with *why filled in. */
struct image *plugins_take(struct plugins *p, const struct message_call *call, int fd, struct refusal *why);

/* An image that plugins_find or plugins_take gave stays while somebody holds it; of those that nobody holds the oldest
 * go. NULL is fine. */
struct image *image_hold(struct image *image);
void image_release(struct image *image);

/* Lets an image go at once, unless somebody holds it. */
void plugins_drop(struct plugins *p, struct image *image);

/* Adds "TYPE\0PATH\0" to out for each plugin of this type (at most one), or of any where type is "", that the policy
 * lets a sender call. */
void plugins_list(struct plugins *p, const char *type, struct buf *out);

/* Calls back once, with what a DESCRIBE says of the plugin. */
void plugins_describe(struct plugins *p, const char *type, const char *path,
                      void (*visit)(void *user, const struct message_describe *), void *user);

#endif
