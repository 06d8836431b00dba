#include "transport/template.h"

#include "base/buf.h"
#include "base/error.h"
#include "transport/quote.h"

#include <stdio.h>
#include <string.h>

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* Takes the next word off the line: its quotes removed, its % left as they are. Returns 1, 0 at the end of the line, or
 * -1. */
static int next_word(struct buf *out, const char **line, struct ssx_error *err)
{
    const char *at = *line;
    char quote = 0;
    while (is_blank(*at))
        at++;
    if (!*at)
        return 0;
    for (; *at && (quote || !is_blank(*at)); at++) {
        bool escapes = *at == '\\' && (!quote || (quote == '"' && (at[1] == '"' || at[1] == '\\')));
        if (escapes && !at[1])
            return error_set(err, SSX_ERROR_USAGE, "it ends in a backslash");
        if (escapes)
            buf_add(out, ++at, 1);
        else if (quote ? *at == quote : *at == '\'' || *at == '"')
            quote = quote ? 0 : *at;
        else
            buf_add(out, at, 1);
    }
    if (quote)
        return error_set(err, SSX_ERROR_USAGE, "a %c quote is not closed", quote);
    *line = at;
    return buf_add(out, "", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 1;
}

/* The text that %letter stands for; NULL with err. */
static const char *value_of(char letter, const struct template_values *v, struct ssx_error *err)
{
    static const struct { char letter; const char *what, *how; } known[] = {
        {'h', "a host", "name one"}, {'p', "a port", "give it as host:port or with -p"}, {'u', "a user", "give it as user@host or with -l"},
    };
    const char *const values[] = {v->host, v->port, v->user};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].letter != letter)
            continue;
        if (!values[i] || !*values[i])
            error_set(err, SSX_ERROR_USAGE, "%%%c needs %s: %s", letter, known[i].what, known[i].how);
        else if (values[i][0] == '-')
            error_set(err, SSX_ERROR_USAGE, "%%%c can't be '%s', which would be read as an option", letter, values[i]);
        else
            return values[i];
        return NULL;
    }
    error_set(err, SSX_ERROR_USAGE,
              "%%%c means nothing; it takes %%h host, %%p port, %%u user, %%c the agent's command, %%%% a percent sign",
              letter ? letter : ' ');
    return NULL;
}

static int expand_text(struct buf *out, const char *text, const struct template_values *v, struct ssx_error *err)
{
    for (; *text; text++) {
        if (*text != '%') {
            buf_add(out, text, 1);
        } else if (*++text == '%') {
            buf_add(out, "%", 1);
        } else if (*text == 'c') {
            shell_quote(out, v->command);
        } else {
            const char *value = value_of(*text, v, err);
            if (!value)
                return -1;
            buf_add_text(out, value);
        }
    }
    return buf_add(out, "", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

static int expand_word(struct words *out, const char *word, const struct template_values *v, struct ssx_error *err)
{
    struct buf text = {0};
    if (strcmp(word, "%c") == 0) {
        words_add(out, "/bin/sh");
        words_add(out, "-c");
        words_add(out, v->command);
        return 0;
    }
    int rc = expand_text(&text, word, v, err);
    if (!rc)
        words_add(out, (const char *)buf_data(&text));
    buf_free(&text);
    return rc;
}

bool template_holds(const char *text, char letter)
{
    for (; (text = strchr(text, '%')) && text[1]; text += 2)
        if (text[1] == letter)
            return true;
    return false;
}

int template_expand(struct words *out, const char *text, const struct template_values *values, struct ssx_error *err)
{
    int rc = 1;
    if (!template_holds(text, 'c'))
        return error_set(err, SSX_ERROR_USAGE, "there is no %%c in it, where the agent's command goes");
    while (rc > 0) {
        struct buf word = {0};
        rc = next_word(&word, &text, err);
        if (rc > 0 && expand_word(out, (const char *)buf_data(&word), values, err))
            rc = -1;
        buf_free(&word);
    }
    return !rc && out->failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : rc;
}

int template_check(const char *text, struct ssx_error *err)
{
    static const struct template_values any = {"host", "22", "user", "command"};
    struct words words = {0};
    int rc = template_expand(&words, text, &any, err);
    words_free(&words);
    return rc;
}
