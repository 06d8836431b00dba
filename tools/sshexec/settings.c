#include "settings.h"

#include "host_sets.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/ini.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"
#include "transport/become.h"
#include "transport/template.h"

#include <sshexec/fleet.h>

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_MAX (64u << 10)
#define FANOUT_MAX 100000 /* beyond any machine's descriptors */

#define NAMED_MAX 64 /* [transport NAME] sections */

static const char *const transports[] = {
    [TRANSPORT_AUTO] = "auto", [TRANSPORT_LIBSSH] = "libssh", [TRANSPORT_SSH] = "ssh", [TRANSPORT_FIFO] = "fifo"};
#define TRANSPORTS (sizeof transports / sizeof *transports)

static struct named_transport named[NAMED_MAX];
static size_t named_count;

/* --- values: the same checks for a key of the file and for an option --- */

static int take_duration(long *out, const char *name, const char *text, struct ssx_error *err)
{
    *out = text_duration(text);
    return *out < 0 ? error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a duration such as 10, 1.5s, 500ms, 2m or 30d", name, text) : 0;
}

/* What the library takes as an int. */
static int take_wait(long *out, const char *name, const char *text, struct ssx_error *err)
{
    if (take_duration(out, name, text, err))
        return -1;
    return *out > INT_MAX ? error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is too long (24 days at most)", name, text) : 0;
}

static int unknown_transport(const char *name, const char *text, struct ssx_error *err)
{
    char known[512] = "";
    size_t n = 0;
    for (size_t i = 0; i < TRANSPORTS && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", transports[i]);
    for (size_t i = 0; i < named_count && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, ", %s", named[i].name);
    return error_set(err, SSX_ERROR_USAGE,
                     "%s: \"%s\" is none of %s (a [transport %s] section in the configuration file would make it one)",
                     name, text, known, text_is_type_name(text) ? text : "NAME");
}

const char *settings_transport(size_t i)
{
    return i < TRANSPORTS ? transports[i] : i - TRANSPORTS < named_count ? named[i - TRANSPORTS].name : NULL;
}

static struct named_transport *find_named(const char *name)
{
    for (size_t i = 0; i < named_count; i++)
        if (strcmp(named[i].name, name) == 0)
            return &named[i];
    return NULL;
}

static int take_size(int64_t *out, const char *name, const char *text, struct ssx_error *err)
{
    *out = text_size(text);
    return *out < 0 ? error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a size such as 1048576, 500M or 2G", name, text) : 0;
}

static int take_transport(struct settings *s, const char *name, const char *text, struct ssx_error *err)
{
    for (size_t i = 0; i < TRANSPORTS; i++)
        if (strcmp(text, transports[i]) == 0) {
            s->transport = (enum transport_mode)i;
            return 0;
        }
    s->transport = TRANSPORT_TEMPLATE;
    s->named = find_named(text);
    return s->named ? 0 : unknown_transport(name, text, err);
}

static int take_become(struct settings *s, const char *user, struct ssx_error *err)
{
    s->become = user ? user : "root";
    return become_user_is_valid(s->become) ? 0 : error_set(err, SSX_ERROR_USAGE, "--become: \"%s\" can't be a user", s->become);
}

/* --- the configuration file --- */

static struct { const char *key, *fallback, *about; char *value, *origin; } keys[] = {
    {"transport", "auto", "how to reach hosts: auto, libssh, ssh, fifo, or the NAME of a [transport NAME] section", NULL, NULL},
    {"timeout", "0", "the longest a call may take (0: no limit)", NULL, NULL},
    {"connect_timeout", "0", "the longest connecting may take (0: what ssh's configuration says)", NULL, NULL},
    {"lease", "0", "how long the network may be silent before a call is given up at both ends (0: for ever)", NULL, NULL},
    {"plugin_path", "", "directories of plugins, searched first", NULL, NULL},
    {"ssh_config", "", "the configuration file for ssh (-F)", NULL, NULL},
};
#define KEYS (sizeof keys / sizeof *keys)

static const char *value_of(const char *key)
{
    for (size_t i = 0; i < KEYS; i++)
        if (strcmp(keys[i].key, key) == 0)
            return keys[i].value ? keys[i].value : keys[i].fallback;
    return "";
}

/* [transport NAME] command = ... */
static int take_named(const char *name, const char *key, const char *value, const char *origin, struct ssx_error *err)
{
    struct named_transport *t = find_named(name);
    for (size_t i = 0; i < TRANSPORTS; i++)
        if (strcmp(name, transports[i]) == 0)
            return error_set(err, SSX_ERROR_USAGE, "[transport %s]: that name is taken", name);
    if (!text_is_type_name(name))
        return error_set(err, SSX_ERROR_USAGE,
                         "[transport %s]: a name is lower-case letters, digits, - and _, and begins with a letter",
                         name);
    if (strcmp(key, "command"))
        return error_set(err, SSX_ERROR_USAGE, "[transport %s] knows no key %s, only command", name, key);
    if (template_check(value, err))
        return error_prefix(err, "[transport %s] command", name);
    if (!t && named_count == NAMED_MAX)
        return error_set(err, SSX_ERROR_USAGE, "more than %d transports", NAMED_MAX);
    if (!t)
        t = &named[named_count++];
    *t = (struct named_transport){strdup(name), strdup(value), strdup(origin)};
    return t->name && t->command && t->origin ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

static int take_key(void *user, const char *section, const char *key, const char *value, unsigned line, struct ssx_error *err)
{
    char origin[PATH_MAX + 16];
    snprintf(origin, sizeof origin, "%s:%u", (const char *)user, line);
    if (strncmp(section, "transport ", 10) == 0)
        return take_named(section + 10 + strspn(section + 10, " \t"), key, value, origin, err);
    if (*section)
        return error_set(err, SSX_ERROR_USAGE, "unknown section [%s]", section);
    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].key, key))
            continue;
        free(keys[i].value);
        free(keys[i].origin);
        keys[i].value = strdup(value);
        keys[i].origin = strdup(origin);
        return 0;
    }
    return error_set(err, SSX_ERROR_USAGE, "unknown key %s (sshexec config lists them)", key);
}

static int read_file(const char *path, struct ssx_error *err)
{
    struct buf text = {0};
    if (access(path, F_OK) && errno == ENOENT)
        return 0;
    int rc = file_read(&text, path, CONFIG_MAX, err);
    if (rc == 0)
        rc = buf_add(&text, "", 1) ? -1 : ini_read((char *)buf_data(&text), buf_length(&text) - 1, path, take_key, (void *)path, err);
    buf_free(&text);
    if (err->code)
        err->code = SSX_ERROR_USAGE;
    return rc;
}

static const char *config_path(char *out, size_t size)
{
    char dir[PATH_MAX];
    const char *given = getenv("SSHEXEC_CONFIG");
    if (given && *given)
        snprintf(out, size, "%s", given);
    else if (install_xdg_dir(dir, sizeof dir, "XDG_CONFIG_HOME", ".config"))
        snprintf(out, size, "%s/config", dir);
    else
        out[0] = 0;
    return out;
}

int settings_load(struct settings *s, struct ssx_error *err)
{
    static bool is_read; /* once: the strings of an earlier call stay good */
    char path[PATH_MAX + 16] = "";
    memset(s, 0, sizeof *s);
    s->older_ms = s->keep_bytes = -1;
    if (config_path(path, sizeof path)[0] && !is_read && read_file(path, err))
        return -1;
    is_read = true;
    if (take_transport(s, "transport", value_of("transport"), err) ||
        take_duration(&s->timeout_ms, "timeout", value_of("timeout"), err) ||
        take_wait(&s->connect_timeout_ms, "connect_timeout", value_of("connect_timeout"), err) ||
        take_wait(&s->lease_ms, "lease", value_of("lease"), err))
        return error_prefix(err, "%s", path);
    s->plugin_path = *value_of("plugin_path") ? value_of("plugin_path") : NULL;
    s->ssh_config = *value_of("ssh_config") ? value_of("ssh_config") : NULL;
    return 0;
}

void settings_print(void)
{
    char path[PATH_MAX + 16];
    config_path(path, sizeof path);
    printf("# configuration file: %s%s\n", path, access(path, F_OK) ? " (not there)" : "");
    for (size_t i = 0; i < KEYS; i++)
        printf("%-15s = %-12s # %s; %s\n", keys[i].key, keys[i].value ? keys[i].value : keys[i].fallback,
               keys[i].origin ? keys[i].origin : "default", keys[i].about);
    for (size_t i = 0; i < named_count; i++)
        printf("\n[transport %s]  # %s\ncommand = %s\n", named[i].name, named[i].origin, named[i].command);
}

/* --- options --- */

enum {
    HELP = 256,
    TRANSPORT,
    BECOME,
    LEASE,
    JSON,
    PLUGIN_PATH,
    STATE,
    STATE_OUT,
    BARE,
    FORCE,
    NO_BOOTSTRAP,
    EPHEMERAL,
    GDB,
    VALGRIND,
    IN_PROCESS,
    HOSTFILE,
    DEADLINE,
    TIMING,
    STATE_MAP,
    SCATTER,
    ITEMS,
    PER_HOST,
    SERIAL,
    MAX_FAIL,
    CANARY,
    RERUN,
    RECORD,
    LIST,
    DIFF,
    OUTDIR,
    PICK,
    SORT,
    GROUP_BY,
    SUM,
    MIN,
    MAX,
    AVG,
    PCT,
    COLOR,
    OLDER_THAN,
    KEEP,
    REMOVE,
    DRY_RUN,
    SIGNERS,
    SIGNER,
    DOWNGRADE,
    ONE_PHASE,
    TO
};

#define FOR_HOSTS (1u << 31) /* beside its groups: hosts are run on as a set, be it of one */

static const struct { struct option option; unsigned group; const char *value, *about;
} table[] = {
    {{"ssh-config", required_argument, NULL, 'F'}, OPTIONS_SSH, "FILE", "ssh's configuration file, as ssh -F"},
    {{"port", required_argument, NULL, 'p'}, OPTIONS_SSH, "PORT", "port, as ssh -p"},
    {{"login", required_argument, NULL, 'l'}, OPTIONS_SSH, "USER", "user, as ssh -l"},
    {{"identity", required_argument, NULL, 'i'}, OPTIONS_SSH, "FILE", "private key, as ssh -i"},
    {{"option", required_argument, NULL, 'o'}, OPTIONS_SSH, "KEY=VALUE", "any ssh option, as ssh -o"},
    {{"transport", required_argument, NULL, TRANSPORT},
     OPTIONS_SSH,
     "HOW",
     "auto, libssh, ssh, fifo, or a [transport NAME] of the configuration"},
    {{"become", optional_argument, NULL, BECOME}, OPTIONS_SSH, "[=USER]", "start the agent as USER (root), by sudo"},
    {{"no-bootstrap", no_argument, NULL, NO_BOOTSTRAP},
     OPTIONS_SSH,
     NULL,
     "bring no agent to the host: use the one it has, or fail"},
    {{"ephemeral", no_argument, NULL, EPHEMERAL}, OPTIONS_SSH, NULL, "bring the agent, and leave no file on the host"},
    {{"lease", required_argument, NULL, LEASE},
     OPTIONS_SSH,
     "TIME",
     "give a call up, at both ends, when the network was silent for so long"},
    {{"connect-timeout", required_argument, NULL, 't'},
     OPTIONS_SSH,
     "TIME",
     "the longest connecting may take (10, 1.5s, 500ms, 2m)"},
    {{"hosts", required_argument, NULL, 'w'},
     OPTIONS_FLEET | OPTIONS_SETS,
     "SET",
     "run on these hosts: node[01-10,12], a,b  a!b, @group, ^FILE (sshexec hosts --help)"},
    {{"exclude", required_argument, NULL, 'x'}, OPTIONS_FLEET | OPTIONS_SETS, "SET", "but not on these"},
    {{"group", required_argument, NULL, 'g'}, OPTIONS_FLEET | OPTIONS_SETS, "GROUP", "on the hosts of a group"},
    {{"exclude-group", required_argument, NULL, 'X'},
     OPTIONS_FLEET | OPTIONS_SETS,
     "GROUP",
     "but not on those of this one"},
    {{"all", no_argument, NULL, 'a'}, OPTIONS_FLEET | OPTIONS_SETS, NULL, "on all hosts that the group source knows"},
    {{"hostfile", required_argument, NULL, HOSTFILE},
     OPTIONS_FLEET | OPTIONS_SETS,
     "FILE",
     "on the hosts in a file (-: stdin)"},
    {{"groupsource", required_argument, NULL, 's'},
     OPTIONS_FLEET | OPTIONS_SETS,
     "SOURCE",
     "where groups are looked for"},
    {{"fanout", required_argument, NULL, 'f'}, OPTIONS_FLEET | OPTIONS_SETS, "N", "hosts at a time (64)"},
    {{"deadline", required_argument, NULL, DEADLINE},
     OPTIONS_FLEET | OPTIONS_SETS | FOR_HOSTS,
     "TIME",
     "the longest that all hosts together may take"},
    {{"state-map", required_argument, NULL, STATE_MAP},
     OPTIONS_FLEET | FOR_HOSTS,
     "FILE",
     "a state for each host: a JSON object, or lines HOST JSON (-: stdin); fields given as well replace its"},
    {{"scatter", required_argument, NULL, SCATTER},
     OPTIONS_FLEET | FOR_HOSTS,
     "FIELD",
     "deal items over the hosts, each the value of this field of one call (FIELD:=: items are JSON)"},
    {{"items", required_argument, NULL, ITEMS}, OPTIONS_FLEET | FOR_HOSTS, "FILE", "the items, a line each (-: stdin)"},
    {{"null", no_argument, NULL, '0'}, OPTIONS_FLEET | FOR_HOSTS, NULL, "--items: a NUL ends each, not a newline"},
    {{"per-host", required_argument, NULL, PER_HOST},
     OPTIONS_FLEET | FOR_HOSTS,
     "N",
     "items that a host works on at once (1)"},
    {{"serial", required_argument, NULL, SERIAL},
     OPTIONS_FLEET | OPTIONS_ROLLING | FOR_HOSTS,
     "N|N%",
     "in batches of N hosts: the next begins when all of one have ended"},
    {{"max-fail", required_argument, NULL, MAX_FAIL},
     OPTIONS_FLEET | OPTIONS_ROLLING | FOR_HOSTS,
     "N|N%",
     "begin with no further host once more than N have failed (unreachable ones do not count)"},
    {{"canary", required_argument, NULL, CANARY},
     OPTIONS_FLEET | OPTIONS_ROLLING | FOR_HOSTS,
     "N",
     "first on N hosts alone; go on if all of them are ok"},
    {{"rerun", required_argument, NULL, RERUN},
     OPTIONS_FLEET | OPTIONS_ROLLING,
     "WHICH",
     "on those hosts of the run before that failed, or were unreachable or lost, or are ok, or all"},
    {{"record", required_argument, NULL, RECORD},
     OPTIONS_FLEET | OPTIONS_ROLLING | FOR_HOSTS,
     "RECORD",
     "--rerun: of this run (sshexec show --list)"},
    {{"no-names", no_argument, NULL, 'N'}, OPTIONS_OUTPUT, NULL, "no \"host: \" in front of lines"},
    {{"gather", no_argument, NULL, 'b'},
     OPTIONS_OUTPUT | FOR_HOSTS,
     NULL,
     "show output that is the same once, at the end, under the names of its hosts"},
    {{"by-host", no_argument, NULL, 'L'},
     OPTIONS_OUTPUT | FOR_HOSTS,
     NULL,
     "show lines at the end, host by host; with -b those that are the same under one name"},
    {{"diff", no_argument, NULL, DIFF},
     OPTIONS_OUTPUT | FOR_HOSTS,
     NULL,
     "show at the end how outputs differ from what most hosts said"},
    {{"outdir", required_argument, NULL, OUTDIR},
     OPTIONS_OUTPUT | FOR_HOSTS,
     "DIR",
     "write output to files in DIR, one a host"},
    {{"pick", required_argument, NULL, PICK},
     OPTIONS_OUTPUT | FOR_HOSTS,
     "FIELD,...",
     "a table of these fields of the results (a.b: of a nested one)"},
    {{"sort", required_argument, NULL, SORT},
     OPTIONS_OUTPUT | FOR_HOSTS,
     "FIELD",
     "--pick: by this field (-FIELD: the largest first)"},
    {{"group-by", required_argument, NULL, GROUP_BY},
     OPTIONS_OUTPUT | FOR_HOSTS,
     "FIELD",
     "the hosts that have the same value"},
    {{"sum", required_argument, NULL, SUM}, OPTIONS_OUTPUT | FOR_HOSTS, "FIELD", "the sum over all hosts"},
    {{"min", required_argument, NULL, MIN}, OPTIONS_OUTPUT | FOR_HOSTS, "FIELD", "the least, and which host has it"},
    {{"max", required_argument, NULL, MAX}, OPTIONS_OUTPUT | FOR_HOSTS, "FIELD", "the greatest"},
    {{"avg", required_argument, NULL, AVG}, OPTIONS_OUTPUT | FOR_HOSTS, "FIELD", "the mean"},
    {{"pct", required_argument, NULL, PCT}, OPTIONS_OUTPUT | FOR_HOSTS, "FIELD", "the percentiles 50, 90 and 99"},
    {{"keep-order", no_argument, NULL, 'k'},
     OPTIONS_OUTPUT | FOR_HOSTS,
     NULL,
     "show the output of items in their order, not as they finish"},
    {{"color", optional_argument, NULL, COLOR},
     OPTIONS_OUTPUT,
     "[=WHEN]",
     "auto (on a terminal, unless NO_COLOR is set), always or never"},
    {{"timing", no_argument, NULL, TIMING},
     OPTIONS_OUTPUT | FOR_HOSTS,
     NULL,
     "at the end, show where the time of each host went"},
    {{"largest", no_argument, NULL, 'S'},
     OPTIONS_FLEET | OPTIONS_SETS,
     NULL,
     "exit with the largest code of all hosts"},
    {{"timeout", required_argument, NULL, 'u'},
     OPTIONS_CALL | OPTIONS_ENCODE | OPTIONS_TRANSFER,
     "TIME",
     "the longest the call may take"},
    {{"no-input", no_argument, NULL, 'n'}, OPTIONS_CALL, NULL, "give the worker no input"},
    {{"state", required_argument, NULL, STATE},
     OPTIONS_CALL | OPTIONS_ENCODE,
     "FILE",
     "the whole state, JSON or msgpack (-: from stdin); fields given as well replace its"},
    {{"state-out", required_argument, NULL, STATE_OUT},
     OPTIONS_CALL,
     "FILE",
     "keep the state that comes back, if the call is ok: msgpack, or JSON in a FILE.json (-: to stdout, alone)"},
    {{"list", no_argument, NULL, LIST}, OPTIONS_SHOW, NULL, "list the records"},
    {{"quiet", no_argument, NULL, 'q'},
     OPTIONS_CALL | OPTIONS_SHOW,
     NULL,
     "no result and no progress, only the worker's output"},
    {{"quiet", no_argument, NULL, 'q'}, OPTIONS_TRANSFER, NULL, "no progress, and no summary of many hosts"},
    {{"quiet", no_argument, NULL, 'q'},
     OPTIONS_SUMMARY,
     NULL,
     "no progress and no summary; of what is done, only what failed"},
    {{"recursive", no_argument, NULL, 'r'},
     OPTIONS_TRANSFER,
     NULL,
     "for scp's users: directories always go with all that is in them"},
    {{"json", no_argument, NULL, JSON}, OPTIONS_JSON, NULL, "one JSON object a line"},
    {{"plugin-path", required_argument, NULL, PLUGIN_PATH},
     OPTIONS_PLUGINS,
     "DIRS",
     "look for plugins here first (colon-separated)"},
    {{"bare", no_argument, NULL, BARE},
     OPTIONS_ENCODE,
     NULL,
     "without its length in front: read to the end of the pipe, so no input can follow"},
    {{"force", no_argument, NULL, FORCE}, OPTIONS_ENCODE, NULL, "write to a terminal, too"},
    {{"check", no_argument, NULL, 'c'},
     OPTIONS_CHECK,
     NULL,
     "look for what a compiler can't see; exit 126 if there is something"},
    {{"gdb", no_argument, NULL, GDB},
     OPTIONS_TEST,
     NULL,
     "in one process, under gdb, which stops where the worker begins"},
    {{"valgrind", no_argument, NULL, VALGRIND},
     OPTIONS_TEST,
     NULL,
     "in one process, under valgrind's memcheck; what it finds fails the test"},
    {{"in-process", no_argument, NULL, IN_PROCESS},
     OPTIONS_TEST,
     NULL,
     "in one process, alone or under a program of your own (-X)"},
    {{"tool-arg", required_argument, NULL, 'X'},
     OPTIONS_TEST,
     "ARG",
     "one more argument for gdb or valgrind; a word of your own program (-X strace -X -f)"},
    {{"older-than", required_argument, NULL, OLDER_THAN},
     OPTIONS_STORE,
     "TIME",
     "gc: what was not used for so long (30d)"},
    {{"keep", required_argument, NULL, KEEP},
     OPTIONS_STORE,
     "SIZE",
     "gc: the longest unused, until so much is left (500M, 2G)"},
    {{"dry-run", no_argument, NULL, DRY_RUN}, OPTIONS_STORE, NULL, "gc: only say what would go"},
    {{"dry-run", no_argument, NULL, DRY_RUN},
     OPTIONS_DEPLOY,
     NULL,
     "only say what would travel, and what would change"},
    {{"signers", required_argument, NULL, SIGNERS},
     OPTIONS_DEPLOY,
     "FILE",
     "who may sign: an allowed_signers file; nothing is sent of any other bundle"},
    {{"signer", required_argument, NULL, SIGNER}, OPTIONS_DEPLOY, "NAME", "only this one of them"},
    {{"allow-downgrade", no_argument, NULL, DOWNGRADE}, OPTIONS_DEPLOY, NULL, "take an older serial, too"},
    {{"no-two-phase", no_argument, NULL, ONE_PHASE},
     OPTIONS_DEPLOY,
     NULL,
     "let each host switch as soon as it is prepared, whatever the others do"},
    {{"to", required_argument, NULL, TO}, OPTIONS_ROLLBACK, "N", "to this generation, not to the one before"},
    {{"remove", no_argument, NULL, REMOVE}, OPTIONS_STORE, NULL, "verify: remove what is damaged"},
    {{"verbose", no_argument, NULL, 'v'}, 0, NULL, "say what is done and why; twice: more"},
    {{"help", no_argument, NULL, HELP}, 0, NULL, "print help and exit"},
};
#define OPTIONS (sizeof table / sizeof *table)

static bool is_offered(size_t i, unsigned groups) { return !table[i].group || (table[i].group & groups); }

void settings_print_options(unsigned groups)
{
    puts("\noptions:");
    for (size_t i = 0; i < OPTIONS; i++) {
        char names[64];
        if (!is_offered(i, groups))
            continue;
        int letter = table[i].option.val;
        int n = letter < 256 ? snprintf(names, sizeof names, "-%c, --%s", letter, table[i].option.name)
                             : snprintf(names, sizeof names, "    --%s", table[i].option.name);
        if (table[i].value)
            snprintf(names + n, sizeof names - (size_t)n, "%s%s", table[i].value[0] == '[' ? "" : " ", table[i].value);
        printf("  %-31s %s%s\n", names, strlen(names) > 31 ? "\n                                  " : "", table[i].about);
    }
}

static int take_list(const char **list, size_t *count, const char *name, const char *value, struct ssx_error *err)
{
    if (*count == LIST_MAX)
        return error_set(err, SSX_ERROR_USAGE, "%s was given more than %d times", name, LIST_MAX);
    list[(*count)++] = value;
    return 0;
}

static int take_way(struct settings *s, enum test_way way, struct ssx_error *err)
{
    if (s->test_way != TEST_AS_ON_A_NODE && s->test_way != way)
        return error_set(err, SSX_ERROR_USAGE, "--gdb, --valgrind and --in-process: one of them at a time");
    s->test_way = way;
    return 0;
}

static int take_host_word(struct settings *s, int option, const char *value, struct ssx_error *err)
{
    if (s->host_word_count == HOST_WORDS_MAX)
        return error_set(err, SSX_ERROR_USAGE, "hosts are named by more than %d options", HOST_WORDS_MAX);
    s->host_words[s->host_word_count++] = (struct host_word){option, value};
    return 0;
}

int settings_add_hosts(struct settings *s, const char *set, struct ssx_error *err) { return take_host_word(s, 'w', set, err); }

static int take_fanout(struct settings *s, const char *value, struct ssx_error *err)
{
    char *end;
    s->fanout = strtol(value, &end, 10);
    return *end || s->fanout < 1 || s->fanout > FANOUT_MAX
               ? error_set(err, SSX_ERROR_USAGE, "-f: \"%s\" is no number of hosts from 1 to %d", value, FANOUT_MAX)
               : 0;
}

static int take_per_host(struct settings *s, const char *value, struct ssx_error *err)
{
    char *end;
    s->per_host = strtol(value, &end, 10);
    return *end || s->per_host < 1 || s->per_host > SSX_FLEET_PER_HOST_MAX
               ? error_set(err, SSX_ERROR_USAGE, "--per-host: \"%s\" is no number of items from 1 to %d", value,
                           SSX_FLEET_PER_HOST_MAX)
               : 0;
}

static int take_canary(struct settings *s, const char *value, struct ssx_error *err)
{
    struct amount amount;
    if (amount_parse(&amount, "--canary", value, 1, err))
        return -1;
    if (amount.percent)
        return error_set(err, SSX_ERROR_USAGE, "--canary: a number of hosts, not a percentage");
    s->rolling.canary = amount.n;
    return 0;
}

static int take_generation(struct settings *s, const char *value, struct ssx_error *err)
{
    char *end;
    s->generation = strtol(value, &end, 10);
    return *end || s->generation < 1 || s->generation > INT32_MAX ? error_set(err, SSX_ERROR_USAGE,
                                                                              "--to: \"%s\" is no number of a generation", value) : 0;
}

/* Those of OPTIONS_FLEET and OPTIONS_SETS. Returns 1 for any other. */
static int take_fleet_option(struct settings *s, int option, const char *value, struct ssx_error *err)
{
    switch (option) {
    case 'w': case 'x': case 'g': case 'X': case 'a': return take_host_word(s, option, value, err);
    case HOSTFILE: return take_host_word(s, OPTION_HOSTFILE, value, err);
    case 's': s->group_source = value; return 0;
    case 'f': return take_fanout(s, value, err);
    case DEADLINE: return take_duration(&s->deadline_ms, "--deadline", value, err);
    case STATE_MAP: s->state_map = value; return 0;
    case SCATTER: s->scatter = value; return 0;
    case ITEMS: s->items = value; return 0;
    case '0': s->nul = true; return 0;
    case PER_HOST: return take_per_host(s, value, err);
    case SERIAL: return amount_parse(&s->rolling.serial, "--serial", value, 1, err);
    case MAX_FAIL: return amount_parse(&s->rolling.max_fail, "--max-fail", value, 0, err);
    case CANARY: return take_canary(s, value, err);
    case RERUN: s->rerun = value; return 0;
    case RECORD: s->record = value; return 0;
    case 'S': s->largest = true; return 0;
    default: return 1;
    }
}

/* "a,b.c": fields. */
static int take_picks(struct settings *s, const char *value, struct ssx_error *err)
{
    char *copy = strdup(value), *state = NULL; /* lives as long as the process */
    if (!copy)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    if (!*value)
        return error_set(err, SSX_ERROR_USAGE, "--pick which fields? --pick a,b.c");
    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state))
        if (take_list(s->picks, &s->pick_count, "--pick", word, err))
            return -1;
    return 0;
}

static int take_total(struct settings *s, enum total_kind kind, const char *value, struct ssx_error *err)
{
    if (s->total_count == LIST_MAX)
        return error_set(err, SSX_ERROR_USAGE, "more than %d of --sum, --min, --max, --avg and --pct", LIST_MAX);
    s->totals[s->total_count++] = (struct total){kind, value};
    return 0;
}

static int take_color(struct settings *s, const char *value, struct ssx_error *err)
{
    s->color = !value || strcmp(value, "always") == 0 ? COLOR_ALWAYS : strcmp(value, "never") == 0 ? COLOR_NEVER : COLOR_AUTO;
    return s->color == COLOR_AUTO && strcmp(value, "auto")
               ? error_set(err, SSX_ERROR_USAGE, "--color: \"%s\" is none of auto, always, never", value)
               : 0;
}

/* Those of OPTIONS_OUTPUT. Returns 1 for any other. */
static int take_output_option(struct settings *s, int option, const char *value, struct ssx_error *err)
{
    switch (option) {
    case 'N': s->no_names = true; return 0;
    case 'b': s->gather = true; return 0;
    case 'k': s->keep_order = true; return 0;
    case TIMING: s->timing = true; return 0;
    case 'L': s->by_host = true; return 0;
    case DIFF: s->diff = true; return 0;
    case OUTDIR: s->outdir = value; return 0;
    case PICK: return take_picks(s, value, err);
    case SORT: s->sort = value; return 0;
    case GROUP_BY: return take_list(s->group_by, &s->group_by_count, "--group-by", value, err);
    case SUM: case MIN: case MAX: case AVG: case PCT: return take_total(s, (enum total_kind)(option - SUM), value, err);
    case COLOR: return take_color(s, value, err);
    default: return 1;
    }
}

static int take_option(struct settings *s, int option, const char *value, struct ssx_error *err)
{
    int rc = s->takes_hosts ? take_fleet_option(s, option, value, err) : 1;
    if (rc > 0)
        rc = s->shows_output ? take_output_option(s, option, value, err) : 1;
    if (rc <= 0)
        return rc;
    switch (option) {
    case 'F': s->ssh_config = value; return 0;
    case 'p': s->port = value; return 0;
    case 'l': s->login = value; return 0;
    case 'i': return take_list(s->identities, &s->identity_count, "-i", value, err);
    case 'o': return take_list(s->options, &s->option_count, "-o", value, err);
    case 't': return take_wait(&s->connect_timeout_ms, "--connect-timeout", value, err);
    case LEASE: return take_wait(&s->lease_ms, "--lease", value, err);
    case 'u': return take_duration(&s->timeout_ms, "--timeout", value, err);
    case TRANSPORT: s->transport_is_option = true; return take_transport(s, "--transport", value, err);
    case BECOME: return take_become(s, value, err);
    case PLUGIN_PATH: s->plugin_path = value; return 0;
    case STATE: s->state_file = value; return 0;
    case STATE_OUT: s->state_out = value; return 0;
    case NO_BOOTSTRAP: s->bootstrap = BOOTSTRAP_NEVER; return 0;
    case EPHEMERAL: s->bootstrap = BOOTSTRAP_EPHEMERAL; return 0;
    case BARE: s->bare = true; return 0;
    case FORCE: s->force = true; return 0;
    case JSON: s->json = true; return 0;
    case OLDER_THAN: return take_duration(&s->older_ms, "--older-than", value, err);
    case LIST: s->list = true; return 0;
    case KEEP: return take_size(&s->keep_bytes, "--keep", value, err);
    case DRY_RUN: s->dry_run = true; return 0;
    case SIGNERS: s->signers = value; return 0;
    case SIGNER: s->signer = value; return 0;
    case DOWNGRADE: s->downgrade = true; return 0;
    case ONE_PHASE: s->one_phase = true; return 0;
    case TO: return take_generation(s, value, err);
    case REMOVE: s->remove = true; return 0;
    case 'n': s->no_input = true; return 0;
    case 'q': s->quiet = true; return 0;
    case 'v': s->verbose++; return 0;
    case 'c': s->check = true; return 0;
    case 'X': return take_list(s->tool_args, &s->tool_arg_count, "-X", value, err);
    case GDB: return take_way(s, TEST_GDB, err);
    case VALGRIND: return take_way(s, TEST_VALGRIND, err);
    case IN_PROCESS: return take_way(s, TEST_IN_PROCESS, err);
    case HELP: s->help = true; return 0;
    default: return 0;
    }
}

/* getopt's tables for the options of these groups. */
static void build_tables(unsigned groups, struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* no messages of getopt's own */
    for (size_t i = 0; i < OPTIONS; i++) {
        if (!is_offered(i, groups))
            continue;
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

/* Remembers that it was given, if it is for hosts. */
static void note_option(struct settings *s, int option)
{
    for (size_t i = 0; i < OPTIONS && !s->for_hosts[0]; i++) {
        if (table[i].option.val != option || !(table[i].group & FOR_HOSTS))
            continue;
        if (option < 256)
            snprintf(s->for_hosts, sizeof s->for_hosts, "-%c", option);
        else
            snprintf(s->for_hosts, sizeof s->for_hosts, "--%s", table[i].option.name);
    }
}

static int complain(int c, const char *command, const char *word, unsigned groups, struct ssx_error *err)
{
    char letter[3] = {'-', (char)optopt, 0};
    const char *name = optopt > 0 && optopt < 256 ? letter : word;
    return error_set(err, SSX_ERROR_USAGE, "%s%s%s (sshexec %s --help%s)", c == ':' ? "" : "unknown option ", name,
                     c == ':' ? " needs a value" : "", command,
                     groups & OPTIONS_CALL ? "; words for the worker stand behind --" : "");
}

int settings_options(struct settings *s, unsigned groups, int argc, char **argv, char ***words, int *count,
                     char ***rest, struct ssx_error *err)
{
    struct option longs[OPTIONS + 1];
    char shorts[2 * OPTIONS + 2];
    int before = 1, c;
    while (before < argc && strcmp(argv[before], "--"))
        before++;
    *rest = before < argc ? argv + before + 1 : NULL;
    build_tables(groups, longs, shorts);
    s->takes_hosts = groups & (OPTIONS_FLEET | OPTIONS_SETS);
    s->shows_output = groups & OPTIONS_OUTPUT;
    opterr = 0;
    optind = 0;
    while ((c = getopt_long(before, argv, shorts, longs, NULL)) != -1) {
        if (c == '?' || c == ':')
            return complain(c, argv[0], argv[optind - 1], groups, err);
        note_option(s, c);
        if (take_option(s, c, optarg, err))
            return -1;
    }
    *words = argv + optind;
    *count = before - optind;
    return 0;
}

void settings_target(const struct settings *s, struct transport_target *out)
{
    memset(out, 0, sizeof *out);
    out->mode = s->transport;
    out->become = s->become;
    if (s->transport == TRANSPORT_TEMPLATE) {
        out->template_name = s->named->name;
        out->template_text = s->named->command;
    }
    out->config_file = s->ssh_config;
    out->port = s->port;
    out->login = s->login;
    out->identities = s->identities;
    out->options = s->options;
    out->connect_timeout_ms = (int)s->connect_timeout_ms;
    out->lease_ms = s->lease_ms;
}

void settings_session(const struct settings *s, struct ssx_session_options *out)
{
    static const enum ssx_bootstrap ways[] = {
        [BOOTSTRAP_CACHE] = SSX_BOOTSTRAP_KEEP, [BOOTSTRAP_NEVER] = SSX_BOOTSTRAP_NEVER,
        [BOOTSTRAP_EPHEMERAL] = SSX_BOOTSTRAP_EPHEMERAL,
    };
    *out = ssx_session_defaults();
    out->config_file = s->ssh_config;
    out->login = s->login;
    out->port = s->port ? (int)strtol(s->port, NULL, 10) : 0;
    out->identities = s->identities;
    out->options = s->options;
    if (s->transport == TRANSPORT_TEMPLATE)
        out->transport_command = s->named->command;
    else
        out->transport = transports[s->transport];
    out->become = s->become;
    out->connect_timeout_ms = (int)s->connect_timeout_ms;
    out->lease_ms = (int)s->lease_ms;
    out->bootstrap = ways[s->bootstrap];
    out->plugin_path = s->plugin_path;
}

bool settings_go_out(const struct settings *s, const char *host)
{
    return host || (s->transport == TRANSPORT_TEMPLATE && (s->transport_is_option || !template_holds(s->named->command, 'h')));
}
