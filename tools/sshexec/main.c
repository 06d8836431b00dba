/* sshexec: typed workers on hosts that you can ssh to. */
#include "tool.h"

#include "base/io.h"
#include "base/text.h"
#include "wire/message.h"
#include "wire/outcome.h"

#include <sshexec/worker.h>

#include <stdio.h>
#include <string.h>

const struct command commands[] = {
    {"run", command_run, "run a worker: sshexec run TYPE [HOST] [field=value...] [-- word...]"},
    {"show", command_show, "a run over many hosts, once more: its output, its results, how it ended"},
    {"put", command_put, "files and directories to a host, or many: sshexec put LOCAL... HOST:PATH"},
    {"get", command_get, "files and directories from a host, or many: sshexec get HOST:PATH... LOCAL"},
    {"encode", command_encode, "one call as bytes, for sshexec-agent --once at the end of any pipe"},
    {"decode", command_decode, "what such a workload holds, as JSON"},
    {"new", command_new, "make a folder with a worker that builds, passes its test and runs"},
    {"test", command_test, "run a plugin here, checked; also under gdb or valgrind"},
    {"list", command_list, "list the types there are here, or on a host"},
    {"describe", command_describe, "what a type takes and gives"},
    {"hosts", command_hosts, "the hosts that a set, a group or a file stands for"},
    {"doctor", command_doctor, "how a host is reached, and what would run there"},
    {"authorize", command_authorize, "a line for authorized_keys that locks a key down to workers"},
    {"bundle", command_bundle, "plugins for several machines in one file: create, show, verify, extract, sign"},
    {"deploy", command_deploy, "a bundle on hosts: sent, checked there, put in force on all of them at once"},
    {"rollback", command_rollback, "back to what hosts had before"},
    {"generations", command_generations, "what was deployed on hosts, and what is in force"},
    {"store", command_store, "what a host has stored: list, verify, gc"},
    {"clean", command_clean, "remove what sshexec has stored on a host"},
    {"config", command_config, "the configuration in force, and where it comes from"},
    {"complete", command_complete, NULL}, /* for programs: no page for people lists it */
};
#define COMMANDS (sizeof commands / sizeof *commands)
const size_t command_count = COMMANDS;

static int help(void)
{
    puts("usage: sshexec COMMAND [options] ...\n\n"
         "Runs compiled, typed workers on any host that you can ssh to.\n");
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].about)
            printf("  %-11s %s\n", commands[i].name, commands[i].about);
    puts("  version     print the versions and exit\n"
         "  help        this page; sshexec help COMMAND for another\n\n"
         "examples:\n"
         "  sshexec run hello name=Ada            on this machine\n"
         "  sshexec run hello node1 name=Ada      over ssh; node1 needs nothing but sshd\n"
         "  sshexec run exec node1 -- df -h /     any program, its output and exit code");
    return 0;
}

static int version(void)
{
    printf("sshexec %s (protocol %d, ABI %d.%d)\n", SSX_VERSION, PROTOCOL_VERSION, SSX_ABI_MAJOR, SSX_ABI_MINOR);
    return 0;
}

static int unknown(const char *name)
{
    if (*name == '-') {
        fprintf(stderr, "sshexec: a command stands before its options: sshexec run %s ... (sshexec help)\n", name);
        return EXIT_USAGE;
    }
    fprintf(stderr, "sshexec: unknown command \"%s\"", name);
    for (size_t i = 0; i < COMMANDS; i++)
        if (text_is_near(name, commands[i].name)) {
            fprintf(stderr, "; did you mean %s?", commands[i].name);
            break;
        }
    fprintf(stderr, " (sshexec help; workers are run by sshexec run %s)\n", text_is_type_name(name) ? name : "TYPE");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    if (fd_hold_standard())
        return EXIT_USAGE;
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return version();
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        if (argc < 3)
            return argc > 1 ? help() : (help(), EXIT_USAGE);
        static char option[] = "--help";
        char *asked[] = {argv[2], option, NULL};
        name = argv[2];
        argc = 2;
        for (size_t i = 0; i < COMMANDS; i++)
            if (strcmp(commands[i].name, name) == 0)
                return commands[i].run(argc, asked);
        return unknown(name);
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(name);
}
