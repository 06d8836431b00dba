#include "scatter.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "fleet/rerun.h"
#include "worker/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (1u << 30)
#define LABEL_MAX 256 /* bytes; a longer line is cut where it is shown */

/* --- the field --- */

/* "FIELD", or "FIELD:=" for JSON. */
static int take_field(struct scatter *s, const char *word, struct ssx_error *err)
{
    size_t n = strcspn(word, ":=");
    bool json = strcmp(word + n, ":=") == 0;
    if (!n || (word[n] && !json))
        return error_set(err, SSX_ERROR_USAGE, "--scatter: \"%s\" is neither FIELD nor FIELD:= (each item is JSON)", word);
    s->operator = json ? ':' : '=';
    s->field = strndup(word, n);
    return s->field ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory");
}

/* Whether anything that a line of it may hold is secret. One that isn't there is found out when it gets a value. */
static bool is_secret(const struct schema_struct *s, const char *path)
{
    size_t n = strcspn(path, ".");
    const struct schema_field *f = schema_field_find(s, path, n);
    return f && schema_type_is_secret(&f->type);
}

/* --- lines --- */

static int no_memory(size_t count, struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", count); }

static int split(struct scatter *s, const char *text, size_t n, char end, struct ssx_error *err)
{
    const char *at = text, *stop = text + n;
    size_t count = n && stop[-1] != end;
    for (size_t i = 0; i < n; i++)
        count += text[i] == end;
    s->texts = calloc(count + 1, sizeof *s->texts);
    if (!s->texts)
        return no_memory(count, err);
    for (; s->count < count; s->count++) {
        const char *next = memchr(at, end, (size_t)(stop - at));
        s->texts[s->count] = (struct span){at, (size_t)((next ? next : stop) - at)};
        at = next ? next + 1 : stop;
    }
    return 0;
}

static int read_file(struct scatter *s, const char *path, bool nul, struct ssx_error *err)
{
    int rc = strcmp(path, "-") ? file_read(&s->file, path, FILE_MAX, err) : fd_read_all(&s->file, STDIN_FILENO, FILE_MAX, "stdin", err);
    if (rc == 0)
        rc = split(s, buf_length(&s->file) ? (const char *)buf_data(&s->file) : "", buf_length(&s->file), nul ? 0 : '\n', err);
    if (rc == 0 && !s->count)
        rc = error_set(err, SSX_ERROR_USAGE, "no items in it");
    if (rc && err->code == SSX_ERROR_SYSTEM)
        err->code = SSX_ERROR_USAGE;
    return rc ? error_prefix(err, "--items %s", path) : 0;
}

/* --- all of it --- */

static int go_together(const struct settings *s, struct ssx_error *err)
{
    if (!s->items && !s->rerun)
        return error_set(err, SSX_ERROR_USAGE, "--scatter %s: which items? --items FILE (-: stdin)", s->scatter);
    if (s->rolling.serial.given || s->rolling.canary)
        return error_set(
            err, SSX_ERROR_USAGE,
            "--scatter deals items to whoever is free: there are no batches of hosts (--serial, --canary)");
    return scatter_reads_stdin(s) && s->state_map && strcmp(s->state_map, "-") == 0
               ? error_set(err, SSX_ERROR_USAGE, "stdin can be read only once")
               : 0;
}

int scatter_check(const struct settings *s, struct ssx_error *err)
{
    if (s->scatter)
        return go_together(s, err);
    const char *alone = s->items ? "--items" : s->per_host ? "--per-host" : s->nul ? "-0" : NULL;
    return alone ? error_set(err, SSX_ERROR_USAGE, "%s goes with --scatter FIELD", alone) : 0;
}

bool scatter_reads_stdin(const struct settings *s) { return s->items && strcmp(s->items, "-") == 0; }

size_t scatter_per_host(const struct settings *s) { return s->per_host ? (size_t)s->per_host : 1; }

int scatter_read(struct scatter *s, const struct settings *settings, const struct word_list *words, struct ssx_error *err)
{
    *s = (struct scatter){0};
    if (take_field(s, settings->scatter, err))
        return -1;
    if (scatter_reads_stdin(settings) && words->read_stdin)
        return error_set(err, SSX_ERROR_USAGE, "stdin can be read only once");
    s->secret = is_secret(words->descriptor->state, s->field);
    if (settings->items)
        return read_file(s, settings->items, settings->nul, err);
    return rerun_items(&s->texts, &s->count, &s->file, settings->rerun, settings->record, err);
}

void scatter_free(struct scatter *s)
{
    free(s->field);
    free(s->texts);
    buf_free(&s->file);
    items_free(&s->items);
}

/* A field of a struct comes with the whole of it, which must not differ by host then. */
static int check_words(const struct scatter *s, const struct settings *settings, const struct word_list *words, struct ssx_error *err)
{
    size_t top = strcspn(s->field, ".");
    for (size_t i = 0; i < words->count; i++)
        if (words->words[i].operator== '%' && strcspn(words->words[i].name, ".") == top &&
            memcmp(words->words[i].name, s->field, top) == 0)
            return error_set(err, SSX_ERROR_USAGE,
                             "--scatter %s beside %s%%=...: a field that is dealt can't differ by host as well",
                             s->field, words->words[i].name);
    if (s->field[top] && settings->state_map)
        return error_set(
            err, SSX_ERROR_USAGE,
            "--scatter %s beside --state-map: a part of a field can't be dealt where the whole differs by host",
            s->field);
    return 0;
}

int scatter_type(struct scatter *s, const struct settings *settings, const struct word_list *words, struct ssx_error *err)
{
    const struct word_items items = {s->field, s->operator, s->texts, s->count};
    size_t failed;
    if (check_words(s, settings, words, err))
        return -1;
    if (words_items(&s->items, words, &items, &failed, err) == 0)
        return 0;
    if (failed < s->count)
        error_prefix(err, "%s:%zu", settings->items ? settings->items : "item", failed + 1);
    return -1;
}

int scatter_deal(struct scatter *s, struct ssx_fleet *fleet, struct ssx_error *err)
{
    for (size_t i = 0, at = 0; i < s->items.count; at = s->items.ends[i++])
        if (ssx_fleet_deal(fleet, buf_data(&s->items.bytes) + at, s->items.ends[i] - at, err))
            return -1;
    items_free(&s->items);
    return 0;
}

/* --- labels --- */

static char *label_of(const struct span *text, size_t number)
{
    char label[LABEL_MAX];
    if (text)
        text_escape(label, sizeof label, text->at, text->n);
    else
        snprintf(label, sizeof label, "line %zu", number);
    return strdup(label);
}

int scatter_labels(char ***out, const struct span *texts, size_t count)
{
    char **labels = calloc(count + 1, sizeof *labels);
    for (size_t i = 0; labels && i < count; i++)
        if (!(labels[i] = label_of(texts ? &texts[i] : NULL, i + 1))) {
            scatter_labels_free(labels, count);
            return -1;
        }
    *out = labels;
    return labels ? 0 : -1;
}

void scatter_labels_free(char **labels, size_t count)
{
    for (size_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}
