#include "words.h"

#include "base/error.h"
#include "base/file.h"
#include "wire/json.h"
#include "wire/value.h"
#include "worker/state.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_LONGEST 255 /* bytes of a path of names */

/* The length of the name where word matches ^[a-z][a-z0-9_.]*(:|%)?= ; 0 for any other word. */
static size_t field_name(const char *word)
{
    if (*word < 'a' || *word > 'z')
        return 0;
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    size_t operator_length = word[n] == ':' || word[n] == '%';
    return word[n + operator_length] == '=' ? n : 0;
}

/* The content of a file, or of stdin. A value of the limit's size still has to be told from a longer one. */
static int read_source(struct buf *out, const char *path, bool *read_stdin, struct ssx_error *err)
{
    int rc;
    if (strcmp(path, "-") == 0) {
        if (*read_stdin)
            return error_set(err, SSX_ERROR_USAGE, "stdin can be read only once");
        *read_stdin = true;
        rc = fd_read_all(out, STDIN_FILENO, VALUE_SIZE_MAX, "stdin", err);
    } else {
        rc = file_read(out, path, VALUE_SIZE_MAX, err);
    }
    if (rc && err->code == SSX_ERROR_SYSTEM)
        err->code = SSX_ERROR_USAGE;
    return rc;
}

/* Takes a field's word apart, and reads the file that it may name. */
static int read_field(struct word_list *w, struct word *out, const char *word, size_t n, struct ssx_error *err)
{
    struct buf file = {0};
    bool operator = word[n] != '=';
    const char *value = word + n + 1 + operator;
    *out = (struct word){.name = strndup(word, n), .operator = operator ? word[n] : '='};
    if (!out->name)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    if (value[0] == '@' && value[1] == '@') {
        value++;
    } else if (value[0] == '@' && out->operator != '%') {
        int rc = read_source(&file, value + 1, &w->read_stdin, err);
        out->file = file;
        out->value = buf_length(&file) ? (const char *)buf_data(&file) : "";
        out->n = buf_length(&file);
        return rc ? error_prefix(err, "%s", out->name) : 0;
    }
    out->value = value;
    out->n = strlen(value);
    return 0;
}

/* What %letter stands for; NULL with err. */
static const char *host_value(char letter, const struct word_host *host, struct ssx_error *err)
{
    const char *value = letter == 'h' ? host->parts.host : letter == 'u' ? host->parts.user : letter == 'p' ? host->parts.port
                        : letter == 'n' ? host->number : NULL;
    if (!value)
        error_set(
            err, SSX_ERROR_USAGE,
            "%%%c means nothing; it takes %%h host, %%u user, %%p port, %%n the host's number from 0, %%%% a percent sign",
            letter ? letter : ' ');
    else if (!*value)
        error_set(err, SSX_ERROR_USAGE, letter == 'p' ? "%%p needs a port: give it as host:port or with -p"
                                                      : "%%%c needs a user: give it as user@host or with -l", letter);
    else
        return value;
    return NULL;
}

static int expand(struct buf *out, const struct word *w, const struct word_host *host, struct ssx_error *err)
{
    for (const char *at = w->value; *at; at++) {
        if (*at != '%' || at[1] == '%') {
            buf_add(out, at, 1);
            at += *at == '%';
            continue;
        }
        const char *value = host_value(*++at, host, err);
        if (!value)
            return error_prefix(err, "%s%%=", w->name);
        buf_add_text(out, value);
    }
    return out->failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

static int add_by_host(struct state_builder *b, const struct word *w, const struct word_host *host, struct ssx_error *err)
{
    struct buf text = {0};
    if (!host)
        return error_set(err, SSX_ERROR_USAGE,
                         "%s%%=...: a value that differs by host is for several hosts; for one, write %s=...", w->name,
                         w->name);
    int rc = expand(&text, w, host, err);
    if (rc == 0)
        rc = state_builder_text(b, w->name, buf_length(&text) ? (const char *)buf_data(&text) : "", buf_length(&text), err);
    buf_free(&text);
    return rc;
}

static int add_field(struct state_builder *b, const struct word *w, const struct word_host *host, struct ssx_error *err)
{
    if (w->operator == '%')
        return add_by_host(b, w, host, err);
    return w->operator == ':' ? state_builder_json(b, w->name, w->value, w->n, err) : state_builder_text(b, w->name, w->value, w->n, err);
}

static int base_failed(const char *path, struct ssx_error *err)
{
    error_prefix(err, "--state %s", path);
    if (err->code == SSX_ERROR_PROTOCOL)
        err->code = SSX_ERROR_REFUSED;
    return -1;
}

/* A whole state: JSON if its first byte that isn't white space is a brace (no msgpack map of fewer than 12 fields
 * starts so, and 0x7b alone is a number), else msgpack. */
static int read_base(struct buf *out, const char *path, bool *read_stdin, struct ssx_error *err)
{
    struct buf text = {0};
    int rc = read_source(&text, path, read_stdin, err);
    if (rc == 0) {
        const unsigned char *at = buf_data(&text);
        size_t n = buf_length(&text), i = 0;
        while (i < n && isspace(at[i]))
            i++;
        if (i < n && at[i] == '{')
            rc = json_to_msgpack(out, (const char *)at, n, err);
        else if ((rc = buf_add(out, at, n)) == 0 && (rc = value_scan(at, n, err)))
            error_prefix(err, "it is neither a JSON object nor a msgpack map");
    }
    if (rc)
        base_failed(path, err);
    buf_free(&text);
    return rc;
}

static int read_words(struct word_list *w, char **words, int count, struct ssx_error *err)
{
    for (int i = 0; i < count; i++) {
        size_t n = field_name(words[i]);
        if (!n && !*words[i])
            return error_set(err, SSX_ERROR_USAGE, "an empty word where a host or field=value should be (no host means this machine)");
        if (!n && w->host)
            return error_set(
                err, SSX_ERROR_USAGE,
                "two hosts, %s and %s: several stand behind -w, as %s,%s (a field is name=value; words for the worker stand behind --)",
                w->host, words[i], w->host, words[i]);
        if (!n) {
            w->host = words[i];
            continue;
        }
        if (n > NAME_LONGEST)
            return error_set(err, SSX_ERROR_USAGE, "the field name %.40s... is too long", words[i]);
        struct word *word = &w->words[w->count++];
        if (read_field(w, word, words[i], n, err))
            return -1;
        w->by_host |= word->operator == '%';
    }
    return 0;
}

const char *words_host(char **words, int count)
{
    for (int i = 0; i < count; i++)
        if (*words[i] && !field_name(words[i]))
            return words[i];
    return NULL;
}

int words_read(struct word_list *w, const struct descriptor *d, char **words, int count, char **rest,
               const char *state_file, struct ssx_error *err)
{
    *w = (struct word_list){.descriptor = d, .state_file = state_file, .rest = rest, .words = calloc((size_t)count + 1, sizeof *w->words)};
    if (!w->words)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    return (state_file && read_base(&w->base, state_file, &w->read_stdin, err)) || read_words(w, words, count, err) ? -1 : 0;
}

void words_forget(struct word_list *w)
{
    for (size_t i = 0; i < w->count; i++) {
        free(w->words[i].name);
        buf_free(&w->words[i].file);
    }
    free(w->words);
    buf_free(&w->base);
}

static int build(struct state_builder *b, const struct word_list *w, const struct word_host *host, struct ssx_error *err)
{
    if (w->state_file && state_builder_base(b, buf_data(&w->base), buf_length(&w->base), err))
        return base_failed(w->state_file, err);
    if (host && host->state_size && state_builder_base(b, host->state, host->state_size, err))
        return error_prefix(err, "--state-map");
    for (size_t i = 0; i < w->count; i++)
        if (add_field(b, &w->words[i], host, err))
            return -1;
    for (char **rest = w->rest; rest && *rest; rest++)
        if (state_builder_rest(b, *rest, err))
            return -1;
    return w->last ? add_field(b, w->last, host, err) : 0;
}

int words_state(struct buf *out, const struct word_list *w, const struct word_host *host, struct ssx_error *err)
{
    struct state_builder *b = state_builder_new(w->descriptor);
    if (!b)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    int rc = build(b, w, host, err) || state_builder_finish(b, out, err) ? -1 : 0;
    state_builder_free(b);
    return rc;
}

/* What all hosts have; a field that differs by host is none that an item adds to. */
static int build_common(struct state_builder *b, const struct word_list *w, struct ssx_error *err)
{
    struct word_list common = *w;
    common.words = calloc(w->count + 1, sizeof *common.words);
    common.count = 0;
    for (size_t i = 0; common.words && i < w->count; i++)
        if (w->words[i].operator != '%')
            common.words[common.count++] = w->words[i];
    int rc = common.words ? build(b, &common, NULL, err) : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    free(common.words);
    return rc;
}

int words_items(struct items *out, const struct word_list *w, const struct word_items *items, size_t *failed, struct ssx_error *err)
{
    struct state_builder *b = state_builder_new(w->descriptor);
    *failed = items->count;
    int rc = b ? build_common(b, w, err) : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < items->count; i++) {
        struct buf fields = {0};
        rc = state_builder_try(b, items->field, items->operator == ':', items->texts[i].at, items->texts[i].n, &fields, err) ||
             items_add(out, buf_data(&fields), buf_length(&fields), err);
        buf_free(&fields);
        *failed = rc ? i : items->count;
    }
    state_builder_free(b);
    return rc ? -1 : 0;
}

int words_parse(struct buf *out, const char **host, bool *read_stdin, const struct descriptor *d, char **words, int count, char **rest,
                const char *state_file, struct ssx_error *err)
{
    struct word_list w;
    int rc = words_read(&w, d, words, count, rest, state_file, err) || words_state(out, &w, NULL, err) ? -1 : 0;
    *host = w.host;
    *read_stdin = w.read_stdin;
    words_forget(&w);
    return rc;
}
