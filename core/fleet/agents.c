#include "fleet/agents.h"

#include "agent_digest.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "worker/elf.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MACHINE_MAX = sizeof ((struct agent_image *)0)->machine - 1 };

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

static int map_both(struct agent_image *image, const char *path, struct ssx_error *err)
{
    char packed[PATH_MAX + 4];
    snprintf(packed, sizeof packed, "%s.gz", path);
    return map(&image->bytes, &image->size, path, err) || map(&image->packed, &image->packed_size, packed, err) ? -1 : 0;
}

/* By its ELF header; what is no ELF file is taken to be for machines like this one. */
static void find_machine(struct agent_image *image)
{
    struct elf e;
    bool known = elf_open(&e, "", image->bytes, image->size, NULL) == 0;
    snprintf(image->machine, sizeof image->machine, "%.*s", MACHINE_MAX, known ? elf_machine_name(e.machine) : AGENT_MACHINE);
}

/* Hashing costs milliseconds that only a first call on a host should pay, and there the host hashes what it gets: for
 * our own, its size tells. */
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
    find_machine(image);
    return 0;
}

/* --- for other machines --- */

/* Their digests were written down when they were built, for the same reason. */
static int read_id(struct agent_image *image, const char *path, struct ssx_error *err)
{
    char file[PATH_MAX + 4], version[33] = "";
    uint64_t size = 0, packed = 0;
    struct buf text = {0};
    snprintf(file, sizeof file, "%s.id", path);
    int rc = file_read(&text, file, 256, err) || buf_add(&text, "", 1) ? -1 : 0;
    bool whole = rc == 0 &&
                 sscanf((const char *)buf_data(&text), "%32s %64s %" SCNu64 " %" SCNu64, version, image->digest, &size,
                        &packed) == 4 &&
                 strlen(image->digest) == DIGEST_HEX && strspn(image->digest, "0123456789abcdef") == DIGEST_HEX;
    buf_free(&text);
    if (rc)
        return -1;
    if (!whole)
        return error_set(err, SSX_ERROR_USAGE,
                         "%s is not what was written when it was built (reinstall, or make agent-%s)", file,
                         image->machine);
    if (strcmp(version, SSX_VERSION))
        return error_set(err, SSX_ERROR_USAGE, "%s is of sshexec %s, this is %s", path, version, SSX_VERSION);
    return image->size == size && image->packed_size == packed ? 0
        : error_set(err, SSX_ERROR_USAGE, "%s is not the one that %s tells of (reinstall, or make agent-%s)", path, file, image->machine);
}

static void open_other(struct agent_image *image, const char *directory, const char *machine)
{
    char path[PATH_MAX];
    struct elf e;
    struct ssx_error err = {0};
    snprintf(image->machine, sizeof image->machine, "%.*s", MACHINE_MAX, machine);
    bool fits = (size_t)snprintf(path, sizeof path, "%s/%s/sshexec-agent", directory, machine) < sizeof path;
    int rc = !fits ? error_set(&err, SSX_ERROR_USAGE, "its path is too long")
             : map_both(image, path, &err) || read_id(image, path, &err) ||
                     elf_open(&e, path, image->bytes, image->size, &err)
                 ? -1
                 : 0;
    if (rc == 0 && strcmp(elf_machine_name(e.machine), machine))
        rc = error_set(&err, SSX_ERROR_USAGE, "%s is for %s", path, elf_machine_name(e.machine));
    if (rc)
        snprintf(image->flaw, sizeof image->flaw, "%.*s", (int)sizeof image->flaw - 1, err.text);
}

/* A name that may stand in a shell line. */
static bool is_machine(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return n && !name[n] && n <= MACHINE_MAX;
}

/* What can't be listed is not there: they are for hosts that this sender may never meet. */
static void open_others(struct agent_image *own, const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*sagents", slash ? (int)(slash + 1 - path) : 0, path);
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct agent_image *image = is_machine(entry->d_name) && !agent_for(own, entry->d_name) ? calloc(1, sizeof *image) : NULL;
        if (!image)
            continue;
        open_other(image, directory, entry->d_name);
        image->next = own->next;
        own->next = image;
    }
    if (dir)
        closedir(dir);
}

int agents_open(struct agent_image *out, const char *path, bool own, struct ssx_error *err)
{
    memset(out, 0, sizeof *out);
    if (map_both(out, path, err) || identify(out, path, own, err)) {
        agents_close(out);
        return -1;
    }
    if (own)
        open_others(out, path);
    return 0;
}

void agents_close(struct agent_image *image)
{
    for (struct agent_image *other = image->next, *next; other; other = next) {
        next = other->next;
        other->next = NULL;
        agents_close(other);
        free(other);
    }
    if (image->bytes)
        munmap((void *)image->bytes, image->size);
    if (image->packed)
        munmap((void *)image->packed, image->packed_size);
    memset(image, 0, sizeof *image);
}
