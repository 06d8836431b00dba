/* Records, over the two byte streams between giver and taker. A record is a kind (1 byte), a length (4 bytes,
 * big-endian) and so many bytes; integers in it are big-endian. Texts (names, link targets, reasons) take the rest of
 * their record.
 *
 *   from the giver
 *   S  start      "ssxfiles", version u8 (1), flags u8: 1 = the target is a directory, 2 = make it if it is not there
 *   D  directory  mode u32, mtime s64, nanoseconds u32, name: made if need be, and entered
 *   U  up         leaves it
 *   F  file       mode u32, mtime s64, nanoseconds u32, size u64, name
 *   L  link       mode u32 (unused), mtime s64, nanoseconds u32, length of the name u8, name, target
 *   A  ask        which of the files since the last A does the taker have? Then, for each of those files, in order:
 *   B  body       offset u64, where the bytes begin: 0, or what the taker has
 *   C  chunk      bytes, until the size is reached
 *   T  total      SHA-256 of the whole file
 *   X  no total   in place of a C or T: the file can't be given whole
 *   E  end        problems u64: how many things could not be given
 *
 *   from the taker
 *   H  have       index u32 (in the batch, ascending), bytes u64, their SHA-256
 *   G  go         there is no more that it has: the giver sends the bodies
 *   K  kept       the taker's tally, seven u64: all is in place and on disk
 *
 *   from both
 *   !  failed     why, for a person; nothing follows
 *
 * A name is one component of a path: no "/", not "." or "..", 1 to 255 bytes. A reader refuses what is not in its turn,
 * too long, or not of the form above. */
#ifndef FILES_STREAM_H
#define FILES_STREAM_H
#include "transfer.h"

#include <sshexec/error.h>

#define STREAM_MAGIC "ssxfiles"
#define STREAM_VERSION 1
#define STREAM_HEADER 5
#define STREAM_PIECE (256u << 10)  /* bytes of a C at most: the window of a call */
#define STREAM_RECORD 8192u        /* bytes of any other record at most */

enum record_kind {
    RECORD_START = 'S', RECORD_DIRECTORY = 'D', RECORD_UP = 'U', RECORD_FILE = 'F', RECORD_LINK = 'L', RECORD_ASK = 'A', RECORD_BODY = 'B',
    RECORD_CHUNK = 'C', RECORD_TOTAL = 'T', RECORD_NO_TOTAL = 'X', RECORD_END = 'E', RECORD_HAVE = 'H', RECORD_GO = 'G', RECORD_KEPT = 'K',
    RECORD_FAILED = '!',
};
enum { START_DIRECTORY = 1, START_MAKE = 2 };

/* What D, F and L say of an entry. */
struct entry {
    uint32_t mode, nanoseconds;
    int64_t mtime;
    uint64_t size;                 /* F */
    char name[NAME_BYTES + 1];
    char target[PATH_BYTES + 1];   /* L */
};

/* One record as it was read; a reader's step takes from its front. `at` is valid until the next stream_next. */
struct record { enum record_kind kind; const unsigned char *at; size_t n; };

struct stream {
    int in, out;
    const struct observer *observer;
    size_t start, end;             /* what was read and not yet taken: input[start..end) */
    size_t waiting;                /* bytes of output */
    bool cut;                      /* the other half went away, or we were stopped: what has come may be of use later */
    unsigned char input[STREAM_HEADER + STREAM_PIECE], output[STREAM_HEADER + STREAM_PIECE];
};

/* Half a megabyte, from malloc; NULL without memory. The descriptors stay the caller's. */
struct stream *stream_new(int in, int out, const struct observer *observer);

/* Adds a record to what waits to be sent: head, then tail (either may be empty). Returns 0 or -1. */
int stream_put(struct stream *s, enum record_kind kind, const void *head, size_t head_n, const void *tail, size_t tail_n,
               struct ssx_error *err);

/* Where the bytes of the next chunk go (STREAM_PIECE of room), and sending n of them. NULL, or -1, with err. */
unsigned char *stream_chunk(struct stream *s, struct ssx_error *err);
int stream_put_chunk(struct stream *s, size_t n, struct ssx_error *err);

/* Sends what waits. Returns 0 or -1. */
int stream_flush(struct stream *s, struct ssx_error *err);

/* The next record, whole. An "!" is an error with the other half's reason. Returns 0, or -1 with err. */
int stream_next(struct stream *s, struct record *out, struct ssx_error *err);

/* The same, and it is an error if it is of another kind. */
int stream_expect(struct stream *s, enum record_kind kind, struct record *out, struct ssx_error *err);

/* Whether something has come, without waiting. */
bool stream_has_input(const struct stream *s);

/* Tells the other half why this one leaves, unless it was the other that went. */
void stream_fail(struct stream *s, const struct ssx_error *why);

/* "out of turn" and the like, as err: the other half doesn't speak our language. Returns -1. */
int stream_refuse(const struct record *r, struct ssx_error *err);

/* Integers, from the front of a record. Return 0, or -1 where it is too short. */
int record_u8(struct record *r, uint8_t *out);
int record_u32(struct record *r, uint32_t *out);
int record_u64(struct record *r, uint64_t *out);
int record_bytes(struct record *r, void *out, size_t n);
/* And to the end of one; returns what follows. */
unsigned char *put_u32(unsigned char *at, uint32_t value);
unsigned char *put_u64(unsigned char *at, uint64_t value);

/* An entry as a D, F or L. */
int stream_put_entry(struct stream *s, enum record_kind kind, const struct entry *e, struct ssx_error *err);
/* The reverse, checked; r is a D, F or L. */
int record_entry(struct record *r, struct entry *out, struct ssx_error *err);

/* The tally as a K, and back. */
int stream_put_tally(struct stream *s, const struct tally *t, struct ssx_error *err);
int record_tally(struct record *r, struct tally *out, struct ssx_error *err);

#endif
