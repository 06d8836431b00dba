/* sshexec decode: what a workload holds, as JSON. */
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/json.h"
#include "wire/workload.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void show_options(struct buf *out, const struct workload *w)
{
    char digest[DIGEST_HEX + 1];
    const char *comma = "";
    if (w->timeout_ms) {
        buf_printf(out, "\"timeout_ms\":%llu", (unsigned long long)w->timeout_ms);
        comma = ",";
    }
    if (w->has_digest) {
        digest_hex(digest, &w->digest);
        buf_printf(out, "%s\"digest\":\"%s\"", comma, digest);
    }
}

static int show(const struct workload *w, struct ssx_error *err)
{
    struct buf out = {0};
    buf_add_text(&out, "{\"type\":");
    json_add_string(&out, w->type.at, w->type.n);
    buf_add_text(&out, ",\"state\":");
    int rc = json_from_msgpack(&out, w->state.at, w->state.n, err);
    buf_add_text(&out, ",\"options\":{");
    show_options(&out, w);
    buf_add_text(&out, "}}\n");
    if (rc == 0 && out.failed)
        rc = error_set(err, SSX_ERROR_SYSTEM, "can't show the workload: out of memory");
    if (rc == 0 && fd_write_all(STDOUT_FILENO, buf_data(&out), buf_length(&out)))
        rc = error_system(err, "can't write to stdout");
    buf_free(&out);
    return rc;
}

static int decode(const char *path, struct ssx_error *err)
{
    struct buf bytes = {0};
    struct workload w;
    enum workload_form form;
    bool from_stdin = strcmp(path, "-") == 0;
    int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc = fd < 0 ? error_system(err, "can't read %s", path) : workload_read(&bytes, &form, fd, from_stdin ? "stdin" : path, err);
    if (rc == 0)
        rc = workload_decode(&w, buf_data(&bytes), buf_length(&bytes), err) || show(&w, err) ? -1 : 0;
    if (!from_stdin)
        fd_close(&fd);
    buf_free(&bytes);
    return rc;
}

int command_decode(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(&s, 0, "usage: sshexec decode [FILE]\n\n"
                   "Shows the workload of FILE, or of stdin, as one line of JSON: its type, its state and its options.\n"
                   "Nothing is left out: a field that its type calls secret stands there as well.",
                   argc, argv, &words, &count, &rest, &code))
        return code;
    if (s.help || count > 1 || rest)
        error_set(&err, SSX_ERROR_USAGE, "decode takes one file (sshexec decode --help)");
    return err.code || decode(count ? words[0] : "-", &err) ? tool_complain(&err) : 0;
}
