#include "client/bootstrap.h"

#include "base/error.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* One line for any login shell: single quotes around a POSIX script that holds no quote, backslash, newline or exclamation mark.
 *
 * $1 ... are the places to keep things in, best first. Those in shared directories count only while they are ours, so that nobody can put a program
 * there for us to run. The hot path is tests and an exec, without a fork. */
#define START "exec /bin/sh -c '"
#define PLACES \
    "u=${LOGNAME:-$USER}; s=/dev/shm/sshexec-$u; " \
    "set -- \"${XDG_CACHE_HOME:-${HOME:-$s}/.cache}/sshexec\" \"${XDG_RUNTIME_DIR:-/dev/shm}/sshexec-$u\" \"$s\" \"/tmp/sshexec-$u\"; "
#define SHORT_LIVED_PLACES "set -- \"${XDG_RUNTIME_DIR:-/dev/shm}\" /dev/shm /tmp \"${HOME:-/var/tmp}\"; "
#define FIND \
    "for d; do a=$d/agents/%s; test -O \"$d\" && test -O \"$a\" && test -x \"$a\" && exec \"$a\" --store \"$d\"; done; "
#define LISTEN "read -r g v n; fail() { echo \"sshexec-fail 1 $n\" $*; exit 1; }; "

/* Finds a place that takes a file of the agent's size and lets it run, before asking for the agent: what was sent can't be asked for twice. A file that
 * holds one shell command stands in for the agent. $t is where it will be, $k what to make first. */
#define PROBE \
    "set -f; umask 077; t=; w=; y=; drop() { rm -f \"$t\"; }; trap drop EXIT; trap \"exit 1\" HUP INT TERM; " \
    "probe() { mkdir -p \"$k\" && test -O \"$k\" -o \"$k\" = \"$d\" && head -c %zu /dev/zero >\"$t\" && echo exit >\"$t\" && chmod 700 \"$t\" && \"$t\"; }; " \
    "for d; do k=$d%s; t=$k/.sshexec-$n; w=$(probe 2>&1) && y=1 && break; rm -f \"$t\"; x=\"$x; $w\"; done; " \
    "test \"$y\" || fail no directory takes the agent and lets it run: full, read-only or noexec \"$x\"; "
#define RECEIVE \
    "z=plain; command -v gzip >/dev/null 2>&1 && z=gzip; echo \"sshexec-need 1 $n $(uname -s) $(uname -m) $z\"; " \
    "take() { if test $z = gzip; then head -c %zu | gzip -dc; else head -c %zu; fi; }; " \
    "e=$( { take >\"$t\"; } 2>&1) || fail \"$e\"; " \
    "test \"$(sha256sum <\"$t\" | cut -c1-64)\" = %s || fail what arrived in \"$d\" is not what was sent \"$e\"; " \
    "e=$(\"$t\" --version 2>&1 >/dev/null) || fail it does not run in \"$d: $e\"; "
#define KEEP "e=$(mv -f \"$t\" \"$d/agents/%s\" 2>&1) || fail \"$e\"; exec \"$d/agents/%s\" --store \"$d\"'"

static int add_keeping(struct buf *out, const struct agent_image *a)
{
    return buf_printf(out, START PLACES FIND LISTEN PROBE RECEIVE KEEP, a->digest, a->size, "/agents", a->packed_size, a->size, a->digest, a->digest,
                      a->digest);
}

static int add_finding(struct buf *out, const struct agent_image *a)
{
    return buf_printf(out, START PLACES FIND "command -v sshexec-agent >/dev/null 2>&1 && exec sshexec-agent; " LISTEN
                      "fail there is none, and none may be brought: --no-bootstrap'", a->digest);
}

static int add_ephemeral(struct buf *out, const struct agent_image *a)
{
    return buf_printf(out, START SHORT_LIVED_PLACES LISTEN PROBE RECEIVE "exec \"$t\" --ephemeral'", a->size, "", a->packed_size, a->size, a->digest);
}

int bootstrap_command(struct buf *out, const struct agent_image *agent, enum bootstrap_mode mode)
{
    int rc = mode == BOOTSTRAP_CACHE ? add_keeping(out, agent) : mode == BOOTSTRAP_NEVER ? add_finding(out, agent) : add_ephemeral(out, agent);
    return rc ? rc : buf_add(out, "", 1);
}

int bootstrap_clean_command(struct buf *out)
{
    int rc = buf_printf(out, START PLACES "for d; do test -O \"$d\" || continue; for k in agents objects; do test -O \"$d/$k\" && rm -rf \"$d/$k\" && "
                        "echo \"$d/$k\"; done; rmdir \"$d\" 2>/dev/null; done'");
    return rc ? rc : buf_add(out, "", 1);
}

int greeting_add(struct buf *out, const char *nonce) { return buf_printf(out, "sshexec 1 %s\n", nonce); }

/* The first place in the bytes where the text stands, or NULL. */
static const char *find(const char *bytes, size_t n, const char *text) { return n ? memmem(bytes, n, text, strlen(text)) : NULL; }

static enum greeting_answer read_need(struct greeting *out, const char *line, size_t n, struct ssx_error *err)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)n, line);
    char encoding[8];
    bool whole = sscanf(text, "%31s %31s %7s", out->kernel, out->machine, encoding) == 3;
    out->gzip = whole && strcmp(encoding, "gzip") == 0;
    if (!whole || (!out->gzip && strcmp(encoding, "plain"))) {
        error_set(err, SSX_ERROR_PROTOCOL, "the host's shell answered something that can't be read: \"%s\"", text);
        return GREETING_BROKEN;
    }
    return GREETING_NEED;
}

/* An answer line of the bootstrap script: PREFIX NONCE REST\n. Returns where REST starts, NULL if there is none; *end is its newline, NULL while that is missing. */
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
        error_set(err, SSX_ERROR_UNREACHABLE, "the host can't store the agent: %.*s", (int)(end - rest), rest);
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
