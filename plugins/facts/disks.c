/* Topic disks: the mounts that hold files of their own. Those that could hang are listed, but never touched. */
#include "facts.h"
#include <sys/statvfs.h>

enum { DISKS_MAX = 256 }; /* against a node gone wild; real ones have tens */

struct mount { char *device_number, *path, *fstype, *source; };
struct scan { struct ssx_call *call; struct disk *at; const char *device_numbers[DISKS_MAX]; size_t n; };

static bool is_one_of(const char *word, const char *const *list)
{
    while (*list && strcmp(word, *list) != 0)
        list++;
    return *list != NULL;
}

enum place { NO_DISK, LOCAL, REMOTE };

/* Remote: a dead server, or a stuck FUSE process, could make us wait for it. Local: it stores files of its own; so no
 * /proc, no tmpfs, no image of a snap (always full), no layers of containers. */
static enum place place_of(const struct mount *m)
{
    static const char *const remote[] = { "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "gpfs", "beegfs",
                                          "afs", "9p", "virtiofs", "ocfs2", "gfs2", NULL };
    static const char *const no_disk[] = { "squashfs", "autofs", "overlay", "tmpfs", "devtmpfs", NULL };
    bool is_path = *m->source == '/';
    if (strcmp(m->fstype, "zfs") == 0)
        return LOCAL;
    if (is_one_of(m->fstype, remote) || strncmp(m->source, "//", 2) == 0 || (!is_path && strchr(m->source, ':')))
        return REMOTE;
    if (!is_path || is_one_of(m->fstype, no_disk))
        return NO_DISK;
    return strncmp(m->fstype, "fuse.", 5) == 0 ? REMOTE : LOCAL;
}

/* \040 and the like, which the kernel writes for blanks, back to bytes; in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned code;
        if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
            *to = (char)code;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* A line of mountinfo: "ID PARENT MAJ:MIN ROOT PATH OPTIONS [TAG...] - FSTYPE SOURCE OPTIONS". */
static bool parse_mount(char *line, struct mount *out)
{
    char *fields[6], *rest = line;
    for (size_t i = 0; i < 6; i++)
        if (!(fields[i] = strsep(&rest, " ")))
            return false;
    for (char *tag = fields[5]; strcmp(tag, "-") != 0;)
        if (!(tag = strsep(&rest, " ")))
            return false;
    *out = (struct mount){ fields[2], fields[4], strsep(&rest, " "), NULL };
    out->source = strsep(&rest, " \n");
    if (!out->source)
        return false;
    unescape(out->path);
    unescape(out->source);
    return true;
}

static void scan_drop(struct scan *s, size_t i)
{
    s->n--;
    memmove(&s->at[i], &s->at[i + 1], (s->n - i) * sizeof *s->at);
    memmove(&s->device_numbers[i], &s->device_numbers[i + 1], (s->n - i) * sizeof *s->device_numbers);
}

/* Takes a mount into the list. A later mount on the same place hides the earlier one; of one device's many (bind)
 * mounts the shortest path stays. */
static void scan_mount(struct scan *s, const struct mount *m)
{
    enum place place = place_of(m);
    bool root = strcmp(m->path, "/") == 0;
    for (size_t i = s->n; i-- > 0;)
        if (strcmp(s->at[i].mount, m->path) == 0)
            scan_drop(s, i);
    if (!root && place == NO_DISK)
        return;
    for (size_t i = s->n; i-- > 0;)
        if (strcmp(s->device_numbers[i], m->device_number) == 0) {
            if (strlen(s->at[i].mount) <= strlen(m->path))
                return;
            scan_drop(s, i);
        }
    if (s->n == DISKS_MAX)
        return;
    s->device_numbers[s->n] = ssx_strdup(s->call, m->device_number);
    struct disk *d = &s->at[s->n++];
    disk_ssx_defaults(d);
    d->mount = ssx_strdup(s->call, m->path);
    d->device = ssx_strdup(s->call, m->source);
    d->fstype = ssx_strdup(s->call, m->fstype);
    d->remote = place == REMOTE && !root; /* who waits for the root waits anyway */
}

static bool is_below(const char *path, const char *mount)
{
    size_t n = strlen(mount);
    return strncmp(path, mount, n) == 0 && path[n] == '/';
}

static void ask_sizes(struct scan *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->n; j++)
            s->at[i].remote |= s->at[j].remote && is_below(s->at[i].mount, s->at[j].mount);
    for (size_t i = 0; i < s->n; i++) {
        struct disk *d = &s->at[i];
        struct statvfs fs;
        if (d->remote || statvfs(d->mount, &fs) != 0)
            continue;
        d->size = (uint64_t)fs.f_blocks * fs.f_frsize;
        d->free = (uint64_t)fs.f_bfree * fs.f_frsize;
        d->available = (uint64_t)fs.f_bavail * fs.f_frsize;
        d->inodes = fs.f_files;
        d->inodes_free = fs.f_ffree;
    }
}

void gather_disks(struct ssx_call *call, struct facts_result *out)
{
    struct scan scan = { .call = call, .at = ssx_alloc(call, DISKS_MAX * sizeof *scan.at) };
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[TEXT_MAX];
    bool whole = true; /* an overlay's options can outgrow any line: what we want stands before them, the rest is skipped */
    while (f && fgets(line, sizeof line, f)) {
        bool fresh = whole;
        struct mount m;
        whole = strchr(line, '\n') != NULL;
        if (fresh && parse_mount(line, &m))
            scan_mount(&scan, &m);
    }
    if (f)
        fclose(f);
    ask_sizes(&scan);
    out->disks.at = scan.at;
    out->disks.n = scan.n;
}
