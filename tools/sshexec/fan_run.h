/* A run over many hosts, through <sshexec/fleet.h>: in batches, recorded, with what hosts say shown as it comes, and
 * Ctrl-C. */
#ifndef SSHEXEC_FAN_RUN_H
#define SSHEXEC_FAN_RUN_H
#include "fan_hosts.h"
#include "scatter.h"
#include "types.h"

#include "base/buf.h"

/* What is called on each host. */
struct fan_call {
    const struct type *type;
    const char *name;                /* of the type, as it was given */
    struct buf state;                /* empty where hosts have their own: */
    struct buf *states;              /* of each host; NULL: all have the same */
    int input_fd;                    /* a file that all of them read; -1: none */
    struct scatter *scatter;         /* count 0: nothing is dealt */
    char **labels;                   /* of its items */
    struct near_halves *near;        /* what each host's worker converses with; NULL: it is no transfer */
};

/* All of it. interrupt_fd: of interrupt_watch. Returns the exit code; what went wrong was said on stderr. */
int fan_run(const struct settings *s, const struct fan_hosts *hosts, const struct fan_call *call, int interrupt_fd);

#endif
