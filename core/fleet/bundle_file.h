/* A bundle, unpacked in a file without a name, as what hosts may be sent of it. */
#ifndef SSHEXEC_PAYLOAD_H
#define SSHEXEC_PAYLOAD_H
#include "bundle.h"

#include "base/buf.h"
#include "client/client.h"

struct payload {
    struct bundle *bundle;             /* its manifest and its texts live as long */
    struct digest manifest;
    struct client_object *objects;
    size_t count;
    void *at;                          /* the file, mapped */
    size_t size;
};

/* Opens it, unless interrupt_fd becomes readable, and judges its signature as bundle_judge_signature does. Returns 0
 * (the caller calls payload_close), or -1 with err. */
int payload_open(struct payload *out, const char *path, const char *signers, const char *signer, int interrupt_fd,
                 struct ssx_error *err);
void payload_close(struct payload *p);

#endif
