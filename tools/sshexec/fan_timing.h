/* Where the time of each host went, as a table for --timing; on a terminal with a histogram of the totals. */
#ifndef SSHEXEC_FAN_TIMING_H
#define SSHEXEC_FAN_TIMING_H
#include "base/buf.h"

#include <sshexec/fleet.h>

/* Adds the table, in ms: a line for each of the hosts, in order. */
void fan_timing_table(struct buf *out, char *const *names, const struct ssx_fleet_timing *times, size_t count);

/* Adds the histogram: how many hosts took how long. */
void fan_timing_histogram(struct buf *out, const struct ssx_fleet_timing *times, size_t count);

#endif
