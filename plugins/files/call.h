/* A transfer as a worker's call: its lists, and what its half says through the host's services. For the one source file
 * of `put` and of `get`. */
#ifndef FILES_CALL_H
#define FILES_CALL_H
#include "transfer.h"

#include <sshexec/error.h>
#include <sshexec/worker.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define PLACED(F)                                                                       \
    F(str, name,   required, "the file")                                                \
    F(u64, size,   required, "its bytes")                                               \
    F(u64, sent,   required, "how many of them had to travel")                          \
    F(str, sha256, required, "of the whole file, checked at the end that keeps it")
SSX_STRUCT(placed, PLACED)

#define TRANSFER_RESULT(F)                                                              \
    F(u64, files,       required, "files put in place")                                 \
    F(u64, skipped,     required, "files that were there already, byte for byte")       \
    F(u64, directories, required, "directories made")                                   \
    F(u64, links,       required, "symbolic links put in place")                        \
    F(u64, bytes,       required, "bytes that travelled")                               \
    F(u64, kept,        required, "bytes that were there already, digest-checked")      \
    F(u64, problems,    required, "what could not be read; the log says which and why")
SSX_STRUCT(transfer_result, TRANSFER_RESULT)

static void call_warn(void *call, const char *text) { ssx_log(call, SSX_LOG_WARNING, "%s", text); }
static bool call_stopped(void *call) { return ssx_cancelled(call); }

static void call_progress(void *call, uint64_t done, uint64_t total, const char *name)
{
    char text[PATH_BYTES + 16];
    snprintf(text, sizeof text, total ? "%s" : "files, %s", name);
    ssx_progress(call, done, total, text);
}

static void call_file(void *call, const struct transferred *t)
{
    char hex[2 * SHA256_SIZE + 1];
    struct placed p = {.name = t->name, .size = t->size, .sent = t->bytes, .sha256 = hex};
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", t->digest[i]);
    ssx_item((struct ssx_call *)call, placed, &p);
}

/* The pipes between agent and worker hold 64 KiB unless told to hold more, and each time that one is full or empty a
 * process waits for another. */
static inline struct observer call_observer(struct ssx_call *call)
{
    fcntl(0, F_SETPIPE_SZ, 1 << 20);
    fcntl(1, F_SETPIPE_SZ, 1 << 20);
    return (struct observer){.user = call, .warn = call_warn, .progress = call_progress, .file = call_file, .stopped = call_stopped};
}

/* A path as a login's shell would take it: "~/x" is in the home directory. */
static inline const char *call_path(struct ssx_call *call, const char *path)
{
    const char *home = getenv("HOME");
    return home && path[0] == '~' && (path[1] == '/' || !path[1]) ? ssx_sprintf(call, "%s%s", home, path + 1) : path;
}

/* How the call ends: rc and err are the transfer's. */
static inline int call_end(struct ssx_call *call, int rc, const struct tally *t, const struct ssx_error *err, struct transfer_result *out)
{
    *out = (struct transfer_result){t->files, t->skipped, t->directories, t->links, t->bytes, t->kept, t->problems};
    if (rc)
        return ssx_fail(call, 1, "%s", err->text);
    return t->problems ? ssx_fail(call, 1, "%llu could not be sent, the rest was", (unsigned long long)t->problems) : 0;
}

#endif
