/* sshexec-agent: runs workers for a sender that talks to its stdin and stdout. */
#include "plugins.h"
#include "session.h"

#include "wire/message.h"

#include <sshexec/worker.h>

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static void help(void)
{
    puts("usage: sshexec-agent [--plugin-path DIR[:DIR...]] [--store DIR | --ephemeral]\n"
         "\n"
         "Runs workers for a sender at the other end of its standard input and output. It is\n"
         "started by sshexec, over ssh or locally, and ends with its sender.\n"
         "\n"
         "  --plugin-path DIRS  look for plugins here first\n"
         "  --store DIR         keep plugins that senders bring here, instead of\n"
         "                      $XDG_CACHE_HOME/sshexec (~/.cache/sshexec)\n"
         "  --ephemeral         keep plugins in memory only\n"
         "  --version           print the versions and exit\n"
         "  --help              print this and exit");
}

int main(int argc, char **argv)
{
    enum { PLUGIN_PATH = 256, STORE, EPHEMERAL, VERSION, HELP };
    static const struct option options[] = {{"plugin-path", required_argument, NULL, PLUGIN_PATH},
                                            {"store", required_argument, NULL, STORE},
                                            {"ephemeral", no_argument, NULL, EPHEMERAL},
                                            {"version", no_argument, NULL, VERSION},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    const char *plugin_path = NULL, *store = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case PLUGIN_PATH: plugin_path = optarg; break;
        case STORE: store = optarg; break;
        case EPHEMERAL: store = ""; break;
        case VERSION: printf("sshexec-agent %s (protocol %d, ABI %d.%d)\n", SSX_VERSION, PROTOCOL_VERSION, SSX_ABI_MAJOR, SSX_ABI_MINOR); return 0;
        case HELP: help(); return 0;
        default: return 125;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sshexec-agent: unexpected argument %s\n", argv[optind]);
        return 125;
    }
    struct plugins plugins;
    struct ssx_error err = {0};
    if (plugins_open(&plugins, plugin_path, store, &err)) {
        fprintf(stderr, "sshexec-agent: %s\n", err.text);
        return 125;
    }
    int code = session_serve(&plugins, STDIN_FILENO, STDOUT_FILENO);
    plugins_close(&plugins);
    return code;
}
