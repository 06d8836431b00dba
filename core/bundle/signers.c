#include "bundle/signers.h"

#include "base/base64.h"
#include "base/error.h"
#include "base/pattern.h"
#include "base/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_BYTES (16u << 10)
#define BLANK " \t"

/* One line, cut into its parts; all of them point into `text`. */
struct signer {
    char *text;
    char *principals, *namespaces;   /* namespaces NULL: any */
    bool authority;
    time_t after, before;            /* 0: no limit */
    char *type, *key;
};

/* --- times --- */

/* Two or four digits into a number between low and high. */
static int take_digits(int *out, const char **at, size_t n, int low, int high)
{
    *out = 0;
    for (size_t i = 0; i < n; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return -1;
        *out = *out * 10 + (**at - '0');
    }
    return *out < low || *out > high ? -1 : 0;
}

int signers_time(time_t *out, const char *text)
{
    struct tm tm = {.tm_isdst = -1};
    size_t n = strlen(text), zone = n > 1 && strcasecmp(text + n - 1, "Z") == 0 ? 1 : n > 3 && strcasecmp(text + n - 3, "UTC") == 0 ? 3 : 0;
    const char *at = text;
    n -= zone;
    if ((n != 8 && n != 12 && n != 14) || take_digits(&tm.tm_year, &at, 4, 1900, 9999) || take_digits(&tm.tm_mon, &at, 2, 1, 12) ||
        take_digits(&tm.tm_mday, &at, 2, 1, 31) ||
        (n > 8 && (take_digits(&tm.tm_hour, &at, 2, 0, 23) || take_digits(&tm.tm_min, &at, 2, 0, 59))) ||
            (n > 12 && take_digits(&tm.tm_sec, &at, 2, 0, 59)))
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int month = tm.tm_mon;
    *out = zone ? timegm(&tm) : mktime(&tm);
    return *out > 0 && tm.tm_mon == month ? 0 : -1; /* 30 February is none */
}

static void show_time(char *out, size_t size, time_t time)
{
    struct tm tm;
    if (!gmtime_r(&time, &tm) || !strftime(out, size, "%Y-%m-%d %H:%M:%S UTC", &tm))
        snprintf(out, size, "%lld", (long long)time);
}

/* --- a line --- */

/* The next word, NUL-ended in place: up to a blank, or in double quotes as a whole. NULL: there is none, or a quote
 * that doesn't end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, BLANK), *end;
    if (!*word)
        return NULL;
    if (*word == '"') {
        end = strchr(++word, '"');
        if (!end || (end[1] && !strchr(BLANK, end[1])))
            return NULL;
    } else {
        end = word + strcspn(word, BLANK);
    }
    *at = end + (*end != 0);
    *end = 0;
    return word;
}

/* The value behind an option's name, in double quotes ("" in it with a backslash, as in authorized_keys), unquoted in
 * place. *at is then behind it. NULL: it isn't one. */
static char *option_value(char **at)
{
    if ((*at)[0] != '=' || (*at)[1] != '"')
        return NULL;
    char *value = *at + 2, *to = value, *from = value;
    while (*from && *from != '"') {
        if (from[0] == '\\' && from[1] == '"')
            from++;
        *to++ = *from++;
    }
    if (!*from)
        return NULL;
    *at = from + 1;
    *to = 0;
    return value;
}

static bool option_is(char **at, const char *name)
{
    size_t n = strlen(name);
    if (strncasecmp(*at, name, n) || !((*at)[n] == '=' || (*at)[n] == ',' || (*at)[n] == 0))
        return false;
    *at += n;
    return true;
}

static int take_time(time_t *out, char **at, const char *name, struct ssx_error *err)
{
    char *value = option_value(at);
    if (!value || *out)
        return error_set(err, SSX_ERROR_USAGE, "%s needs one value in double quotes", name);
    return signers_time(out, value) ? error_set(err, SSX_ERROR_USAGE, "%s=\"%s\" is no time (YYYYMMDD or YYYYMMDDHHMM[SS], and Z for UTC)",
                                                name, value) : 0;
}

static int take_option(struct signer *s, char **at, struct ssx_error *err)
{
    if (option_is(at, "cert-authority"))
        s->authority = true;
    else if (option_is(at, "valid-after"))
        return take_time(&s->after, at, "valid-after", err);
    else if (option_is(at, "valid-before"))
        return take_time(&s->before, at, "valid-before", err);
    else if (!option_is(at, "namespaces"))
        return error_set(err, SSX_ERROR_USAGE, "unknown option \"%.*s\"", (int)strcspn(*at, "=,"), *at);
    else if (s->namespaces || !(s->namespaces = option_value(at)))
        return error_set(err, SSX_ERROR_USAGE, "namespaces needs one value in double quotes");
    return 0;
}

static int take_options(struct signer *s, char *at, struct ssx_error *err)
{
    while (*at) {
        if (take_option(s, &at, err))
            return -1;
        if (*at && *at++ != ',')
            return error_set(err, SSX_ERROR_USAGE, "there is no comma behind an option");
        if (!*at && at[-1] == ',')
            return error_set(err, SSX_ERROR_USAGE, "its options end with a comma");
    }
    if (s->after && s->before && s->before <= s->after)
        return error_set(err, SSX_ERROR_USAGE, "valid-before is not later than valid-after");
    return 0;
}

/* The end of an options word: a blank outside of double quotes. NUL-ends it. */
static char *options_word(char **at)
{
    char *word = *at + strspn(*at, BLANK), *end = word;
    for (bool quoted = false; *end && (quoted || !strchr(BLANK, *end)); end++) {
        if (end[0] == '\\' && end[1] == '"')
            end++;
        else if (*end == '"')
            quoted = !quoted;
    }
    *at = end + (*end != 0);
    *end = 0;
    return word;
}

static bool is_key_type(const char *word)
{
    return strncmp(word, "ssh-", 4) == 0 || strncmp(word, "ecdsa-", 6) == 0 || strncmp(word, "sk-", 3) == 0;
}

/* Cuts a line. Returns 1, 0 for an empty one or a comment, -1 with err. */
static int read_line(struct signer *s, struct ssx_error *err)
{
    char *at = s->text + strspn(s->text, BLANK);
    if (!*at || *at == '#')
        return 0;
    s->principals = next_word(&at);
    if (!s->principals)
        return error_set(err, SSX_ERROR_USAGE, "a quote does not end");
    char *word = options_word(&at);
    if (!is_key_type(word)) {
        if (take_options(s, word, err))
            return -1;
        word = options_word(&at);
    }
    s->type = word;
    s->key = next_word(&at);
    return is_key_type(word) && s->key ? 1 : error_set(err, SSX_ERROR_USAGE, "it has no key (principals, options, key type, key)");
}

/* --- whether it counts --- */

/* Returns 1 for the key of the signature, 0 for another one, -1 with err. */
static int has_key(const struct signer *s, const struct signature *signature, struct ssx_error *err)
{
    struct buf blob = {0};
    struct ssh_string from, type;
    int rc = base64_decode(&blob, s->key, strlen(s->key));
    if (rc == 0) {
        from = (struct ssh_string){buf_data(&blob), buf_length(&blob)};
        rc = ssh_string_take(&type, &from) || !ssh_string_is(&type, s->type) ? -1 : buf_length(&blob) == signature->key.n &&
            memcmp(buf_data(&blob), signature->key.at, signature->key.n) == 0;
    }
    buf_free(&blob);
    return rc < 0 ? error_set(err, SSX_ERROR_USAGE, "its key is damaged") : rc;
}

/* Whether a line of the right key holds now and for us. Returns 0, or -1 with why. */
static int judge(const struct signer *s, const char *identity, time_t now, struct ssx_error *why)
{
    char text[64];
    if (s->authority)
        return error_set(why, SSX_ERROR_REFUSED, "the key is there as cert-authority, and certificates are not supported");
    if (s->namespaces && !pattern_list_matches(s->namespaces, strlen(s->namespaces), SIGNATURE_NAMESPACE, false))
        return error_set(why, SSX_ERROR_REFUSED, "the key is there for namespaces=\"%s\" only, not for " SIGNATURE_NAMESPACE,
                         s->namespaces);
    if (identity && !pattern_list_matches(s->principals, strlen(s->principals), identity, false))
        return error_set(why, SSX_ERROR_REFUSED, "the key is there for %s, not for %s", s->principals, identity);
    if (s->after && now < s->after) {
        show_time(text, sizeof text, s->after);
        return error_set(why, SSX_ERROR_REFUSED, "the key is not valid before %s", text);
    }
    if (s->before && now > s->before) {
        show_time(text, sizeof text, s->before);
        return error_set(why, SSX_ERROR_REFUSED, "the key has expired, it was valid until %s", text);
    }
    return 0;
}

int signers_check(char principals[SIGNERS_PRINCIPALS], const char *text, size_t n, const char *name, const struct signature *s,
                  const char *identity, time_t now,
                  struct ssx_error *err)
{
    char line[LINE_BYTES], key[SIGNATURE_KEY_NAME];
    struct ssx_error why = {0};
    unsigned number = 0;
    bool found = false;
    for (const char *at = text, *end = text + n, *next; at < end; at = next) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        struct signer signer = {.text = line};
        struct ssx_error fault = {0};
        next = newline ? newline + 1 : end;
        number++;
        if (length && at[length - 1] == '\r')
            length--;
        if (length >= sizeof line || memchr(at, 0, length))
            return error_set(err, SSX_ERROR_USAGE, "%s:%u: the line is too long, or no text", name, number);
        memcpy(line, at, length);
        line[length] = 0;
        int rc = read_line(&signer, &fault);
        if (rc == 1)
            rc = has_key(&signer, s, &fault);
        if (rc < 0)
            return error_set(err, SSX_ERROR_USAGE, "%s:%u: %s", name, number, fault.text);
        if (rc == 0 || found || judge(&signer, identity, now, &fault)) {
            if (rc)
                error_set(&why, SSX_ERROR_REFUSED, "%s:%u: %s", name, number, fault.text);
            continue;
        }
        found = true;
        text_escape(principals, SIGNERS_PRINCIPALS, signer.principals, strlen(signer.principals));
    }
    signature_key_name(s, key);
    if (found)
        return 0;
    return why.code ? error_set(err, SSX_ERROR_REFUSED, "%s", why.text)
                    : error_set(err, SSX_ERROR_REFUSED, "%s has no line with the key that signed it, %s %s", name, signature_key_kind(s),
                                key);
}
