#include "fleet/agents.h"

#include "agent_digest.h"

#include "base/error.h"
#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define IMAGE_MAX (64u << 20) /* no agent is a tenth of that: what is larger was named by mistake */

static int map(const void **out, size_t *n, const char *path, struct ssx_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st)) {
        error_system(err, "can't read the agent %s", path);
        fd_close(&fd);
        return -1;
    }
    bool plausible = S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= IMAGE_MAX;
    void *at = plausible ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    fd_close(&fd);
    if (at == MAP_FAILED)
        return plausible ? error_system(err, "can't read the agent %s", path) : error_set(err, SSX_ERROR_USAGE, "%s is no agent", path);
    *out = at;
    *n = (size_t)st.st_size;
    return 0;
}

/* Hashing costs milliseconds that only a first call on a host should pay, and there the host hashes what it gets: for our own, its size tells. */
static int identify(struct agent_image *image, const char *path, bool own, struct ssx_error *err)
{
    struct digest digest;
    if (own && (image->size != AGENT_SIZE || image->packed_size != AGENT_PACKED_SIZE))
        return error_set(err, SSX_ERROR_USAGE, "the agent %s is not the one that this sshexec was built with (reinstall, or make)", path);
    if (own) {
        snprintf(image->digest, sizeof image->digest, "%s", AGENT_DIGEST);
    } else {
        digest_of(&digest, image->bytes, image->size);
        digest_hex(image->digest, &digest);
    }
    image->machine = AGENT_MACHINE;
    return 0;
}

int agents_open(struct agent_image *out, const char *path, bool own, struct ssx_error *err)
{
    char packed[PATH_MAX + 4];
    snprintf(packed, sizeof packed, "%s.gz", path);
    memset(out, 0, sizeof *out);
    if (map(&out->bytes, &out->size, path, err) == 0 && map(&out->packed, &out->packed_size, packed, err) == 0 && identify(out, path, own, err) == 0)
        return 0;
    agents_close(out);
    return -1;
}

void agents_close(struct agent_image *image)
{
    if (image->bytes)
        munmap((void *)image->bytes, image->size);
    if (image->packed)
        munmap((void *)image->packed, image->packed_size);
    memset(image, 0, sizeof *image);
}
