/* What many hosts say, for a person or a pipe: "host: line" as it comes, or gathered by what is the same, or JSON; a
 * progress line on a terminal; and how all of it ended. */
#ifndef SSHEXEC_FAN_SHOW_H
#define SSHEXEC_FAN_SHOW_H
#include "color.h"
#include "fan_table.h"
#include "in_order.h"
#include "lines.h"
#include "outdir.h"
#include "report.h"
#include "settings.h"
#include "tally.h"

#include "fleet/gather.h"

#include <sshexec/fleet.h>

/* Who runs it, and what is dealt over them; items NULL: each host has a run of its own. Borrowed. */
struct fan_rows { char *const *hosts; size_t host_count; char *const *items; size_t item_count, per_host; };

struct fan_show {
    const struct settings *settings;
    struct report report;            /* for JSON, and what a type shows */
    struct fan_rows rows;
    char *const *names;              /* of what is counted and compared: the items where any are dealt, else the hosts */
    size_t count;
    size_t first, batch;             /* where the hosts of the fleet that runs begin, and how many they are */
    struct voice {
        struct lines out, err;
        struct buf result;
        bool has_result;
        size_t item;
    } * voices; /* of each host its own, then those of the items that it has now */
    size_t voices_each;
    struct gather *gather;           /* -b, -L, --diff; else NULL */
    struct fan_table table;          /* --pick and the like: table.table; else NULL */
    struct in_order *in_order;       /* -k; else NULL */
    struct outdir outdir;            /* --outdir */
    struct colors colors;
    struct ssx_fleet_timing *times;  /* --timing; else NULL */
    struct tally tally, host_tally;  /* host_tally: where items are dealt */
    bool progress;                   /* there is a terminal for the line */
    bool of_files; /* it is a transfer: bytes are counted, files not named, sums shown where asked for */
    bool for_terminal;               /* stdout is one */
    int output_error;                /* errno of stdout; 0: it can be written to */
    int64_t began_us, drawn_us;
    uint64_t moved;                  /* of_files: bytes, by the fleets before the one that runs */
    uint64_t took_us;                /* the longest that a row took until it ended: what a record knows, too */
};

/* Returns 0 or -1; fan_show_free in both cases. */
int fan_show_init(struct fan_show *f, const struct settings *s, const struct descriptor *d, const char *type,
                  const struct fan_rows *rows, struct ssx_error *err);
void fan_show_free(struct fan_show *f);

/* Whether it is the end of a row, and which row it is about. */
bool fan_show_is_end(const struct fan_show *f, const struct ssx_fleet_event *e);
size_t fan_show_row(const struct fan_show *f, const struct ssx_fleet_event *e);

/* Shows it. Returns 0, or -1 when stdout can't be written to any more. */
int fan_show_event(struct fan_show *f, const struct ssx_fleet_event *e);

/* One line on stderr: "NAME: WORD: TEXT", or without the word (NULL). */
void fan_show_remark(const char *name, const char *word, const char *text);

/* How it ended, in words. */
void fan_show_describe(struct buf *out, const struct fan_show *f, double seconds);

/* Draws the progress line, unless it was drawn just now. */
void fan_show_progress(struct fan_show *f, struct ssx_fleet *fleet);

/* The fleet is about to be closed: what it has moved is remembered. */
void fan_show_moved(struct fan_show *f, const struct ssx_fleet *fleet);

/* Who has not ended, and what they are at. */
void fan_show_pending(struct fan_show *f, struct ssx_fleet *fleet);

/* For what shows a part of it: text for stdout, written and emptied once it is large, or in any case (all). Returns 0,
 * or -1 when stdout can't be written to. */
int fan_show_text(struct fan_show *f, struct buf *text, bool all);

/* What stands before a host's lines on stdout or stderr, for free(); NULL: nothing. */
char *fan_show_prefix(const struct fan_show *f, const char *name, int fd);

/* What was gathered, and the summary. Returns the exit code. */
int fan_show_end(struct fan_show *f, bool largest);

#endif
