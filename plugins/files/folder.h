/* The directories into which a taker puts things. One is held open, and everything in it is named from there, so that
 * no link that turns up on the way leads elsewhere. */
#ifndef FILES_FOLDER_H
#define FILES_FOLDER_H
#include "stream.h"

struct folder {
    struct folder *up;           /* NULL: the target */
    char *name;                  /* the target's: its path */
    int fd;
    unsigned refs, depth;
    uint32_t mode, nanoseconds;  /* as it is to be once it is left; not for the target */
    int64_t mtime;
    bool changed;                /* it has names that may not be on disk yet */
    bool scanned;                /* leftovers is filled in */
    char **leftovers;            /* names of partial files that were there */
    size_t leftover_count;
};

/* The target, with one reference. make: where it is not there. NULL with err. */
struct folder *folder_open(const char *path, bool make, struct ssx_error *err);

/* A directory in another, made if need be, with one reference; it holds one to `up`. NULL with err. */
struct folder *folder_enter(struct folder *up, const struct entry *e, bool *made, struct ssx_error *err);

/* Gives a reference back. The last one closes it; finished: its names are made durable, and its mode and time set,
 * before that (a directory that is not finished stays open to its owner, so that it can be finished later). Returns 0,
 * or -1 with err. */
int folder_release(struct folder *f, bool finished, struct ssx_error *err);

/* Fills in leftovers, once. */
void folder_scan(struct folder *f);

/* The path of a name in it, for messages, cut to PATH_BYTES. Returns out. */
char *folder_path(const struct folder *f, const char *name, char *out);

/* Places a symbolic link, in place of whatever but a directory has its name. Returns 0 or -1. */
int folder_link(struct folder *f, const char *name, const struct entry *e, struct ssx_error *err);

#endif
