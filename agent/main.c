/* sshexec-agent: runs workers for a sender that talks to its stdin and stdout. */
#include "once.h"
#include "plugins.h"
#include "session.h"

#include "wire/message.h"
#include "worker/policy_file.h"

#include <sshexec/worker.h>

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void help(void)
{
    struct buf policy = {0};
    policy_add_help(&policy);
    puts("usage: sshexec-agent [--plugin-path DIR[:DIR...]] [--store DIR | --ephemeral] [policy]\n"
         "       sshexec-agent --once [--result FILE | --result-fd N | --no-result] ... < WORKLOAD\n"
         "\n"
         "Runs workers for a sender at the other end of its standard input and output. It is\n"
         "started by sshexec, over ssh or locally, and ends with its sender.\n"
         "\n"
         "  --plugin-path DIRS  look for plugins here first\n"
         "  --store DIR         keep plugins that senders bring here, instead of\n"
         "                      $XDG_CACHE_HOME/sshexec (~/.cache/sshexec)\n"
         "  --ephemeral         keep plugins in memory only\n"
         "\n"
         "  --once              run the one workload on stdin (sshexec encode makes it): the worker's\n"
         "                      output, then its result as JSON, and an exit code as from sshexec run;\n"
         "                      what follows the workload is the worker's input\n"
         "  --result FILE       write the result to FILE, whatever the type shows\n"
         "  --result-fd N       write it to the open descriptor N\n"
         "  --no-result         write no result\n"
         "\n"
         "What senders may do, whatever they say (sshexec authorize writes it into authorized_keys):");
    printf("%.*s\n", (int)buf_length(&policy), (const char *)buf_data(&policy));
    buf_free(&policy);
    puts("  --version           print the versions and exit\n"
         "  --help              print this and exit");
}

/* Only one that is open: what the agent opens itself could get that number later. */
static int take_descriptor(int *out, const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*text && !*end && number >= 0 && number <= INT_MAX && fcntl((int)number, F_GETFD) >= 0) {
        *out = (int)number;
        return 0;
    }
    fprintf(stderr, "sshexec-agent: --result-fd %s: that is no open descriptor\n", text);
    return -1;
}

static void free_policy(struct policy *flags, struct policy *files)
{
    policy_free(flags);
    for (size_t i = 0; i < POLICY_FILES; i++)
        policy_free(&files[i]);
}

int main(int argc, char **argv)
{
    enum { PLUGIN_PATH = 256, STORE, EPHEMERAL, ONCE, RESULT, RESULT_FD, NO_RESULT, VERSION, HELP };
    static const struct option options[] = {{"plugin-path", required_argument, NULL, PLUGIN_PATH},
                                            {"store", required_argument, NULL, STORE},
                                            {"ephemeral", no_argument, NULL, EPHEMERAL},
                                            {"once", no_argument, NULL, ONCE},
                                            {"result", required_argument, NULL, RESULT},
                                            {"result-fd", required_argument, NULL, RESULT_FD},
                                            {"no-result", no_argument, NULL, NO_RESULT},
                                            {"version", no_argument, NULL, VERSION},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    const char *plugin_path = NULL, *store = NULL;
    struct once_options result = {.result_fd = -1};
    bool once = false;
    static struct policy policy, files[POLICY_FILES]; /* static: who leaves by --version has not lost them */
    struct ssx_error err = {0};
    if (policy_take_flags(&policy, &argc, argv, &err) || policy_read_files(&policy, files, &err)) {
        fprintf(stderr, "sshexec-agent: %s\n", err.text);
        free_policy(&policy, files);
        return 125;
    }
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case PLUGIN_PATH: plugin_path = optarg; break;
        case STORE: store = optarg; break;
        case EPHEMERAL: store = ""; break;
        case ONCE: once = true; break;
        case RESULT: result.result_file = optarg; break;
        case RESULT_FD: if (take_descriptor(&result.result_fd, optarg)) return 125; break;
        case NO_RESULT: result.no_result = true; break;
        case VERSION:
            printf("sshexec-agent %s (protocol %d, ABI %d.%d)\n", SSX_VERSION, PROTOCOL_VERSION, SSX_ABI_MAJOR,
                   SSX_ABI_MINOR);
            return 0;
        case HELP: help(); return 0;
        default: return 125;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sshexec-agent: unexpected argument %s\n", argv[optind]);
        return 125;
    }
    struct plugins plugins;
    if (plugins_open(&plugins, plugin_path, store, &err)) {
        fprintf(stderr, "sshexec-agent: %s\n", err.text);
        return 125;
    }
    plugins.policy = &policy;
    int code = once ? once_run(&plugins, &result) : session_serve(&plugins, STDIN_FILENO, STDOUT_FILENO);
    plugins_close(&plugins);
    free_policy(&policy, files);
    return code;
}
