#include "words.h"

#include "base/error.h"
#include "base/file.h"
#include "wire/json.h"
#include "wire/value.h"
#include "worker/state.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

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

static int add_field(struct state_builder *b, const char *word, size_t n, bool *read_stdin, struct ssx_error *err)
{
    char name[256];
    struct buf file = {0};
    if (n >= sizeof name)
        return error_set(err, SSX_ERROR_USAGE, "the field name %.40s... is too long", word);
    memcpy(name, word, n);
    name[n] = 0;
    if (word[n] == '%')
        return error_set(err, SSX_ERROR_USAGE, "%s%%=...: a value that differs by host is for several hosts; for one, write %s=...", name, name);
    bool json = word[n] == ':';
    const char *value = word + n + 1 + json;
    size_t length = strlen(value);
    if (value[0] == '@' && value[1] == '@') {
        value++, length--;
    } else if (value[0] == '@') {
        if (read_source(&file, value + 1, read_stdin, err)) {
            buf_free(&file);
            return error_prefix(err, "%s", name);
        }
        value = (const char *)buf_data(&file);
        length = buf_length(&file);
    }
    int rc = json ? state_builder_json(b, name, length ? value : "", length, err) : state_builder_text(b, name, length ? value : "", length, err);
    buf_free(&file);
    return rc;
}

/* A whole state: JSON if its first byte that isn't white space is a brace (no msgpack map of fewer than 12 fields starts so, and 0x7b alone is a number), else msgpack. */
static int add_base(struct state_builder *b, const char *path, bool *read_stdin, struct ssx_error *err)
{
    struct buf text = {0}, value = {0};
    int rc = read_source(&text, path, read_stdin, err);
    if (rc == 0) {
        const unsigned char *at = buf_data(&text);
        size_t n = buf_length(&text), i = 0;
        while (i < n && isspace(at[i]))
            i++;
        if (i < n && at[i] == '{')
            rc = json_to_msgpack(&value, (const char *)at, n, err);
        else if ((rc = buf_add(&value, at, n)) == 0 && (rc = value_scan(at, n, err)))
            error_prefix(err, "it is neither a JSON object nor a msgpack map");
        if (rc == 0)
            rc = state_builder_base(b, buf_data(&value), buf_length(&value), err);
    }
    if (rc) {
        error_prefix(err, "--state %s", path);
        if (err->code == SSX_ERROR_PROTOCOL)
            err->code = SSX_ERROR_REFUSED;
    }
    buf_free(&text);
    buf_free(&value);
    return rc;
}

static int add_words(struct state_builder *b, const char **host, bool *read_stdin, char **words, int count, char **rest, struct ssx_error *err)
{
    for (int i = 0; i < count; i++) {
        size_t n = field_name(words[i]);
        if (n ? add_field(b, words[i], n, read_stdin, err) : 0)
            return -1;
        if (!n && !*words[i])
            return error_set(err, SSX_ERROR_USAGE, "an empty word where a host or field=value should be (no host means this machine)");
        if (!n && *host)
            return error_set(err, SSX_ERROR_USAGE, "two hosts, %s and %s: one host at a time (a field is name=value; words for the worker stand behind --)", *host, words[i]);
        if (!n)
            *host = words[i];
    }
    for (; rest && *rest; rest++)
        if (state_builder_rest(b, *rest, err))
            return -1;
    return 0;
}

const char *words_host(char **words, int count)
{
    for (int i = 0; i < count; i++)
        if (*words[i] && !field_name(words[i]))
            return words[i];
    return NULL;
}

int words_parse(struct buf *out, const char **host, bool *read_stdin, const struct descriptor *d, char **words, int count, char **rest,
                const char *state_file, struct ssx_error *err)
{
    struct state_builder *b = state_builder_new(d);
    *host = NULL;
    *read_stdin = false;
    if (!b)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    int rc = (state_file && add_base(b, state_file, read_stdin, err)) || add_words(b, host, read_stdin, words, count, rest, err) ||
                     state_builder_finish(b, out, err)
                 ? -1
                 : 0;
    state_builder_free(b);
    return rc;
}
