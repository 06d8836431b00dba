#include "state_out.h"

#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "worker/schema.h"
#include "worker/show.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_stdout(const char *path) { return strcmp(path, "-") == 0; }

static bool is_json(const char *path)
{
    size_t n = strlen(path);
    return n >= 5 && strcmp(path + n - 5, ".json") == 0;
}

int state_out_check(const char *path, bool json, const struct descriptor *d, struct ssx_error *err)
{
    if (!(d->traits & TRAIT_RETURNS_STATE))
        return error_set(err, SSX_ERROR_USAGE,
                         "--state-out: %s %s gives no state back (its traits have no SSX_RETURNS_STATE)", d->type,
                         d->version);
    if (is_stdout(path) && json)
        return error_set(err, SSX_ERROR_USAGE, "--state-out - and --json both want stdout: name a file, or take the state from its event");
    if (is_stdout(path) && isatty(STDOUT_FILENO))
        return error_set(
            err, SSX_ERROR_USAGE,
            "--state-out -: a state is binary, and stdout is a terminal: pipe it, or name a file (FILE.json: as JSON)");
    return 0;
}

static int write_to(int fd, const char *path, const struct buf *bytes, struct ssx_error *err)
{
    return fd < 0 || fd_write_all(fd, buf_data(bytes), buf_length(bytes)) ? error_system(err, "--state-out %s", path) : 0;
}

static int write_out(const char *path, const struct buf *bytes, struct ssx_error *err)
{
    struct stat st;
    if (is_stdout(path))
        return write_to(STDOUT_FILENO, "-", bytes, err);
    if (stat(path, &st) || S_ISREG(st.st_mode))
        return file_write_atomic(path, buf_data(bytes), buf_length(bytes), 0600, err) ? error_prefix(err, "--state-out") : 0;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY); /* a device, a fifo */
    int rc = write_to(fd, path, bytes, err);
    fd_close(&fd);
    return rc;
}

int state_out_write(const char *path, const struct descriptor *d, const void *state, size_t n, struct ssx_error *err)
{
    struct ssx_error why = {0};
    struct buf bytes = {0};
    if (!n)
        return error_set(err, SSX_ERROR_PROTOCOL,
                         "no state came back, so --state-out %s was not written: the node's %s gives none", path,
                         d->type);
    if (state_check(d, d->state, state, n, &why))
        return error_set(err, SSX_ERROR_PROTOCOL,
                         "the state that came back doesn't fit, so --state-out %s was not written: %s", path, why.text);
    int rc = is_json(path) ? value_show_json(&bytes, d->state, state, n) || buf_add_text(&bytes, "\n") : buf_add(&bytes, state, n);
    rc = rc ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the state that came back") : write_out(path, &bytes, err);
    buf_free(&bytes);
    return rc;
}
