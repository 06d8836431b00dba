/* bigfiles: walks directories and sends each large file as soon as it is found.
 *
 * An example in C: a list and an enum in the state, items of a declared type, progress, a log line for what can't be
 * read, and an end in good order when the caller cancels. */
#include <sshexec/worker.h>

#include <errno.h>
#include <fts.h>
#include <sys/stat.h>

#define ORDER(V) V(order, any) V(order, name)
SSX_ENUM(order, ORDER)

#define BIGFILES(F)                                                                          \
    F(rest(list(str)), paths,       empty,                "where to begin; none: here")      \
    F(u64,             at_least,    default(1048576),     "the smallest that counts, bytes") \
    F(enum(order),     order,       member(order, any),   "how to go through a directory")   \
    F(bool,            other_disks, default(false),       "whether to enter mount points")
SSX_STRUCT(bigfiles, BIGFILES)

#define FILE_FOUND(F)                                                                        \
    F(str, path,  required, "where it is")                                                   \
    F(u64, bytes, required, "its length")                                                    \
    F(u64, used,  required, "what it takes on disk, bytes")
SSX_STRUCT(file_found, FILE_FOUND)

#define BIGFILES_RESULT(F)                                                                   \
    F(u64,                     seen,    required, "files looked at")                         \
    F(u64,                     found,   required, "files that are large")                    \
    F(u64,                     bytes,   required, "the length of those, together")           \
    F(u64,                     skipped, required, "what could not be read")                  \
    F(opt(struct(file_found)), largest, empty,    "the largest of them")
SSX_STRUCT(bigfiles_result, BIGFILES_RESULT)

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

/* fts_open wants an array of char * that ends with NULL. */
static char **where_to_begin(struct ssx_call *call, const struct bigfiles *in)
{
    char **paths = ssx_alloc(call, (in->paths.n + 2) * sizeof *paths);
    for (size_t i = 0; i < in->paths.n; i++)
        paths[i] = ssx_strdup(call, in->paths.at[i]);
    if (!in->paths.n)
        paths[0] = ssx_strdup(call, ".");
    return paths;
}

static int take_file(struct ssx_call *call, const struct bigfiles *in, struct bigfiles_result *out, const FTSENT *e)
{
    struct file_found file = {e->fts_path, (uint64_t)e->fts_statp->st_size, (uint64_t)e->fts_statp->st_blocks * 512};
    out->seen++;
    if (file.bytes < in->at_least)
        return 0;
    out->found++;
    out->bytes += file.bytes;
    if (!out->largest.set || file.bytes > out->largest.value.bytes) {
        out->largest.set = true;
        out->largest.value = file;
        out->largest.value.path = ssx_strdup(call, file.path); /* fts will reuse its own */
    }
    return ssx_item(call, file_found, &file);
}

static int bigfiles_run(struct ssx_call *call, const struct bigfiles *in, struct bigfiles_result *out)
{
    int options = FTS_PHYSICAL | FTS_NOCHDIR | (in->other_disks ? 0 : FTS_XDEV), rc = 0;
    FTS *walk = fts_open(where_to_begin(call, in), options, in->order == order_name ? by_name : NULL);
    if (!walk)
        return ssx_fail(call, 2, "can't begin: %s", strerror(errno));
    for (FTSENT *e; !rc && !ssx_cancelled(call) && (e = fts_read(walk));) {
        ssx_progress(call, out->seen, 0, e->fts_path);
        if (e->fts_info == FTS_F) {
            rc = take_file(call, in, out, e);
        } else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS) {
            ssx_log(call, SSX_LOG_WARNING, "%s: %s", e->fts_path, strerror(e->fts_errno));
            out->skipped++;
        }
    }
    fts_close(walk);
    if (ssx_cancelled(call))
        return ssx_fail(call, 1, "cancelled after %llu files", (unsigned long long)out->seen);
    return rc ? 1 : 0;
}
SSX_WORKER_ITEMS("bigfiles", "1.0", "finds large files", bigfiles, bigfiles_result, file_found, SSX_IDEMPOTENT | SSX_SHOWS_RESULT,
                 bigfiles_run)
