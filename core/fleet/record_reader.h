/* Reading a record back: what was run, and then each event as it came. A record that is being written can be read, too,
 * as far as it goes. */
#ifndef FLEET_RECORD_READER_H
#define FLEET_RECORD_READER_H
#include "wire/message.h"
#include "worker/descriptor.h"

#include <sshexec/fleet.h>

struct record_reader;

/* What was run; borrowed until record_reader_close. */
struct record_head {
    struct descriptor descriptor;
    const char *type;
    int64_t began_ms;                /* since 1970 */
    const void *state;               /* without secret fields */
    size_t state_size;
    char **hosts;
    size_t count;
    struct span *texts;              /* of the items that were dealt: their lines; NULL: not recorded */
    size_t item_count, per_host;     /* 0: each host had a run of its own */
};

/* Opens the file at path. Returns 0: the caller closes *out; or -1 with err (USAGE: it can't be read, or is no record;
 * SYSTEM). */
int record_reader_open(struct record_reader **out, const char *path, struct ssx_error *err);
void record_reader_close(struct record_reader *r);
const struct record_head *record_reader_head(const struct record_reader *r);

/* The next event; it borrows from the record. Returns 1; 0 at the end, which is where a frame is not whole; or -1 with
 * err (PROTOCOL) for what no run writes. */
int record_reader_next(struct record_reader *r, struct ssx_fleet_event *e, struct ssx_error *err);

/* Whether not all that hosts said was recorded; known once all events were read. */
bool record_reader_full(const struct record_reader *r);

#endif
