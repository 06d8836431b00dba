#include "transport/authorized_key.h"

#include "base/base64.h"
#include "base/error.h"
#include "base/text.h"
#include "transport/quote.h"

#include <stdint.h>
#include <string.h>

#define LINE_MAX_BYTES (8u << 10) /* sshd before 9.x reads no line over 16 KiB; people read none over a few */
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+,:@%=-" /* means itself to every shell, wherever it stands */

static const char *const types[] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
                                    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"};

/* --- the key --- */

static bool is_known(const char *type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return false;
}

/* One line of text that shows what it holds: so a key can't bring a second line, nor hide a part of itself. */
static int check_text(const char *text, size_t n, const char *name, struct ssx_error *err)
{
    if (memmem(text, n, "PRIVATE KEY", 11))
        return error_set(err, SSX_ERROR_USAGE, "%s is a private key; give the public one, which ends in .pub", name);
    if (!n)
        return error_set(err, SSX_ERROR_USAGE, "%s is empty, not a public key", name);
    if (memchr(text, '\n', n))
        return error_set(err, SSX_ERROR_USAGE, "%s holds more than one line; it takes one public key", name);
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 127)
            return error_set(err, SSX_ERROR_USAGE, "%s holds a control character, so it is not a public key", name);
    return text_is_utf8(text, n) ? 0 : error_set(err, SSX_ERROR_USAGE, "%s is not text, so it is not a public key", name);
}

/* A key is strings, each behind its length; the first is its type. */
static int check_blob(const char *base64, size_t n, const char *type)
{
    struct buf blob = {0};
    bool good = base64_decode(&blob, base64, n) == 0;
    size_t fields = 0;
    while (good && buf_length(&blob)) {
        const unsigned char *at = buf_data(&blob);
        size_t left = buf_length(&blob),
               size = left < 4 ? SIZE_MAX : (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        good = left >= 4 && size <= left - 4 && (fields || (size == strlen(type) && memcmp(at + 4, type, size) == 0));
        fields++;
        buf_consume(&blob, good ? 4 + size : 0);
    }
    buf_free(&blob);
    return good && fields >= 2 ? 0 : -1;
}

int public_key_read(struct public_key *out, const char *text, size_t n, const char *name, struct ssx_error *err)
{
    memset(out, 0, sizeof *out);
    while (n && strchr("\r\n \t", text[n - 1]))
        n--;
    if (check_text(text, n, name, err))
        return -1;
    size_t type = 0, blob = 0;
    while (type < n && text[type] != ' ' && text[type] != '\t')
        type++;
    size_t at = type + (type < n);
    while (at + blob < n && text[at + blob] != ' ' && text[at + blob] != '\t')
        blob++;
    if (type < sizeof out->type)
        memcpy(out->type, text, type);
    if (!is_known(out->type))
        return error_set(
            err, SSX_ERROR_USAGE,
            "%s begins with \"%.*s\", which is no type of key that can be authorized (ed25519, ecdsa, rsa, and security keys can)",
            name, type < 60 ? (int)type : 60, text);
    if (check_blob(text + at, blob, out->type))
        return error_set(err, SSX_ERROR_USAGE, "%s is damaged: what follows %s is not such a key in base64", name, out->type);
    size_t comment = at + blob + (at + blob < n);
    if (buf_add(&out->blob, text + at, blob) || buf_add(&out->blob, "", 1) ||
        buf_add(&out->comment, text + comment, n - comment) || buf_add(&out->comment, "", 1)) {
        public_key_free(out);
        return error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", name);
    }
    return 0;
}

void public_key_free(struct public_key *k)
{
    buf_free(&k->blob);
    buf_free(&k->comment);
}

/* --- the command --- */

static int add_word(struct buf *out, const char *text, const char *what, struct ssx_error *err)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127 || strchr("\\!", *c))
            return error_set(
                err, SSX_ERROR_USAGE,
                "%s \"%s\": a control character, a backslash or an exclamation mark can't be quoted for every login shell; use another path",
                what, text);
    if (!text_is_utf8(text, strlen(text)))
        return error_set(err, SSX_ERROR_USAGE, "%s \"%s\" is not UTF-8; use another path", what, text);
    return *text && !text[strspn(text, PLAIN)] ? buf_add_text(out, text) : shell_quote(out, text);
}

int forced_path(struct buf *out, const char *path, const char *what, struct ssx_error *err)
{
    if (strncmp(path, "~/", 2) == 0)
        return buf_add_text(out, "~/") || add_word(out, path + 2, what, err) ? -1 : 0;
    if (*path != '/')
        return error_set(err, SSX_ERROR_USAGE, "%s \"%s\" is a path of the host's: it begins with / or ~/", what, path);
    return add_word(out, path, what, err);
}

static int add_script(struct buf *out, const struct forced_command *c, struct ssx_error *err)
{
    buf_add_text(out, "unset SSH_ORIGINAL_COMMAND; ");
    if (c->profile && (buf_add_text(out, ". ") || forced_path(out, c->profile, "the profile", err) ||
                       buf_add_text(out, " </dev/null >&2; "))) /* it must not eat the greeting, nor speak in the agent's place */
        return -1;
    if (buf_add_text(out, "exec ") || forced_path(out, c->agent, "the agent", err))
        return -1;
    if (c->store && (buf_add_text(out, " --store ") || forced_path(out, c->store, "the store", err)))
        return -1;
    if (c->plugin_path && (buf_add_text(out, " --plugin-path ") || forced_path(out, c->plugin_path, "the plugin path", err)))
        return -1;
    return buf_add_text(out, c->policy) || buf_add(out, "", 1) ? -1 : 0;
}

int forced_command(struct buf *out, const struct forced_command *c, struct ssx_error *err)
{
    struct buf script = {0};
    int rc = add_script(&script, c, err);
    if (rc == 0)
        rc = buf_add_text(out, "exec /bin/sh -c ") || shell_quote(out, (const char *)buf_data(&script));
    buf_free(&script);
    return rc ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the forced command") : 0;
}

/* --- the line --- */

static int add_option(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",%s=\"", name);
    for (; *value; value++) /* sshd knows one escape, for the quote */
        buf_add(out, *value == '"' ? "\\\"" : value, *value == '"' ? 2 : 1);
    return buf_add(out, "\"", 1);
}

/* Patterns as sshd takes them; a backslash before the closing quote would quote that. */
static int check_from(const char *from, struct ssx_error *err)
{
    size_t n = strspn(from, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:/*?!,%[]-");
    return n && !from[n]
               ? 0
               : error_set(err, SSX_ERROR_USAGE,
                           "--from \"%s\" is not a list of host patterns such as 192.0.2.0/24,*.example.net", from);
}

int authorized_key_line(struct buf *out, const struct public_key *k, const char *from, const char *command, struct ssx_error *err)
{
    size_t had = buf_length(out);
    if (from && check_from(from, err))
        return -1;
    int rc = buf_add_text(out, "restrict") || (from && add_option(out, "from", from)) || add_option(out, "command", command);
    const char *comment = (const char *)buf_data(&k->comment);
    rc = rc || buf_printf(out, " %s %s%s%s", k->type, (const char *)buf_data(&k->blob), *comment ? " " : "", comment);
    if (rc)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the line");
    if (buf_length(out) - had > LINE_MAX_BYTES)
        return error_set(err, SSX_ERROR_USAGE,
                         "the line would be %zu bytes long; sshd takes %u at most: shorten the paths or lists",
                         buf_length(out) - had, LINE_MAX_BYTES);
    return 0;
}
