#include "agents.h"

#include "agent_digest.h"

#include "base/error.h"
#include "base/install.h"
#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* Maps a file of exactly that size. Hashing it costs milliseconds that only a first call on a host should pay, and there the host hashes it. */
static int map(const void **out, const char *path, size_t size, struct ssx_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_system(err, "can't read the agent %s", path);
    void *at = fstat(fd, &st) == 0 && (size_t)st.st_size == size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    fd_close(&fd);
    if (at == MAP_FAILED)
        return error_set(err, SSX_ERROR_USAGE, "the agent %s is not the one that this sshexec was built with (reinstall, or make)", path);
    *out = at;
    return 0;
}

int agents_open(struct agent_image *out, struct ssx_error *err)
{
    static struct utsname uts; /* out borrows from it */
    char path[PATH_MAX];
    install_agent(path, sizeof path - 4);
    if (map(&out->bytes, path, AGENT_SIZE, err))
        return -1;
    strcat(path, ".gz");
    if (map(&out->packed, path, AGENT_PACKED_SIZE, err))
        return -1;
    uname(&uts);
    out->size = AGENT_SIZE;
    out->packed_size = AGENT_PACKED_SIZE;
    snprintf(out->digest, sizeof out->digest, "%s", AGENT_DIGEST);
    out->machine = uts.machine;
    return 0;
}
