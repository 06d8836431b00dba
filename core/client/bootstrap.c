#include "client/bootstrap.h"

#include "base/error.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* One line for any login shell: single quotes around a POSIX script that holds no quote, backslash, newline or
 * exclamation mark.
 *
 * $1 ... are the places to keep things in, best first. Those in shared directories count only while they are ours and
 * no symbolic link, so that nobody can put a program there for us to run. The hot path is tests and an exec, without a
 * fork. Behind a terminal nothing is started: it changes bytes, and where it stands behind pipes (script, docker exec
 * -t) it hides the end of the session too, so that an agent would outlive its sender. */
#define START "exec /bin/sh -c '"
#define REFUSE_TERMINAL \
    "fail() { echo \"sshexec-fail 1 $n\" $*; exit 1; }; if test -t 0; then stty raw -echo; read -r g v n; " \
    "fail \"a terminal stands in between, and changes bytes (a forced command, docker exec -t, srun --pty): do without it\"; fi; "
#define PLACES \
    "u=${LOGNAME:-${USER:-$(id -u)}}; set -- \"${XDG_CACHE_HOME:+$XDG_CACHE_HOME/sshexec}\" \"${HOME:+$HOME/.cache/sshexec}\" " \
    "\"${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/sshexec}\" \"/dev/shm/sshexec-$u\" \"/tmp/sshexec-$u\"; "
#define SHORT_LIVED_PLACES "set -- \"$XDG_RUNTIME_DIR\" /dev/shm /tmp \"$HOME\" /var/tmp; "
#define FIND                                                                                                           \
    "for d; do a=$d/agents/$b; test -x \"$a\" && test -O \"$a\" && test -O \"$d\" && { test -L \"$d\" || exec \"$a\" --store \"$d\"; }; done; "
#define LISTEN \
    "read -r g v n; set -f; " \
    "test ${#n} = 32 || { n=${n%?}; fail something between here and the sender changes bytes: a terminal or a CRLF translator; }; "

/* Finds a place that takes a file of the agent's size and lets it run, before asking for the agent: what was sent can't
 * be asked for twice. A file that holds one shell command stands in for the agent. $t is where it will be, $k what to
 * make first, $f the topmost directory that wasn't there before. What doesn't serve is removed again. $x collects why.
 * umask is changed in subshells only: the agent, and its workers, must not inherit it.
 *
 * For each place one subshell tries it, asks, takes and cleans up after itself (take); the shell that waits for it
 * cleans up as well: nothing is left whichever of the two is killed. It ends with 1 where the place doesn't serve, and
 * the next one is tried; with 2, or by a signal, once it may have asked. */
#define DROP \
    "t=; f=; x=; c=1; drop() { rm -f \"$t\"; p=$k; until test -z \"$f\"; do rmdir \"$p\"; test -e \"$p\" -o \"$p\" = \"$f\" && break; p=${p%/*}; done; } 2>/dev/null; " \
    "trap drop EXIT; trap \"exit 1\" HUP INT TERM PIPE; "
#define TRY                                                                                                            \
    "try() { %s && head -c $l /dev/urandom >\"$t\" && echo exit >\"$t\" && chmod 700 \"$t\" && { \"$t\" || { echo \": programs may not run: noexec\"; return 1; }; }; }; "
#define SEARCH \
    "for d; do case $d in /*) ;; *) continue ;; esac; k=$d%s; t=$k/.sshexec-$n; f=; p=$k; until test -e \"$p/\"; do f=$p; p=${p%%/*}; done; " \
    "hold && e=$(take 2>&1); c=$?; test $c = 1 || break; drop; x=\"$x${x:+, }$d (${e##*: })\"; done; " \
    "case $c in 0) ;; 1) t=; f=; fail \"no directory takes its $l bytes and lets it run: ${x:-neither HOME nor another one is known}\" ;; " \
    "*) fail \"${e:-its set-up was ended from outside}\" ;; esac; "
#define OWN                                                                                                            \
    "own() { test -L \"$1\" && echo \": a symbolic link\" && return 1; test -O \"$1\" || { echo \": owned by another user\"; return 1; }; }; "
#define MAKE_AND_OWN "mkdir -p \"$d\" && own \"$d\" && mkdir -p \"$k\" && own \"$k\""
#define EXISTS "test -d \"$d\""

/* Some heads read more than they print, and would eat the greeting behind the agent: then dd, slowly. */
#define TOOLS \
    "z=plain; command -v gzip >/dev/null 2>&1 && z=gzip; h=; test \"$(echo abc | { head -c 2 >/dev/null 2>&1; cat; })\" = c && h=1; " \
    "bytes() { if test $h; then head -c $1; else dd bs=1 count=$1 2>/dev/null; fi; }; m=\"$(uname -s) $(uname -m)\"; exec 3>&1; "

#define TAKE \
    "unpack() { if test $z = gzip; then bytes $w | gzip -dc; else bytes $l; fi; }; " \
    "take() { trap drop EXIT; umask 077; try || return 1; echo \"sshexec-need 1 $n $m $z\" >&3; unpack >\"$t\" && e=$(sha256sum <\"$t\") || return 2; " \
    "test \"${e%% *}\" = $b || { echo what arrived in \"$d\" is not what was sent; return 2; }; " \
    "\"$t\" --version >/dev/null || { echo so it does not run in \"$d\"; return 2; }; keep || return 2; }; "

/* A file that is older than a day was left by a machine that went down half-way. */
#define KEEP                                                                                                           \
    "hold() { :; }; keep() { mv -f \"$t\" \"$k/$b\" || return; find \"$k\" -name \".sshexec-*\" -mtime +0 -exec rm -f {} + 2>/dev/null; return 0; }; "
#define RUN "exec \"$k/$b\" --store \"$d\" 3>&-'"

/* The file loses its name while it is still empty, and is written and run by way of its descriptor. */
#define KEEP_NOTHING \
    "hold() { e=$(umask 077; : 2>&1 >\"$t\") && test -r \"$t\" && exec 9<\"$t\" && rm -f \"$t\" && t=/proc/self/fd/9; }; keep() { :; }; "
#define RUN_NAMELESS "trap - EXIT; exec \"$t\" --ephemeral 3>&- 9<&9'"

const struct agent_image *agent_for(const struct agent_image *agents, const char *machine)
{
    while (agents && strcmp(agents->machine, machine))
        agents = agents->next;
    return agents;
}

/* Machines of several kinds may share a home (NFS), and with it what is kept there: what is for another one must not be
 * started. (A shell of busybox would run it as a script.) So even where there is but one agent the machine is asked
 * for. With Linux 6.1 that takes no process; where the kernel names another machine than the agent's it is not the last
 * word: what runs is another one's where a session is emulated. */
#define ALIKE "{ read -r m </proc/sys/kernel/arch && test \"$m\" = \"%s\"; } 2>/dev/null && b=%s l=%zu w=%zu || "

int bootstrap_choose(struct buf *out, const struct agent_image *agents)
{
    size_t sound = 0;
    for (const struct agent_image *a = agents; a; a = a->next)
        sound += !*a->flaw;
    int rc = 0;
    for (const struct agent_image *a = sound == 1 ? agents : NULL; a && rc == 0; a = a->next)
        if (!*a->flaw)
            rc = buf_printf(out, ALIKE, a->machine, a->digest, a->size, a->packed_size);
    rc = rc || buf_add_text(out, "case $(uname -m) in ") ? -1 : 0;
    for (const struct agent_image *a = agents; a && rc == 0; a = a->next)
        if (!*a->flaw)
            rc = buf_printf(out, "\"%s\") b=%s l=%zu w=%zu ;; ", a->machine, a->digest, a->size, a->packed_size);
    return rc || buf_add_text(out, "*) b=none l=1 w=1 ;; esac; ") ? -1 : 0;
}

/* What both ways of bringing an agent share, in this order, around their own `hold` and `keep`. */
static int add_bringing(struct buf *out, const char *make, const char *below, const char *keep, const char *run)
{
    return buf_add_text(out, LISTEN TOOLS DROP) || buf_add_text(out, keep) || buf_printf(out, TRY, make) || buf_add_text(out, TAKE) ||
           buf_printf(out, SEARCH, below) || buf_add_text(out, run);
}

static int add_keeping(struct buf *out, const struct agent_image *agents)
{
    return buf_add_text(out, START REFUSE_TERMINAL PLACES) || bootstrap_choose(out, agents) || buf_add_text(out, FIND) ||
           add_bringing(out, MAKE_AND_OWN, "/agents", OWN KEEP, RUN);
}

static int add_finding(struct buf *out, const struct agent_image *agents)
{
    return buf_add_text(out, START REFUSE_TERMINAL PLACES) || bootstrap_choose(out, agents) ||
           buf_add_text(out, FIND "command -v sshexec-agent >/dev/null 2>&1 && exec sshexec-agent; ") ||
           buf_add_text(out, LISTEN "fail there is none in its cache or PATH, and --no-bootstrap forbids to bring one'");
}

static int add_ephemeral(struct buf *out, const struct agent_image *agents)
{
    return buf_add_text(out, START REFUSE_TERMINAL SHORT_LIVED_PLACES) || bootstrap_choose(out, agents) ||
           add_bringing(out, EXISTS, "", KEEP_NOTHING, RUN_NAMELESS);
}

int bootstrap_command(struct buf *out, const struct agent_image *agents, enum bootstrap_mode mode)
{
    int rc = mode == BOOTSTRAP_CACHE   ? add_keeping(out, agents)
             : mode == BOOTSTRAP_NEVER ? add_finding(out, agents)
                                       : add_ephemeral(out, agents);
    return rc || buf_add(out, "", 1) ? -1 : 0;
}

/* Only what is ours, below names that are ours alone. The directories of workers whose host was killed with its agent
 * count; those of running workers stand in the command line of their host. */
#define CLEAN \
    "gone() { test -O \"$1\" || return; e=$(rm -rf \"$1\" 2>&1) && echo \"sshexec-clean 1 %s gone $1\" || echo \"sshexec-clean 1 %s kept $1: ${e##*: }\"; }; " \
    "for d; do test -L \"$d\" && continue; test -O \"$d\" || continue; rm -f \"$d/current\"; for k in agents generations objects; do gone \"$d/$k\"; done; rm -f \"$d/lock\"; rmdir \"$d\" 2>/dev/null; done; " \
    "for t in \"${XDG_RUNTIME_DIR:-/tmp}\"/.sshexec-* /dev/shm/.sshexec-* /tmp/.sshexec-* \"${HOME:-/tmp}\"/.sshexec-* /var/tmp/.sshexec-*; do " \
    "test -f \"$t\" && gone \"$t\"; done; c=$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr -c a-zA-Z0-9/._- \" \"); " \
    "for t in \"${TMPDIR:-/tmp}\"/sshexec-????????????????; do test -L \"$t\" || test \"$t\" = \"/tmp/sshexec-$u\" && continue; " \
    "test -d \"$t\" && case $c in *\"${t##*/}\"*) ;; *) gone \"$t\" ;; esac; done; echo \"sshexec-clean 1 %s done\"'"

int bootstrap_clean_command(struct buf *out, const char *nonce)
{
    return buf_printf(out, START PLACES CLEAN, nonce, nonce, nonce) || buf_add(out, "", 1) ? -1 : 0;
}

int greeting_add(struct buf *out, const char *nonce) { return buf_printf(out, "sshexec 1 %s\n", nonce); }

/* The first place in the bytes where the text stands, or NULL. */
static const char *find(const char *bytes, size_t n, const char *text) { return n ? memmem(bytes, n, text, strlen(text)) : NULL; }

static enum greeting_answer read_need(struct greeting *out, const char *line, size_t n, struct ssx_error *err)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)n, line);
    char encoding[8];
    if (n && line[n - 1] == '\r') {
        error_set(
            err, SSX_ERROR_PROTOCOL,
            "something between here and the host changes bytes (a terminal, a CRLF translator): \\n arrived as \"\r\n\"");
        return GREETING_BROKEN;
    }
    bool whole = sscanf(text, "%31s %31s %7s", out->kernel, out->machine, encoding) == 3;
    out->gzip = whole && strcmp(encoding, "gzip") == 0;
    if (!whole || (!out->gzip && strcmp(encoding, "plain"))) {
        error_set(err, SSX_ERROR_PROTOCOL, "the host's shell answered something that can't be read: \"%s\"", text);
        return GREETING_BROKEN;
    }
    return GREETING_NEED;
}

/* An answer line of the bootstrap script: PREFIX NONCE REST\n. Returns where REST starts, NULL if there is none; *end
 * is its newline, NULL while that is missing. */
static const char *find_line(const char *bytes, size_t n, const char *prefix, const char *nonce, const char **start, const char **end)
{
    char words[64];
    snprintf(words, sizeof words, "%s 1 %s ", prefix, nonce);
    if (!(*start = find(bytes, n, words)))
        return NULL;
    const char *rest = *start + strlen(words);
    *end = memchr(rest, '\n', n - (size_t)(rest - bytes));
    return rest;
}

static enum greeting_answer too_noisy(const char *bytes, struct ssx_error *err)
{
    error_set(err, SSX_ERROR_PROTOCOL, "no agent after %u bytes of other output, which begins \"%.*s\" "
              "(does a start-up file of the login shell print without end?)", NOISE_MAX, 80, bytes);
    return GREETING_BROKEN;
}

enum greeting_answer greeting_find(struct greeting *out, const char *nonce, const void *bytes, size_t n, struct ssx_error *err)
{
    static const char tail[4] = {'\r', '\n', '\0', (char)0xff};
    const char *at = bytes, *start, *end, *rest;
    char words[64];
    snprintf(words, sizeof words, "sshexec-agent 1 %s", nonce);
    if ((start = find(at, n, words))) {
        const char *after = start + strlen(words);
        size_t got = n - (size_t)(after - at);
        size_t compare = got < sizeof tail ? got : sizeof tail;
        if (memcmp(after, tail, compare)) {
            error_set(err, SSX_ERROR_PROTOCOL, "something between here and the agent changes bytes (a terminal, a CRLF translator): "
                      "\\r\\n\\x00\\xff arrived as \"%.*s\"", (int)compare, after);
            return GREETING_BROKEN;
        }
        out->noise = (size_t)(start - at);
        out->length = strlen(words) + sizeof tail;
        if (out->noise > NOISE_MAX)
            return too_noisy(at, err);
        return got < sizeof tail ? GREETING_MORE : GREETING_MARKER;
    }
    if ((rest = find_line(at, n, "sshexec-fail", nonce, &start, &end)) && end) {
        size_t length = (size_t)(end - rest);
        while (length && (rest[length - 1] == '\r' || rest[length - 1] == ' '))
            length--;
        error_set(err, SSX_ERROR_UNREACHABLE, "can't start an agent there: %.*s", (int)length, rest);
        return GREETING_BROKEN;
    }
    if ((rest = find_line(at, n, "sshexec-need", nonce, &start, &end)) && end) {
        out->noise = (size_t)(start - at);
        out->length = (size_t)(end + 1 - start);
        return read_need(out, rest, (size_t)(end - rest), err);
    }
    return n > NOISE_MAX ? too_noisy(at, err) : GREETING_MORE;
}

int greeting_never_came(const void *bytes, size_t n, struct ssx_error *err)
{
    size_t show = n < 200 ? n : 200;
    if (!n)
        return error_set(err, SSX_ERROR_UNREACHABLE, "the connection ended before an agent answered");
    return error_set(err, SSX_ERROR_UNREACHABLE, "the connection ended before an agent answered; the host printed \"%.*s\"",
                     (int)show, (const char *)bytes + (n - show));
}
