/* What the SDK offers to a worker while it runs: the table behind struct ssx_call. */
#ifndef WORKER_HOST_SERVICES_H
#define WORKER_HOST_SERVICES_H
#include "base/arena.h"

#include "wire/message.h"

#include <sshexec/error.h>
#include <sshexec/worker.h>
#include <stdint.h>

struct call_context {
    struct ssx_call call;              /* first: the worker's pointer is this one */
    uint32_t id;                       /* the call's id on the wire */
    int64_t deadline_ms;               /* on clock_ms; 0: none */
    int64_t progress_ms;               /* when the last progress went out */
    const struct ssx_schema *item;     /* what its items must be; NULL: any */
    struct arena arena;
    char temp[256];                    /* "" where the profile gives none */
    const unsigned char *seal;         /* LANE_SEAL bytes that go before an answer; NULL: none do */
    size_t sent;                       /* bytes of its frames so far */
    bool temp_asked;                   /* the worker knows of it */
    char message[SSX_ERROR_TEXT];      /* what ssx_fail said */
};

void call_context_init(struct call_context *c, const char *temp, const struct ssx_schema *item);

/* Ends the call here and now; the process leaves. */
_Noreturn void call_end_early(struct call_context *c, const struct message_end *end);

/* Between two calls of a process: what the last one was about is forgotten. */
void call_context_reset(struct call_context *c);

#endif
