#include "transport/target.h"

#include "base/error.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* host[:port], [v6], [v6]:port, bare v6 (two colons or more). port is NULL where there is none. */
struct place { const char *host; size_t host_length; const char *port; };

static int split_place(struct place *out, const char *text)
{
    const char *colon = strchr(text, ':');
    *out = (struct place){text, strlen(text), NULL};
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -1;
        *out = (struct place){text + 1, (size_t)(end - text - 1), end[1] ? end + 2 : NULL};
    } else if (colon && !strchr(colon + 1, ':')) {
        *out = (struct place){text, (size_t)(colon - text), colon + 1};
    }
    return out->host_length ? 0 : -1;
}

static bool is_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    unsigned value = 0;
    if (!n || n > 5 || text[n])
        return false;
    for (const char *p = text; *p; p++)
        value = value * 10 + (unsigned)(*p - '0');
    return value >= 1 && value <= 65535;
}

static void add_list(struct words *w, const char *flag, const char *const *values)
{
    for (; values && *values; values++) {
        words_add(w, flag);
        words_add(w, *values);
    }
}

static void add_one(struct words *w, const char *flag, const char *value)
{
    const char *const list[] = {value, NULL};
    add_list(w, flag, list);
}

/* The host's text, taken apart; *user is how many bytes of it name the user, with the @. */
static int read_host(struct place *out, size_t *user, const struct transport_target *t, struct ssx_error *err)
{
    const char *at = strrchr(t->host, '@');
    const char *place_text = at ? at + 1 : t->host;
    *user = (size_t)(place_text - t->host);
    for (const char *p = t->host; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127)
            return error_set(err, SSX_ERROR_USAGE, "'%s' can't be a host: it holds a blank or a control character", t->host);
    if (at == t->host || t->host[0] == '-' || place_text[0] == '-' || split_place(out, place_text))
        return error_set(err, SSX_ERROR_USAGE, "'%s' can't be a host: want host, user@host, host:port or [address]:port", t->host);
    if (out->port && !is_port(out->port))
        return error_set(err, SSX_ERROR_USAGE, "'%s' can't be a host: '%s' is not a port (1 to 65535)", t->host, out->port);
    return 0;
}

static int too_long(const struct transport_target *t, struct ssx_error *err)
{
    return error_set(err, SSX_ERROR_USAGE, "'%.40s...' can't be a host: it is too long", t->host);
}

int target_ssh_words(struct words *options, struct words *host, const struct transport_target *t, struct ssx_error *err)
{
    struct place place;
    size_t user;
    char name[1024];
    if (read_host(&place, &user, t, err))
        return -1;
    add_one(options, "-F", t->config_file);
    add_one(options, "-p", place.port ? place.port : t->port);
    add_one(options, "-l", t->login);
    add_list(options, "-i", t->identities);
    add_list(options, "-o", t->options);
    if (user + place.host_length >= sizeof name)
        return too_long(t, err);
    snprintf(name, sizeof name, "%.*s%.*s", (int)user, t->host, (int)place.host_length, place.host);
    words_add(host, name);
    if (options->failed || host->failed)
        return error_set(err, SSX_ERROR_SYSTEM, "can't reach %s: out of memory", t->host);
    return 0;
}

int target_split(struct target_parts *out, const struct transport_target *t, struct ssx_error *err)
{
    struct place place = {"", 0, NULL};
    size_t user = 0;
    *out = (struct target_parts){0};
    if (t->host && read_host(&place, &user, t, err))
        return -1;
    if (user > sizeof out->user || place.host_length >= sizeof out->host)
        return too_long(t, err);
    memcpy(out->host, place.host, place.host_length);
    snprintf(out->port, sizeof out->port, "%s", place.port ? place.port : t->port ? t->port : "");
    if (t->login || user)
        snprintf(out->user, sizeof out->user, "%.*s", t->login ? (int)sizeof out->user : (int)user - 1, t->login ? t->login : t->host);
    return 0;
}

void target_log(const struct transport_target *t, int level, const char *format, ...)
{
    if (!t->log)
        return;
    char text[SSX_ERROR_TEXT], safe[SSX_ERROR_TEXT];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    text_escape(safe, sizeof safe, text, strlen(text));
    t->log(t->log_ctx, level, safe);
}
