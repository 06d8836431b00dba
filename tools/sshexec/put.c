/* sshexec put: files and directories from here to a host. */
#include "tool.h"
#include "transfer.h"
#include "transfers.h"

#include "base/error.h"
#include "files/giver.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int give(const struct transfer *t, int in, int out, const struct observer *observer, struct ssx_error *err)
{
    struct tally tally;
    return giver_run(in, out, t->near, t->near_count, observer, &tally, err);
}

/* The words before the last are here, and there: what is missing is said before anything moves. */
static int check_words(char **words, int count, const struct place *target, bool many, struct ssx_error *err)
{
    if (!target->remote && !many)
        return error_set(err, SSX_ERROR_USAGE,
                         "put to where? the last word is HOST:PATH (:PATH for this machine; PATH with -w SET), not %s",
                         words[count - 1]);
    for (int i = 0; i < count - 1; i++) {
        if (access(words[i], R_OK))
            return error_set(err, SSX_ERROR_USAGE, "can't read %s: %s", words[i], strerror(errno));
    }
    return 0;
}

static const char usage[] =
    "usage: sshexec put [options] LOCAL... HOST:PATH\n"
    "       sshexec put [options] -w SET LOCAL... PATH\n\n"
    "Puts files and directories on HOST, or with :PATH on this machine, with their modes and times. What is there\n"
    "already doesn't travel; a transfer that was cut goes on when the same words are said again. HOST may be a set,\n"
    "as behind -w: node[1-9]:/etc\n\n"
    "  PATH is a directory, or the new name of a single file; relative to the home directory.\n"
    "  A directory goes into PATH under its own name; what is in it, if it ends in \"/\".";

int command_put(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    struct place target;
    char **words;
    int count, code;
    bool many;
    if (transfer_start(&s, usage, argc, argv, &words, &count, &code))
        return code;
    if (place_parse(&target, words[count - 1], &err) || transfer_hosts(&many, &s, target.host, &err) ||
        check_words(words, count, &target, many, &err)) {
        code = tool_complain(&err);
    } else {
        const struct transfer t = {.type = "put", .field = "path", .far = &target.path, .far_count = 1,
                                   .near = (const char *const *)words, .near_count = (size_t)count - 1, .run = give};
        code = many ? transfers_run(&t, &s) : transfer_run(&t, &s, target.host);
    }
    place_free(&target);
    return code;
}
