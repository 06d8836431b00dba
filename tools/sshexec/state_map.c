#include "state_map.h"

#include "base/error.h"
#include "base/file.h"
#include "wire/json.h"
#include "wire/value.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (256u << 20)
#define BLANKS " \t\r\n"

static int add_entry(struct state_map *m, const char *host, size_t length, size_t at, size_t n, struct ssx_error *err)
{
    if ((m->count & (m->count - 1)) == 0) { /* a power of two, so full */
        struct map_entry *more = realloc(m->entries, (m->count ? 2 * m->count : 1) * sizeof *more);
        if (!more)
            return error_set(err, SSX_ERROR_SYSTEM, "out of memory for states");
        m->entries = more;
    }
    m->entries[m->count] = (struct map_entry){strndup(host, length), at, n};
    return m->entries[m->count].host ? (m->count++, 0) : error_set(err, SSX_ERROR_SYSTEM, "out of memory for states");
}

static int read_object(struct state_map *m, const char *text, size_t n, struct ssx_error *err)
{
    size_t pairs, length;
    const char *host;
    if (json_to_msgpack(&m->values, text, n, err))
        return -1;
    const unsigned char *start = buf_data(&m->values);
    struct value_reader r = value_reader(start, buf_length(&m->values));
    int rc = value_take_map(&r, &pairs);
    for (; rc == 0 && pairs; pairs--) {
        if (value_take_str(&r, &host, &length))
            return error_set(err, SSX_ERROR_USAGE, "a host's name can't hold a NUL");
        const unsigned char *at = r.at;
        value_skip(&r);
        rc = add_entry(m, host, length, (size_t)(at - start), (size_t)(r.at - at), err);
    }
    return rc;
}

static int read_line(struct state_map *m, const char *line, size_t n, size_t number, struct ssx_error *err)
{
    size_t start = 0, name, at = buf_length(&m->values);
    while (start < n && strchr(BLANKS, line[start]))
        start++;
    if (start == n || line[start] == '#')
        return 0;
    for (name = start; name < n && !strchr(BLANKS, line[name]);)
        name++;
    if (json_to_msgpack(&m->values, line + name, n - name, err))
        return error_prefix(err, "line %zu", number);
    return add_entry(m, line + start, name - start, at, buf_length(&m->values) - at, err);
}

static int read_lines(struct state_map *m, const char *text, size_t n, struct ssx_error *err)
{
    const char *end = text + n;
    for (size_t number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end;
        if (read_line(m, text, (size_t)(stop - text), number, err))
            return -1;
        text = newline ? newline + 1 : end;
    }
    return 0;
}

/* Those of one host in the order of the file: the last is the one that counts. */
static int by_host(const void *a, const void *b)
{
    const struct map_entry *x = a, *y = b;
    int rc = strcmp(x->host, y->host);
    return rc ? rc : (x->at > y->at) - (x->at < y->at);
}

int state_map_read(struct state_map *m, const char *path, struct ssx_error *err)
{
    struct buf text = {0};
    *m = (struct state_map){0};
    int rc = strcmp(path, "-") ? file_read(&text, path, FILE_MAX, err) : fd_read_all(&text, STDIN_FILENO, FILE_MAX, "stdin", err);
    if (rc == 0) {
        const char *at = buf_length(&text) ? (const char *)buf_data(&text) : "";
        size_t n = buf_length(&text), blanks = 0;
        while (blanks < n && strchr(BLANKS, at[blanks]))
            blanks++;
        rc = blanks < n && at[blanks] == '{' ? read_object(m, at, n, err) : read_lines(m, at, n, err);
    }
    buf_free(&text);
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, by_host);
    if (rc && err->code == SSX_ERROR_SYSTEM)
        err->code = SSX_ERROR_USAGE;
    return rc ? error_prefix(err, "--state-map %s", path) : 0;
}

void state_map_free(struct state_map *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->entries[i].host);
    free(m->entries);
    buf_free(&m->values);
}

const void *state_map_find(const struct state_map *m, const char *host, size_t *n)
{
    size_t low = 0, high = m->count;
    while (low < high) { /* to behind the last one of that name */
        size_t middle = low + (high - low) / 2;
        if (strcmp(m->entries[middle].host, host) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || strcmp(m->entries[low - 1].host, host))
        return NULL;
    *n = m->entries[low - 1].n;
    return buf_data(&m->values) + m->entries[low - 1].at;
}
