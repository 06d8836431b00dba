/* sshexec get: files and directories from a host to here. */
#include "tool.h"
#include "transfer.h"
#include "transfers.h"

#include "base/error.h"
#include "files/taker.h"

#include <stdlib.h>
#include <string.h>

static int take(const struct transfer *t, int in, int out, const struct observer *observer, struct ssx_error *err)
{
    const struct asked asked = {t->far, t->far_count};
    struct tally tally;
    return taker_run(in, out, t->near[0], &asked, observer, &tally, err);
}

/* The paths of all words. They name one host or set of hosts; or none, where options do (many). Returns 0 or -1. */
static int take_sources(const char **paths, char **host, char **words, size_t count, bool many, struct ssx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct place p;
        if (place_parse(&p, words[i], err))
            return -1;
        if (!p.remote && !many) {
            place_free(&p);
            return error_set(err, SSX_ERROR_USAGE,
                             "get %s from where? want HOST:PATH (:PATH for this machine; PATH with -w SET), and a path "
                             "here as the last word",
                             words[i]);
        }
        if (i && strcmp(p.host ? p.host : "", *host ? *host : "") != 0) {
            place_free(&p);
            return error_set(err, SSX_ERROR_USAGE,
                             "get from one host or set of hosts at a time, not from %s and from another",
                             *host ? *host : "this machine");
        }
        paths[i] = p.path;
        if (i)
            place_free(&p);
        else
            *host = p.host;
    }
    return 0;
}

static const char usage[] =
    "usage: sshexec get [options] HOST:PATH... LOCAL\n"
    "       sshexec get [options] -w SET PATH... DIR\n\n"
    "Gets files and directories from HOST, or with :PATH from this machine, with their modes and times. What is\n"
    "here already doesn't travel; a transfer that was cut goes on when the same words are said again. HOST may be\n"
    "a set, as behind -w: what comes from a host of it goes into DIR/HOST.\n\n"
    "  LOCAL is a directory, or the new name of a single file. PATH is relative to the home directory.\n"
    "  A directory goes into LOCAL under its own name; what is in it, if PATH ends in \"/\".";

int command_get(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, *host = NULL;
    int count, code;
    bool many;
    if (transfer_start(&s, usage, argc, argv, &words, &count, &code))
        return code;
    size_t sources = (size_t)count - 1;
    const char *near = words[sources], **far = calloc(sources, sizeof *far);
    if (!far || take_sources(far, &host, words, sources, settings_name_hosts(&s), &err) ||
        transfer_hosts(&many, &s, host, &err)) {
        error_set(&err, SSX_ERROR_SYSTEM, "out of memory");
        code = tool_complain(&err);
    } else {
        const struct transfer t = {.type = "get",
                                   .field = "paths",
                                   .far = far,
                                   .far_count = sources,
                                   .near = &near,
                                   .near_count = 1,
                                   .by_host = many,
                                   .run = take};
        code = many ? transfers_run(&t, &s) : transfer_run(&t, &s, host);
    }
    free(host);
    free(far);
    return code;
}
