/* sshexec encode: one workload on stdout, for sshexec-agent --once at the other end of any pipe. */
#include "show_type.h"
#include "tool.h"
#include "types.h"
#include "words.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/workload.h"

#include <unistd.h>

static int write_out(const struct buf *bytes, struct ssx_error *err)
{
    if (fd_write_all(STDOUT_FILENO, buf_data(bytes), buf_length(bytes)))
        return error_system(err, "can't write the workload to stdout");
    return 0;
}

/* As gzip does: what a terminal would make of the bytes helps nobody. */
static int check_stdout(const struct settings *s, struct ssx_error *err)
{
    if (!s->force && isatty(STDOUT_FILENO))
        return error_set(
            err, SSX_ERROR_USAGE,
            "a workload is binary, and stdout is a terminal: pipe it to a host, keep it in a file, or insist with --force");
    return 0;
}

static int encode(const struct settings *s, const struct type *type, char **words, int count, char **rest, struct ssx_error *err)
{
    struct buf state = {0}, out = {0};
    const char *host;
    bool read_stdin;
    const struct descriptor *d = &type->plugin.descriptor;
    int rc = words_parse(&state, &host, &read_stdin, d, words, count, rest, s->state_file, err);
    if (rc == 0 && host)
        rc = error_set(err, SSX_ERROR_USAGE, "%s: a workload names no host: sshexec encode ... | ssh %s sshexec-agent --once", host, host);
    struct workload w = {.type = span_text(d->type), .state = {buf_data(&state), buf_length(&state)}, .timeout_ms = (uint64_t)s->timeout_ms,
                         .has_digest = type->exact, .digest = type->digest};
    if (rc == 0)
        rc = check_stdout(s, err) || workload_encode(&out, &w, s->bare ? WORKLOAD_BARE : WORKLOAD_PREFIXED, err) ||
                     write_out(&out, err)
                 ? -1
                 : 0;
    buf_free(&state);
    buf_free(&out);
    return rc;
}

int command_encode(int argc, char **argv)
{
    struct settings s;
    struct type type;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code, rc = 0;
    unsigned groups = OPTIONS_ENCODE | OPTIONS_PLUGINS;
    if (tool_start(&s, groups, "usage: sshexec encode [options] TYPE [field=value ...] [-- WORD ...] > WORKLOAD\n\n"
                   "Writes one call of the worker TYPE, with its state as for sshexec run, as bytes that any pipe\n"
                   "can carry: sshexec encode hello name=Ada | ssh node1 sshexec-agent --once\n"
                   "A type that is named by the path of its plugin runs only where exactly that plugin is.",
                   argc, argv, &words, &count, &rest, &code))
        return code;
    if (!count)
        error_set(&err, SSX_ERROR_USAGE, "encode what? sshexec encode TYPE [field=value ...] (sshexec list shows the types)");
    if (!count || type_open(&type, words[0], s.plugin_path, &err))
        return tool_complain(&err);
    if (s.help) {
        show_type(&type.plugin.descriptor);
        settings_print_options(groups);
    } else {
        rc = encode(&s, &type, words + 1, count - 1, rest, &err);
    }
    type_close(&type);
    return rc ? tool_complain(&err) : 0;
}
