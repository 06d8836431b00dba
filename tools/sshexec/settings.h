/* What the user asked for beside the words of the command: options, environment and configuration file in one struct,
 * each with where it came from. */
#ifndef SSHEXEC_SETTINGS_H
#define SSHEXEC_SETTINGS_H
#include "client/bootstrap.h"
#include "fleet/rolling.h"
#include "transport/target.h"

#include <sshexec/client.h>
#include <stdbool.h>
#include <stddef.h>

#define LIST_MAX 64 /* -i or -o given so often */
#define HOST_WORDS_MAX 256 /* -w, -x and so on, together */

/* A [transport NAME] section. */
struct named_transport { const char *name, *command, *origin; };

/* How `sshexec test` runs the call. */
enum test_way { TEST_AS_ON_A_NODE, TEST_IN_PROCESS, TEST_GDB, TEST_VALGRIND };

/* One number of many hosts; in the order of their options. */
enum total_kind { TOTAL_SUM, TOTAL_MIN, TOTAL_MAX, TOTAL_AVG, TOTAL_PCT };

struct settings {
    /* as ssh means them */
    const char *ssh_config, *port, *login;
    const char *identities[LIST_MAX + 1], *options[LIST_MAX + 1];
    size_t identity_count, option_count;
    /* ours */
    enum transport_mode transport;
    const struct named_transport *named; /* with TRANSPORT_TEMPLATE */
    bool transport_is_option;        /* it stands on the command line */
    const char *become;              /* the user; NULL: the login's */
    long timeout_ms, connect_timeout_ms, lease_ms;
    const char *plugin_path, *state_file, *state_out;
    enum bootstrap_mode bootstrap;
    enum test_way test_way;
    const char *tool_args[LIST_MAX + 1];
    size_t tool_arg_count;
    struct host_word { int option; const char *value; } host_words[HOST_WORDS_MAX]; /* in order; the options of host_sets.h */
    size_t host_word_count;
    char for_hosts[24];              /* the first option that means something only where hosts are run on as a set; "": none was given */
    bool takes_hosts;                /* the subcommand does */
    const char *group_source;
    long fanout, deadline_ms;        /* 0: not given */
    bool no_names, gather, largest, timing; /* -N, -b, -S, --timing */
    bool shows_output;               /* of many hosts: the subcommand does */
    bool by_host, diff;              /* -L, --diff */
    const char *outdir, *sort;
    const char *picks[LIST_MAX], *group_by[LIST_MAX];
    size_t pick_count, group_by_count;
    struct total { enum total_kind kind; const char *field; } totals[LIST_MAX];
    size_t total_count;
    enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color;
    struct rolling_options rolling;  /* --serial, --max-fail, --canary */
    const char *state_map;           /* a file; NULL: none */
    const char *scatter, *items;     /* a field, and where what is dealt over the hosts comes from; NULL: not given */
    bool nul, keep_order;            /* of items: NUL ends them; output in their order */
    long per_host;                   /* 0: not given */
    const char *rerun, *record;      /* which hosts of which run; NULL: not given */
    bool list;                       /* the records */
    bool json, no_input, quiet, check, bare, force, help;
    long older_ms;                   /* of a store, -1: not given */
    int64_t keep_bytes;              /* the same */
    bool remove, dry_run;
    const char *signers, *signer;    /* of a bundle */
    bool downgrade, one_phase;
    long generation;                 /* 0: not given */
    int verbose;
};

/* Which options a subcommand takes, beside --help and -v. */
enum option_group {
    OPTIONS_SSH = 1,
    OPTIONS_CALL = 2,
    OPTIONS_JSON = 4,
    OPTIONS_PLUGINS = 8,
    OPTIONS_CHECK = 16,
    OPTIONS_ENCODE = 32,
    OPTIONS_TRANSFER = 64,
    OPTIONS_TEST = 128,
    OPTIONS_STORE = 256,
    OPTIONS_FLEET = 512,
    OPTIONS_OUTPUT = 1024,
    OPTIONS_SHOW = 2048,
    OPTIONS_SETS = 4096,
    OPTIONS_DEPLOY = 8192,
    OPTIONS_ROLLBACK = 16384,
    OPTIONS_ROLLING = 32768,
    OPTIONS_SUMMARY = 65536,
    OPTIONS_HOSTS = OPTIONS_SETS | OPTIONS_SUMMARY /* of commands whose hosts are sets in any case */
};

/* Defaults, then the configuration file. Returns 0, or -1 with err. Strings live as long as the process. */
int settings_load(struct settings *s, struct ssx_error *err);

/* Takes the options out of argv, wherever they stand before a "--"; what is left are words, *rest those behind the "--"
 * (NULL: there is none). argv[0] is the subcommand's name. Returns 0 with *words and *count set, or -1 with err
 * (SSX_ERROR_USAGE). */
int settings_options(struct settings *s, unsigned groups, int argc, char **argv, char ***words, int *count,
                     char ***rest, struct ssx_error *err);

/* The text of those options for a help page. */
void settings_print_options(unsigned groups);

/* The i-th value that --transport takes; NULL: there are no more. */
const char *settings_transport(size_t i);

/* Each key of the configuration file with its value in force and its origin, for `sshexec config`. */
void settings_print(void);

/* The -F -p -l -i -o, transport, become and connect timeout as the transport takes them. */
void settings_target(const struct settings *s, struct transport_target *out);

/* The same with the rest of it, as the library takes them for a fleet; borrowed from s. */
void settings_session(const struct settings *s, struct ssx_session_options *out);

/* Whether options name hosts, so that there is a fleet. */
static inline bool settings_name_hosts(const struct settings *s) { return s->host_word_count || s->rerun; }

/* The hosts of a set (a word of -w), as if an option had named them. Returns 0, or -1 with err. */
int settings_add_hosts(struct settings *s, const char *set, struct ssx_error *err);

/* Whether a command with these settings and this host (NULL: none was named) goes by way of a transport: where no host
 * is named, only through a template that asks for none, or that the command line names (which then fails for want of a
 * host, rather than do here what was meant for elsewhere). */
bool settings_go_out(const struct settings *s, const char *host);

#endif
