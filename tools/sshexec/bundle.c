/* sshexec bundle: plugins for several machines in one file, which can be signed. This file reads the words. */
#include "bundle.h"

#include "interrupt.h"
#include "tool.h"

#include "base/error.h"
#include "wire/outcome.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct { const char *name; bool many; int (*run)(const struct bundle_words *w,
                                                              struct ssx_error *err); const char *words; } subcommands[] = {
    {"create", true, bundle_create, "-o FILE.ssx [--name NAME] [--version VERSION] [--serial N] [--changelog FILE] PLUGIN.so..."},
    {"show", false, bundle_show, "[--json] FILE.ssx"},
    {"verify", false, bundle_verify, "[--signers FILE [--identity NAME]] [--json] FILE.ssx"},
    {"extract", false, bundle_extract, "[-C DIR] [--signers FILE [--identity NAME]] FILE.ssx"},
    {"sign", false, bundle_sign, "{-k FILE | --signature FILE} [-o FILE.ssx] FILE.ssx"},
};
#define COMMANDS (sizeof subcommands / sizeof *subcommands)
enum { CREATE = 1, SHOW = 2, VERIFY = 4, EXTRACT = 8, SIGN = 16 }; /* 1 << the place in subcommands */

enum { NAME = 256, VERSION, SERIAL, CHANGELOG, SIGNERS, SIGNATURE, JSON, HELP };
static const struct { struct option option; unsigned subcommands; const char *value, *about; } table[] = {
    {{"output", required_argument, NULL, 'o'}, CREATE | SIGN, "FILE", "the bundle to write (sign: beside the one that is signed)"},
    {{"name", required_argument, NULL, NAME}, CREATE, "NAME", "its name; by default, as the version, that of the file: web-1.4.ssx"},
    {{"version", required_argument, NULL, VERSION}, CREATE, "VERSION", "its version"},
    {{"serial", required_argument, NULL, SERIAL}, CREATE, "N", "grows with each release, so that an older one is not deployed over it"},
    {{"changelog", required_argument, NULL, CHANGELOG}, CREATE, "FILE", "text for people"},
    {{"directory", required_argument, NULL, 'C'}, EXTRACT, "DIR", "where to make the directory NAME-VERSION (.)"},
    {{"signers", required_argument, NULL, SIGNERS}, VERIFY | EXTRACT, "FILE", "who may sign: an allowed_signers file, as of ssh-keygen(1)"},
    {{"identity", required_argument, NULL, 'I'}, VERIFY | EXTRACT, "NAME", "only this one of them"},
    {{"key", required_argument, NULL, 'k'}, SIGN, "FILE", "a private key, or a public one whose private half is in ssh-agent"},
    {{"signature", required_argument, NULL, SIGNATURE}, SIGN, "FILE", "put in what ssh-keygen -Y sign -n sshexec-bundle made elsewhere"},
    {{"json", no_argument, NULL, JSON}, SHOW | VERIFY, NULL, "one JSON object"},
    {{"help", no_argument, NULL, HELP}, CREATE | SHOW | VERIFY | EXTRACT | SIGN, NULL, "print help and exit"},
};
#define OPTIONS (sizeof table / sizeof *table)

/* Of one command, or of all. */
static int help(size_t command)
{
    if (command == COMMANDS)
        puts("usage: sshexec bundle create|show|verify|extract|sign [options] [FILE]...\n");
    for (size_t i = 0; i < COMMANDS; i++)
        if (command == COMMANDS || command == i)
            printf("%ssshexec bundle %s %s\n", command == i ? "usage: " : "  ", subcommands[i].name, subcommands[i].words);
    puts("\nA bundle holds plugins for one or several machines in one file, signed or not.\n\noptions:");
    for (size_t i = 0; i < OPTIONS; i++) {
        char names[64];
        int letter = table[i].option.val;
        if (command < COMMANDS && !(table[i].subcommands & 1u << command))
            continue;
        int n = letter < 256 ? snprintf(names, sizeof names, "-%c, --%s", letter, table[i].option.name)
            : snprintf(names, sizeof names, "    --%s", table[i].option.name);
        if (table[i].value)
            snprintf(names + n, sizeof names - (size_t)n, " %s", table[i].value);
        printf("  %-24s %s\n", names, table[i].about);
    }
    return 0;
}

static void take_option(struct bundle_words *w, int option, const char *value)
{
    switch (option) {
    case 'o': w->output = value; break;
    case NAME: w->name = value; break;
    case VERSION: w->version = value; break;
    case SERIAL: w->serial = value; break;
    case CHANGELOG: w->changelog = value; break;
    case 'C': w->directory = value; break;
    case SIGNERS: w->signers = value; break;
    case 'I': w->identity = value; break;
    case 'k': w->key = value; break;
    case SIGNATURE: w->signature = value; break;
    case JSON: w->json = true; break;
    default: break;
    }
}

/* Returns 0, 1 where help was asked for, or -1 with err. */
static int read_words(struct bundle_words *w, size_t command, int argc, char **argv, struct ssx_error *err)
{
    struct option longs[OPTIONS + 1] = {{0}};
    char shorts[2 * OPTIONS + 2] = ":", *letter = shorts + 1; /* ':': no messages of getopt's own */
    size_t count = 0;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (!(table[i].subcommands & 1u << command))
            continue;
        longs[count++] = table[i].option;
        if (table[i].option.val < 256) { /* all of these take a value */
            *letter++ = (char)table[i].option.val;
            *letter++ = ':';
        }
    }
    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == HELP)
            return 1;
        if (c == '?' || c == ':')
            return error_set(err, SSX_ERROR_USAGE, c == ':' ? "%s needs a value (sshexec bundle %s --help)"
                             : "unknown option %s (sshexec bundle %s --help)", argv[optind - 1],
                             subcommands[command].name);
        take_option(w, c, optarg);
    }
    w->files = argv + optind;
    w->count = argc - optind;
    if (!w->count || (w->count > 1 && !subcommands[command].many))
        return error_set(err, SSX_ERROR_USAGE, "bundle %s takes %s: sshexec bundle %s %s", subcommands[command].name,
                         subcommands[command].many ? "plugins" : "one bundle",
                         subcommands[command].name, subcommands[command].words);
    if (w->identity && !w->signers)
        return error_set(err, SSX_ERROR_USAGE, "--identity needs --signers, the file that says which key is whose");
    return 0;
}

int command_bundle(int argc, char **argv)
{
    struct bundle_words w = {0};
    struct ssx_error err = {0};
    size_t command = 0;
    const char *name = argc > 1 ? argv[1] : "";
    while (command < COMMANDS && strcmp(subcommands[command].name, name))
        command++;
    if (command == COMMANDS) {
        if (strcmp(name, "--help") == 0)
            return help(COMMANDS);
        error_set(&err, SSX_ERROR_USAGE, "bundle takes create, show, verify, extract or sign first (sshexec bundle --help)");
        return tool_complain(&err);
    }
    int rc = read_words(&w, command, argc - 1, argv + 1, &err);
    if (rc == 1)
        return help(command);
    if (rc == 0) {
        w.interrupt_fd = interrupt_watch();
        rc = subcommands[command].run(&w, &err);
    }
    return rc >= 0 ? rc : interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}
