/* A bundle that was opened to be deployed: unpacked in a file without a name, as what hosts may be sent of it. */
#ifndef FLEET_BUNDLE_FILE_H
#define FLEET_BUNDLE_FILE_H
#include "base/digest.h"
#include "bundle/archive.h"
#include "client/client.h"

#include <sshexec/bundle.h>

struct ssx_bundle {
    struct bundle *file;               /* its manifest and its texts live as long */
    struct digest manifest;
    struct client_object *objects;
    size_t count;
    void *at;                          /* the objects, mapped */
    size_t size;
};

#endif
