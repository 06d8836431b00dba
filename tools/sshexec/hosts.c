/* sshexec hosts: what a host set expression, a group or a file comes to: the names, the set folded again, or how
 * many. */
#include "host_sets.h"
#include "interrupt.h"
#include "tool.h"

#include "base/error.h"
#include "wire/outcome.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- options --- */

enum { HOSTFILE = OPTION_HOSTFILE, HELP };

static const struct { struct option option; const char *value, *about;
} table[] = {
    {{"hosts", required_argument, NULL, 'w'}, "SET", "these hosts: node[01-10,12], a,b  a!b  a&b  a^b, @group, ^FILE"},
    {{"exclude", required_argument, NULL, 'x'}, "SET", "but not these"},
    {{"group", required_argument, NULL, 'g'}, "GROUP", "the hosts of a group, or of several: rack[1-2],web"},
    {{"exclude-group", required_argument, NULL, 'X'}, "GROUP", "but not those of a group"},
    {{"all", no_argument, NULL, 'a'}, NULL, "all hosts that the group source knows"},
    {{"hostfile", required_argument, NULL, HOSTFILE},
     "FILE",
     "the hosts in a file (-: stdin), sets with blanks or newlines between them"},
    {{"groupsource", required_argument, NULL, 's'},
     "SOURCE",
     "look for groups here where none is named: one of groups.conf, dsh, genders, ansible, ssh"},
    {{"ssh-config", required_argument, NULL, 'F'}, "FILE", "the configuration that the group source ssh reads"},
    {{"expand", no_argument, NULL, 'e'}, NULL, "print each name (the default)"},
    {{"fold", no_argument, NULL, 'f'}, NULL, "print one set"},
    {{"count", no_argument, NULL, 'c'}, NULL, "print how many there are"},
    {{"separator", required_argument, NULL, 'S'},
     "TEXT",
     "between expanded names, instead of a newline; \\n, \\t and \\\\ as in C"},
    {{"help", no_argument, NULL, HELP}, NULL, "print help and exit"},
};
#define OPTIONS (sizeof table / sizeof *table)

struct request {
    struct groups_options groups;
    int output;            /* 'e', 'f', 'c' */
    const char *separator;
    bool help;
};

static int print_help(void)
{
    puts("usage: sshexec hosts [SET...] [-w SET] [-g GROUP] [-a] [--hostfile FILE] [-x SET] [-X GROUP] [--expand|--fold|--count]\n\n"
         "Prints the hosts that a set stands for. The syntax is ClusterShell's; sshexec-hosts(1) has all of it.\n\n"
         "options:");
    for (size_t i = 0; i < OPTIONS; i++) {
        char names[64];
        const struct option *o = &table[i].option;
        int n = o->val < 256 ? snprintf(names, sizeof names, "-%c, --%s", o->val, o->name)
                             : snprintf(names, sizeof names, "    --%s", o->name);
        if (table[i].value)
            snprintf(names + n, sizeof names - (size_t)n, " %s", table[i].value);
        printf("  %-27s %s\n", names, table[i].about);
    }
    puts("\nexamples:\n"
         "  sshexec hosts 'node[01-10,12]!node03'\n"
         "  sshexec hosts -g web -X drained --fold\n"
         "  sshexec hosts --hostfile - --count < machines");
    return 0;
}

static void build_tables(struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* no messages of getopt's own */
    for (size_t i = 0; i < OPTIONS; i++) {
        *longs++ = table[i].option;
        if (table[i].option.val < 256) {
            *shorts++ = (char)table[i].option.val;
            if (table[i].option.has_arg)
                *shorts++ = ':';
        }
    }
    memset(longs, 0, sizeof *longs);
    *shorts = 0;
}

static int complain(int c, const char *word, struct ssx_error *err)
{
    char letter[3] = {'-', (char)optopt, 0};
    const char *name = optopt > 0 && optopt < 256 ? letter : word;
    return error_set(err, SSX_ERROR_USAGE,
                     c == ':' ? "%s needs a value (sshexec hosts --help)" : "unknown option %s (sshexec hosts --help)",
                     name);
}

/* --- the sets --- */

/* Two rounds over the words: what holds for all of them first. */
static int take_options(struct request *r, struct host_sets *s, int argc, char **argv, bool sets, struct ssx_error *err)
{
    struct option longs[OPTIONS + 1];
    char shorts[2 * OPTIONS + 2];
    build_tables(longs, shorts);
    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        switch (c) {
        case '?': case ':': return complain(c, argv[optind - 1], err);
        case HELP: r->help = true; break;
        case 's': r->groups.source = optarg; break;
        case 'F': r->groups.ssh_config = optarg; break;
        case 'S': r->separator = optarg; break;
        case 'e': case 'f': case 'c': r->output = c; break;
        default:
            if (sets && host_sets_take(s, c, optarg, err))
                return -1;
        }
    }
    for (; sets && optind < argc; optind++)
        if (host_sets_take(s, 'w', argv[optind], err))
            return -1;
    return 0;
}

static int compute(struct request *r, struct host_sets *s, int argc, char **argv, struct ssx_error *err)
{
    return host_sets_init(s, &r->groups, err) || take_options(r, s, argc, argv, true, err) || host_sets_finish(s, "hosts", err) ? -1 : 0;
}

/* --- printing --- */

struct printing { struct buf out; const char *separator; size_t length; bool first; };

static int add_name(void *ctx, const char *name, size_t n)
{
    struct printing *p = ctx;
    if (!p->first)
        buf_add(&p->out, p->separator, p->length);
    p->first = false;
    return buf_add(&p->out, name, n) ? 1 : 0;
}

/* \n, \t and \\ in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        static const char letters[] = "nt\\", meanings[] = "\n\t\\";
        const char *letter = *from == '\\' && from[1] ? strchr(letters, from[1]) : NULL;
        *to++ = letter ? meanings[letter - letters] : *from;
        from += letter != NULL;
    }
    *to = 0;
}

static int print(const struct request *r, struct hostset *s, struct ssx_error *err)
{
    char *separator = strdup(r->separator ? r->separator : "\n");
    struct printing p = {.separator = separator, .first = true};
    int rc = separator ? 0 : -1;
    if (separator) {
        unescape(separator);
        p.length = strlen(separator);
    }
    if (rc == 0)
        rc = r->output == 'f' ? hostset_fold(s, &p.out, err)
             : r->output == 'c' ? buf_printf(&p.out, "%zu", hostset_count(s)) : hostset_each(s, add_name, &p, err);
    if (rc || buf_add(&p.out, "\n", 1))
        rc = error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
    else if (fwrite(buf_data(&p.out), 1, buf_length(&p.out), stdout) != buf_length(&p.out) || fflush(stdout))
        rc = error_system(err, "can't write the names");
    buf_free(&p.out);
    free(separator);
    return rc;
}

int command_hosts(int argc, char **argv)
{
    struct request r = {.groups = {.watch = interrupt_watch, .unwatch = interrupt_unwatch}, .output = 'e'};
    struct settings settings;
    struct host_sets s = {0};
    struct ssx_error err = {0};
    int rc = take_options(&r, NULL, argc, argv, false, &err);
    if (rc == 0 && r.help)
        return print_help();
    if (rc == 0)
        rc = settings_load(&settings, &err);
    if (rc == 0 && !r.groups.ssh_config)
        r.groups.ssh_config = settings.ssh_config;
    if (rc == 0)
        rc = compute(&r, &s, argc, argv, &err);
    if (rc == 0)
        rc = print(&r, s.included, &err);
    host_sets_dispose(&s);
    if (rc == 0)
        return 0;
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}
