/* sshexec authorize: a line for authorized_keys that lets a key start the agent, with a policy, and nothing else;
 * printed, or put in place on a host. */
#include "agents.h"
#include "host_script.h"
#include "interrupt.h"
#include "reach.h"
#include "tool.h"

#include "base/error.h"
#include "base/file.h"
#include "base/install.h"
#include "base/text.h"
#include "transport/authorized_key.h"
#include "transport/quote.h"
#include "wire/outcome.h"
#include "worker/policy.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define EXIT_HOLE 1 /* the line is in place, and the same key has another way in */

struct authorize {
    struct settings settings;
    struct policy policy;
    struct public_key key;
    const char *key_file, *profile, *agent, *plugin_path, *from, *host;
    char agent_path[PATH_MAX], store[PATH_MAX]; /* learnt on the host */
};

/* --- options --- */

static const struct { const char *name, *value, *about; size_t offset;
} own[] = {
    {"--key", "FILE", "the public key", offsetof(struct authorize, key_file)},
    {"--env-profile", "FILE", "sourced by /bin/sh on the host before the agent starts",
     offsetof(struct authorize, profile)},
    {"--agent", "PATH", "the agent on the host (default: this installation's path; with --host: the one in its cache)",
     offsetof(struct authorize, agent)},
    {"--plugin-path", "DIRS", "where the host's agent looks for plugins first",
     offsetof(struct authorize, plugin_path)},
    {"--from", "PATTERNS", "only from these addresses, as sshd's from=", offsetof(struct authorize, from)},
    {"--host", "HOST", "put the line into HOST's ~/.ssh/authorized_keys, by your ordinary login",
     offsetof(struct authorize, host)},
};
#define OWN (sizeof own / sizeof *own)

/* Takes the own options out of argv, as policy_take_flags does. */
static int take_own(struct authorize *a, int *argc, char **argv, struct ssx_error *err)
{
    int kept = 1;
    for (int at = 1; at < *argc; at++) {
        size_t i = 0, n = strcspn(argv[at], "=");
        while (i < OWN && (strlen(own[i].name) != n || memcmp(own[i].name, argv[at], n)))
            i++;
        if (i == OWN) {
            argv[kept++] = argv[at];
            continue;
        }
        const char *value = argv[at][n] ? argv[at] + n + 1 : at + 1 < *argc ? argv[++at] : "";
        if (!*value)
            return error_set(err, SSX_ERROR_USAGE, "%s needs a value (sshexec authorize --help)", own[i].name);
        *(const char **)((char *)a + own[i].offset) = value;
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

static int add_usage(struct buf *out)
{
    int rc = buf_add_text(out, "usage: sshexec authorize --key FILE.pub [--host HOST] [policy] [options]\n\n"
                          "Prints a line for authorized_keys that lets a key run workers through the agent, and nothing else.\n\n");
    for (size_t i = 0; i < OWN; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s %s", own[i].name, own[i].value);
        rc |= buf_printf(out, "  %-25s %s\n", name, own[i].about);
    }
    return rc | buf_add_text(out, "\npolicy:\n") | policy_add_help(out) | buf_add(out, "", 1);
}

/* --- the line --- */

static int read_key(struct authorize *a, struct ssx_error *err)
{
    struct buf text = {0};
    if (!a->key_file)
        return error_set(err, SSX_ERROR_USAGE, "authorize which key? --key FILE.pub");
    int rc = file_read(&text, a->key_file, PUBLIC_KEY_MAX, err);
    if (rc == 0)
        rc = public_key_read(&a->key, (const char *)buf_data(&text), buf_length(&text), a->key_file, err);
    buf_free(&text);
    if (rc)
        err->code = SSX_ERROR_USAGE;
    return rc;
}

static int make_line(const struct authorize *a, struct buf *out, struct ssx_error *err)
{
    struct buf policy = {0}, command = {0};
    struct forced_command c = {
        .profile = a->profile, .agent = a->agent, .plugin_path = a->plugin_path, .store = *a->store ? a->store : NULL};
    int rc = policy_add_flags(&a->policy, &policy) || buf_add(&policy, "", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
    c.policy = (const char *)buf_data(&policy);
    if (rc == 0)
        rc = forced_command(&command, &c, err) || buf_add(&command, "", 1) ||
             authorized_key_line(out, &a->key, a->from, (const char *)buf_data(&command), err);
    buf_free(&policy);
    buf_free(&command);
    return rc ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the line") : 0; /* the first error stays */
}

/* What the line does not do, where that may surprise. */
static void warn(const struct authorize *a)
{
    const char *policy = a->policy.set[POLICY_UPLOADS].value;
    bool types = a->policy.set[POLICY_ALLOW].value || a->policy.set[POLICY_DENY].value;
    if (policy ? strcmp(policy, "yes") == 0 : !types)
        fprintf(stderr, "sshexec: warning: with uploads this key runs any code that its holder sends%s\n",
                types ? "; --allow and --deny are then no boundary" : ": forbid them with --allow TYPE,... or --no-uploads");
}

/* --- on a host --- */

/* The places that last: not those in memory, which the cache may fall back to for a call. */
static const char find_script[] =
    "for d in \"${XDG_CACHE_HOME:+$XDG_CACHE_HOME/sshexec}\" \"${HOME:+$HOME/.cache/sshexec}\"; do\n"
    "  test -n \"$d\" && test -x \"$d/agents/$b\" && { say store \"$d\"; say agent \"$b\"; return; }\n"
    "done; }\n"
    "find_agent\n";

/* Which of ours the host said it keeps; NULL: none. */
static const char *kept_agent(const struct host_script *h, const struct agent_image *agents)
{
    size_t n = 0;
    const char *said = host_script_said(h, "agent", 0, &n);
    for (; said && agents; agents = agents->next)
        if (n == strlen(agents->digest) && memcmp(said, agents->digest, n) == 0)
            return agents->digest;
    return NULL;
}

/* Checks what the line names, and learns where the agent is. */
static int examine_host(struct authorize *a, int interrupt_fd, struct ssx_error *err)
{
    struct agent_image image = {0};
    struct host_script h = {0};
    struct buf script = {0};
    size_t n = 0;
    int rc = 0;
    if (a->profile)
        rc = buf_add_text(&script, "test -r ") || forced_path(&script, a->profile, "the profile", err) ||
             buf_add_text(&script, " || fail can not read the profile\n");
    if (a->agent && rc == 0)
        rc = buf_add_text(&script, "test -x ") || forced_path(&script, a->agent, "the agent", err) ||
             buf_add_text(&script, " || fail the agent is not there, or can not be run\n");
    else if (rc == 0)
        rc = own_agent_open(&image, err) || reach_settle(&a->settings, a->host, interrupt_fd, err) ||
             buf_add_text(&script, "find_agent() {\n") || bootstrap_choose(&script, &image) ||
             buf_add_text(&script, find_script);
    if (rc == 0)
        rc = buf_add(&script, "", 1) ? -1 : host_script_run(&h, &a->settings, a->host, (const char *)buf_data(&script), interrupt_fd, err);
    const char *store = rc == 0 && !a->agent ? host_script_said(&h, "store", 0, &n) : NULL;
    const char *digest = store ? kept_agent(&h, &image) : NULL;
    if (rc == 0 && !a->agent && (!digest || n >= sizeof a->store || n + 9 + DIGEST_HEX >= sizeof a->agent_path)) {
        rc = error_set(
            err, SSX_ERROR_REFUSED,
            "%s keeps no agent where it lasts (its home takes none); install one there, and name it with --agent",
            a->host);
    } else if (digest) {
        snprintf(a->store, sizeof a->store, "%.*s", (int)n, store);
        snprintf(a->agent_path, sizeof a->agent_path, "%.*s/agents/%s", (int)n, store, digest);
        a->agent = a->agent_path;
    }
    buf_free(&script);
    host_script_free(&h);
    return rc ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

/* A new file beside the old one, then a rename: sshd never sees a part. Lines are copied by printf, for echo may change
 * backslashes. A line of this key with our mark goes; any other of it stays, and is reported. cmp sees what another
 * changed meanwhile. */
static const char install_script[] =
    "test -n \"$HOME\" || fail the account has no home\n"
    "umask 077\n"
    "d=$HOME/.ssh; f=$d/authorized_keys; number=0\n"
    "mkdir -p \"$d\" || fail can not make \"$d\"\n"
    "f=$(readlink -f \"$f\" 2>/dev/null || echo \"$f\")\n"
    "t=$f.sshexec-$$; trap 'rm -f \"$t\" \"$t.old\"' EXIT; trap 'exit 1' HUP INT TERM PIPE\n"
    "if test -e \"$f\"; then cat \"$f\" >\"$t.old\"; else : >\"$t.old\"; fi || fail can not read \"$f\"\n"
    "while IFS= read -r line || test -n \"$line\"; do\n"
    "  number=$((number + 1))\n"
    "  case $line in\n"
    "    \"#\"*) ;;\n"
    "    *command=*\"$mark\"*\"$blob\"*) continue ;;\n"
    "    *\"$blob\"*) say hole \"$f line $number\" >&3 ;;\n"
    "  esac\n"
    "  printf '%s\\n' \"$line\" || fail can not write \"$t\" >&3\n"
    "done <\"$t.old\" 3>&1 >\"$t\" || fail can not write \"$t\"\n"
    "printf '%s\\n' \"$new\" >>\"$t\" || fail can not write \"$t\"\n"
    "if test -e \"$f\"; then cmp -s \"$f\" \"$t.old\" || fail \"$f\" was changed by another meanwhile, nothing was done; try again\n"
    "cmp -s \"$f\" \"$t\" && chmod 600 \"$f\" && { say same \"$f\"; say done .; exit 0; }; fi\n"
    "chmod 600 \"$t\" && mv -f \"$t\" \"$f\" || fail can not replace \"$f\"\n"
    "say path \"$f\"";

static int add_variable(struct buf *out, const char *name, const char *value)
{
    return buf_printf(out, "%s=", name) || shell_quote(out, value) || buf_add_text(out, "\n");
}

/* Says what was done. Returns the exit code. */
static int report(const struct authorize *a, const struct host_script *h)
{
    char path[PATH_MAX];
    size_t n = 0;
    const char *same = host_script_said(h, "same", 0, &n), *at = same ? same : host_script_said(h, "path", 0, &n);
    text_escape(path, sizeof path, at ? at : "", at ? n : 0);
    printf("%s: %s %s\n", a->host, same ? "the line stands already in" : "the line is in", path);
    size_t holes = 0;
    for (const char *hole; (hole = host_script_said(h, "hole", holes, &n)); holes++) {
        text_escape(path, sizeof path, hole, n);
        fprintf(
            stderr,
            "sshexec: warning: %s, %s: this key also has an unrestricted line, or one with another command; remove it, or the key is not locked down\n",
            a->host, path);
    }
    return holes ? EXIT_HOLE : 0;
}

static int install(struct authorize *a, int interrupt_fd, struct ssx_error *err)
{
    struct host_script h = {0};
    struct buf line = {0}, script = {0};
    int code = -1;
    if (examine_host(a, interrupt_fd, err) || make_line(a, &line, err))
        code = -1;
    else if (buf_add(&line, "", 1) || add_variable(&script, "new", (const char *)buf_data(&line)) ||
             add_variable(&script, "mark", FORCED_COMMAND_MARK) ||
             add_variable(&script, "blob", (const char *)buf_data(&a->key.blob)) ||
             buf_add(&script, install_script, sizeof install_script))
        error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    else if (host_script_run(&h, &a->settings, a->host, (const char *)buf_data(&script), interrupt_fd, err) == 0)
        code = report(a, &h);
    host_script_free(&h);
    buf_free(&line);
    buf_free(&script);
    return code;
}

/* --- the command --- */

static int print(struct authorize *a, struct ssx_error *err)
{
    struct buf line = {0};
    if (!a->agent)
        a->agent = install_agent(a->agent_path, sizeof a->agent_path);
    int rc = make_line(a, &line, err);
    if (rc == 0) {
        printf("%.*s\n", (int)buf_length(&line), (const char *)buf_data(&line));
        fprintf(
            stderr,
            "sshexec: the line names the host's %s, which has to be there (--agent PATH names another, --host HOST finds it)\n",
            a->agent);
    }
    buf_free(&line);
    return rc;
}

int command_authorize(int argc, char **argv)
{
    static struct authorize a; /* large */
    struct ssx_error err = {0};
    struct buf usage = {0};
    char **words, **rest;
    int count, code;
    if (take_own(&a, &argc, argv, &err) || policy_take_flags(&a.policy, &argc, argv, &err))
        return tool_complain(&err);
    if (add_usage(&usage))
        return error_set(&err, SSX_ERROR_SYSTEM, "out of memory"), tool_complain(&err);
    code = tool_start(&a.settings, OPTIONS_SSH, (const char *)buf_data(&usage), argc, argv, &words, &count, &rest, &code) ? code : -1;
    buf_free(&usage);
    if (code >= 0)
        return code;
    if (count || rest) {
        error_set(&err, SSX_ERROR_USAGE, "authorize takes no words, only options: \"%s\"", count ? words[0] : "--");
        return tool_complain(&err);
    }
    if (read_key(&a, &err) == 0) {
        warn(&a);
        code = a.host ? install(&a, interrupt_watch(), &err) : print(&a, &err);
    }
    public_key_free(&a.key);
    policy_free(&a.policy);
    if (code >= 0)
        return code;
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}
