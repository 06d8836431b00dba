#include "tool.h"

#include "progress_line.h"

#include "base/error.h"
#include "wire/outcome.h"

#include <sshexec/fleet.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int tool_complain(const struct ssx_error *err)
{
    progress_line_clear();
    fprintf(stderr, "sshexec: %s\n", err->text);
    return error_exit_code(err->code);
}

int tool_output_lost(int error)
{
    struct ssx_error err = {0};
    if (error == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    error_set(&err, SSX_ERROR_USAGE, "can't write to stdout: %s", strerror(error));
    return tool_complain(&err);
}

void tool_say_fanout(const struct settings *s, size_t allowed, size_t hosts)
{
    size_t wanted = s->fanout ? (size_t)s->fanout : SSX_FLEET_FANOUT;
    if (allowed >= wanted || allowed >= hosts)
        return;
    progress_line_clear();
    fprintf(stderr, "sshexec: the limit of open files (ulimit -n) leaves room for %zu hosts at a time, not %zu\n", allowed, wanted);
}

int tool_start(struct settings *s, unsigned groups, const char *usage, int argc, char **argv, char ***words, int *count,
               char ***rest, int *code)
{
    struct ssx_error err = {0};
    if (settings_load(s, &err) || settings_options(s, groups, argc, argv, words, count, rest, &err)) {
        *code = tool_complain(&err);
        return -1;
    }
    if (!s->help || *count)
        return 0;
    puts(usage);
    settings_print_options(groups);
    *code = 0;
    return -1;
}

void tool_log(void *ctx, int level, const char *text)
{
    const struct settings *s = ctx;
    if (s->verbose < level)
        return;
    progress_line_clear();
    fprintf(stderr, "sshexec: %s\n", text);
}
