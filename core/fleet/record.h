/* The record of a run over many hosts: one file that grows as things happen, and can be read whatever became of its
 * writer.
 *
 * A frame is its length in 4 bytes, the most significant first, and one msgpack array that begins with its kind. First
 * comes what was run, then the name of each host, then what hosts said, and how each of them ended. Texts are bin
 * values that hold the NUL behind them. A last frame that is not whole is as if it were not there. */
#ifndef FLEET_RECORD_H
#define FLEET_RECORD_H
#include "wire/message.h"
#include "worker/descriptor.h"

#include <sshexec/fleet.h>

#define RECORD_VERSION 1
#define RECORD_VERSION_ITEMS 2       /* of a run that dealt items: readers of version 1 know no such thing */
#define RECORD_NONE UINT64_MAX       /* no item, no host */
#define RECORD_SAID_MAX (256u << 20) /* bytes that hosts say; beyond that only their ends are recorded, for a flood must not fill the disk */

/* What frames hold. An event's kind is RECORD_EVENT + enum ssx_fleet_event_kind. */
enum record_frame {
    RECORD_RUN = 0,  /* version, when it began (ms since 1970), type, note, state, how many hosts; in version 2 how many
                        items, whether their lines are here, how many a host has at once */
    RECORD_HOST = 1, /* name */
    RECORD_FULL = 2, /* RECORD_SAID_MAX is reached */
    RECORD_ITEM = 3, /* its line; behind the hosts */
    RECORD_EVENT = 16, /* host, in version 2 item; then stream (or level) and bytes; or for an end its outcome, code,
                          ... : record.c */
};

struct record;

/* What is run. All borrowed until record_close. */
struct record_run {
    const struct descriptor *descriptor;
    const char *type;                /* as it was named */
    const void *state;               /* of all hosts, one msgpack value; its secret fields are left out */
    size_t state_size;
    char *const *hosts;
    size_t count;
    const struct span *texts;        /* of the items that are dealt: their lines; NULL: secret */
    size_t item_count, per_host;     /* 0: each host has a run of its own */
};

/* Begins a record, a new file of mode 0600 in records_place(), and removes old ones (records_prune). Returns 0,
 * or -1 with err (SYSTEM). */
int record_open(struct record **out, const struct record_run *run, struct ssx_error *err);

/* Notes an event; progress and notes are left out, and so are secret fields. */
void record_event(struct record *r, const struct ssx_fleet_event *e);

/* Has the file hold all that was noted: to be called whenever the program is about to wait. Returns 0, or -1 with err
 * the first time that something can't be written; from then on nothing is. */
int record_flush(struct record *r, struct ssx_error *err);

/* Flushes and closes it. NULL is fine. */
void record_close(struct record *r);

#endif
