/* What a call says, on this terminal or pipe: output as it comes, the result, the end; or one JSON object a line. */
#ifndef SSHEXEC_REPORT_H
#define SSHEXEC_REPORT_H
#include "wire/message.h"
#include "worker/descriptor.h"

#include <sshexec/fleet.h>
#include <stdbool.h>

struct report {
    const char *host;                  /* for messages: "node1", "local"; NULL, for JSON: none */
    const char *type;                  /* as it was named: "hello", "./hello.so" */
    const struct descriptor *descriptor;
    size_t item;                       /* of those that are dealt, for JSON: its number from 1; 0: none */
    bool json, quiet;
    bool show_output, show_result;
    int out_fd;                        /* stdout; or stderr, where stdout is for the state that comes back */
    int verbose;
    bool has_result;
    struct buf result;                 /* kept until END: it is shown after the output */
    const struct ssx_fleet_timing *timing; /* where the time of a host of a fleet went, for END as JSON; NULL: not known */
    bool item_complained;              /* that an item doesn't fit was said */
};

void report_init(struct report *r, const char *type, const char *host, const struct descriptor *d);
void report_free(struct report *r);

/* Shows OUTPUT, LOG, PROGRESS, ITEM (and STATE, as JSON); keeps RESULT; shows the result and what there is to say at
 * END. Returns 0, or -1 with errno when stdout can't be written to. */
int report_message(struct report *r, const struct message *m);

/* As JSON: that the host gave the item back. Returns as report_message. */
int report_returned(const struct report *r, const char *why);

#endif
