/* sshexec bundle: plugins for several machines in one file, which can be signed. This file reads the words, and holds what the subcommands
 * share. */
#include "bundle.h"

#include "interrupt.h"
#include "tool.h"

#include "base/error.h"
#include "base/file.h"
#include "bundle/signers.h"
#include "wire/outcome.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* --- shared --- */

int bundle_read_file(struct buf *out, const char *path, size_t limit, struct ssx_error *err)
{
    if (file_read(out, path, limit, err) == 0)
        return 0;
    if (err->code == SSX_ERROR_SYSTEM)
        err->code = SSX_ERROR_USAGE;
    return -1;
}

int bundle_judge_signature(struct bundle_signer *out, const struct bundle *b, const char *path, const char *signers, const char *identity,
                           struct ssx_error *err)
{
    struct signature s;
    struct buf allowed = {0};
    const struct buf *text = bundle_signature(b), *manifest = bundle_manifest_text(b);
    memset(out, 0, sizeof *out);
    if (!buf_length(text))
        return signers ? error_set(err, SSX_ERROR_REFUSED, "%s is not signed", path) : 0;
    if (signature_read(&s, buf_data(text), buf_length(text), err))
        return error_prefix(err, "%s", path);
    int rc = signature_verify(&s, buf_data(manifest), buf_length(manifest), err);
    if (rc == 0 && signers && (rc = bundle_read_file(&allowed, signers, SIGNERS_MAX, err)) == 0)
        rc = signers_check(out->principals, (const char *)buf_data(&allowed), buf_length(&allowed), signers, &s, identity, time(NULL), err);
    out->is_signed = true;
    signature_key_name(&s, out->key);
    snprintf(out->kind, sizeof out->kind, "%s", signature_key_kind(&s));
    buf_free(&allowed);
    signature_dispose(&s);
    return rc == 0 ? 0 : error_prefix(err, "%s", path);
}

int bundle_each(struct bundle *b, const char *path, bundle_visit *visit, void *user, struct ssx_error *err)
{
    struct buf image = {0};
    const struct variant *v;
    const void *piece;
    int rc;
    while ((rc = bundle_next(b, &v, err)) > 0) {
        ptrdiff_t n;
        buf_consume(&image, buf_length(&image));
        while ((n = bundle_read(b, &piece, err)) > 0)
            if (buf_add(&image, piece, (size_t)n)) {
                n = error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", path);
                break;
            }
        if (n == 0 && interrupt_signal())
            n = error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
        if (n < 0 || (rc = visit(user, bundle_manifest(b), v, buf_data(&image), buf_length(&image), err)) != 0) {
            rc = -1;
            break;
        }
    }
    buf_free(&image);
    return rc;
}
