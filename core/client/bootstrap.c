#include "client/bootstrap.h"

#include "base/error.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* One line for any login shell: single quotes around a POSIX script that holds no quote, backslash, newline or exclamation mark. The hot
 * path is a test and an exec, without a fork. */
int bootstrap_command(struct buf *out, const struct agent_image *agent)
{
    int rc = buf_printf(out,
        "exec /bin/sh -c '"
        "d=${XDG_CACHE_HOME:-$HOME/.cache}/sshexec/agents; a=$d/%s; test -x \"$a\" && exec \"$a\"; "
        "read -r g v n; t=$a.$$; umask 077; fail() { rm -f \"$t\"; echo \"sshexec-fail 1 $n $*\"; exit 1; }; "
        "e=$(mkdir -p \"$d\" 2>&1) || fail \"$e\"; test -w \"$d\" || fail \"$d is not writable\"; "
        "echo \"sshexec-need 1 $n $(uname -s) $(uname -m)\"; "
        "e=$( { head -c %zu >\"$t\"; } 2>&1) || fail \"$e\"; "
        "test \"$(sha256sum <\"$t\" | cut -c1-64)\" = %s || fail \"what arrived in $d is not what was sent (disk full?)\"; "
        "e=$(chmod 700 \"$t\" 2>&1 && \"$t\" --version 2>&1 >/dev/null) || fail \"$d can not run it: $e\"; "
        "e=$(mv -f \"$t\" \"$a\" 2>&1) || fail \"$e\"; exec \"$a\"'",
        agent->digest, agent->size, agent->digest);
    return rc ? rc : buf_add(out, "", 1);
}

int greeting_add(struct buf *out, const char *nonce) { return buf_printf(out, "sshexec 1 %s\n", nonce); }

/* The first place in the bytes where the text stands, or NULL. */
static const char *find(const char *bytes, size_t n, const char *text) { return memmem(bytes, n, text, strlen(text)); }

static enum greeting_answer read_need(struct greeting *out, const char *line, size_t n, struct ssx_error *err)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)n, line);
    if (sscanf(text, "%31s %31s", out->kernel, out->machine) != 2) {
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
