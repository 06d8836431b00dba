/* A file that is being taken: written under a name of its own beside its place, checked, made durable, and then given
 * its name in one step. Whatever happens before leaves the place as it was.
 *
 * The partial file is called .sshexec-part-TTTTTTTTTTTTTTTT-SSSSSSSSSSSSSSSS-N: T digests the name of the place, S what
 * tells the source from others (its size and time). A transfer that was cut leaves it, and the next one of the same
 * source goes on from there, once both ends agree on the digest of what is in it. One that another process still holds
 * (a link can be dead for hours before the far end notices) is copied to the next N. When a file is whole, the other
 * partial files for its place go, but for those in use. `find DIR -name '.sshexec-part-*'` shows what transfers left
 * that nobody took up again. */
#ifndef FILES_PARTIAL_H
#define FILES_PARTIAL_H
#include "folder.h"

struct partial {
    struct folder *folder;       /* a reference */
    char *name;                  /* of the place */
    uint32_t mode, nanoseconds;
    int64_t mtime;
    uint64_t size, sent;         /* sent: bytes that came for it now */
    int fd;                      /* -1: nothing is open */
    int slot;                    /* N: the first that no other process holds */
    bool in_place;               /* fd is the file that has the name already */
    bool whole;                  /* all bytes came, and have the digest that they were sent with */
    bool spoilt;                 /* what there is of it is of no use to anybody */
    struct sha256 digest;        /* of what it holds; digest.n bytes */
};

/* Announced: nothing is touched yet. Takes a reference to the folder. Returns 0 or -1. */
int partial_init(struct partial *p, struct folder *f, const char *name, const struct entry *e, struct ssx_error *err);

/* Looks for what there is of it: a partial file, or a whole one of the same size and time in its place (in_place).
 * digest then covers it; nothing: digest.n is 0. Returns 0 or -1. */
int partial_find(struct partial *p, struct ssx_error *err);

/* Gets ready for the bytes from `offset`, which is 0 or what was found. Returns 0 or -1. */
int partial_begin(struct partial *p, uint64_t offset, struct ssx_error *err);

/* The next bytes; runs of zeros become holes. Returns 0 or -1. */
int partial_write(struct partial *p, const unsigned char *at, size_t n, struct ssx_error *err);

/* All bytes are there: checks their digest; sets mode and time. Returns 0 or -1. */
int partial_check(struct partial *p, const unsigned char digest[SHA256_SIZE], struct ssx_error *err);

/* Gives so many whole files their names, once all of them are on disk: one after the other would make the disk wait for
 * each. Returns 0 or -1. */
int partial_place(struct partial *p, size_t count, struct ssx_error *err);

/* Ends it wherever it stands; a partial file stays if it is of use. finished: as in folder_release. Returns 0 or -1. */
int partial_dispose(struct partial *p, bool finished, struct ssx_error *err);

#endif
