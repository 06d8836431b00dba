#include "bundle/manifest.h"

#include "base/error.h"
#include "worker/plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "sshexec-bundle 1"
#define WORDS_MAX 6 /* of one line */
#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define DIGITS "0123456789"

/* --- the rules --- */

bool manifest_is_version(const char *text)
{
    size_t n = strlen(text);
    return n && n <= MANIFEST_VERSION_MAX && strchr(LETTERS_AND_DIGITS, *text) && !text[strspn(text, LETTERS_AND_DIGITS ".+~_-")];
}

static bool is_arch(const char *text)
{
    size_t n = strlen(text);
    return n && n < sizeof(struct variant){0}.arch && !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

/* "2.34": numbers with points between them. */
static bool is_dotted(const char *text)
{
    for (;;) {
        size_t n = strspn(text, DIGITS);
        if (!n || n > 4)
            return false;
        if (!text[n])
            return true;
        if (text[n] != '.')
            return false;
        text += n + 1;
    }
}

static bool is_libc(const char *text)
{
    return strcmp(text, "any") == 0 || strcmp(text, "musl") == 0 ||
           (strncmp(text, "glibc-", 6) == 0 && strlen(text) < ELF_LIBC_MAX + 6 && is_dotted(text + 6));
}

static bool is_schema(const char *text) { return strlen(text) == 16 && !text[strspn(text, DIGITS "abcdef")]; }

static int compare_variants(const struct variant *a, const struct variant *b)
{
    int order = strcmp(a->arch, b->arch);
    return order ? order : strcmp(a->libc, b->libc);
}

static int check_variant(const char *type, const struct variant *v, const struct variant *before, struct ssx_error *err)
{
    if (!is_arch(v->arch) || !is_libc(v->libc))
        return error_set(err, SSX_ERROR_REFUSED, "\"%s %s\", of a variant of %s, is no machine", v->arch, v->libc, type);
    if (!v->size || v->size > PLUGIN_SIZE_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "a variant of %s has %" PRIu64 " bytes; it may have 1 to %u", type, v->size,
                         PLUGIN_SIZE_MAX);
    int order = before ? compare_variants(before, v) : -1;
    if (order == 0)
        return error_set(err, SSX_ERROR_REFUSED, "it has two variants of %s for %s %s", type, v->arch, v->libc);
    return order < 0 ? 0 : error_set(err, SSX_ERROR_REFUSED, "the variants of %s are not in their order", type);
}

static int check_type(const struct manifest *m, const struct manifest_type *t, struct ssx_error *err)
{
    if (!text_is_type_name(t->name) || !manifest_is_version(t->version) || !is_schema(t->schema))
        return error_set(err, SSX_ERROR_REFUSED, "\"%s %s %s\" is no name, version and schema digest of a type", t->name, t->version,
                         t->schema);
    if (!t->count)
        return error_set(err, SSX_ERROR_REFUSED, "the type %s has no variant", t->name);
    for (size_t i = t->first; i < t->first + t->count; i++)
        if (check_variant(t->name, &m->variants[i], i > t->first ? &m->variants[i - 1] : NULL, err))
            return -1;
    return 0;
}

static int compare_digests(const void *a, const void *b) { return memcmp(a, b, DIGEST_SIZE); }

/* Each object stands for one variant, and all of them together stay within bounds. */
static int check_objects(const struct manifest *m, struct ssx_error *err)
{
    uint64_t sum = 0;
    struct digest *all = malloc(m->variant_count * sizeof *all);
    if (!all)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    for (size_t i = 0; i < m->variant_count; i++) {
        sum += m->variants[i].size;
        all[i] = m->variants[i].digest;
    }
    qsort(all, m->variant_count, sizeof *all, compare_digests);
    int rc = 0;
    if (sum > MANIFEST_OBJECTS_MAX)
        rc = error_set(err, SSX_ERROR_REFUSED, "its objects have %" PRIu64 " bytes together; the limit is %u", sum, MANIFEST_OBJECTS_MAX);
    for (size_t i = 1; i < m->variant_count && rc == 0; i++)
        if (digest_equal(&all[i - 1], &all[i]))
            rc = error_set(err, SSX_ERROR_REFUSED, "two of its variants are the same object");
    free(all);
    return rc;
}

/* Lines of UTF-8 that can't drive a terminal, none of them empty at the end. */
static int check_changelog(const struct buf *b, struct ssx_error *err)
{
    const char *text = (const char *)buf_data(b);
    size_t n = buf_length(b);
    if (n > MANIFEST_CHANGELOG_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "its changelog has %zu bytes; the limit is %u", n, MANIFEST_CHANGELOG_MAX);
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t') || text[i] == 127)
            return error_set(err, SSX_ERROR_REFUSED, "its changelog holds a control character");
    if (n && (!text_is_utf8(text, n) || text[n - 1] != '\n'))
        return error_set(err, SSX_ERROR_REFUSED, "its changelog is not lines of UTF-8");
    return 0;
}

static int check(const struct manifest *m, struct ssx_error *err)
{
    if (!text_is_type_name(m->name))
        return error_set(
            err, SSX_ERROR_REFUSED,
            "\"%s\" is no bundle's name: lower-case letters, digits, - and _, 64 at most, the first a letter", m->name);
    if (!manifest_is_version(m->version))
        return error_set(
            err, SSX_ERROR_REFUSED,
            "\"%s\" is no version: letters, digits and . + ~ _ -, %d at most, the first a letter or a digit",
            m->version, MANIFEST_VERSION_MAX);
    if (m->serial > MANIFEST_SERIAL_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "its serial is larger than %" PRId64, MANIFEST_SERIAL_MAX);
    if (!m->type_count || m->type_count > MANIFEST_TYPES_MAX || m->variant_count > MANIFEST_VARIANTS_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "it has %zu types in %zu variants; it may have 1 to %d, in at most %d", m->type_count,
                         m->variant_count,
                         MANIFEST_TYPES_MAX, MANIFEST_VARIANTS_MAX);
    for (size_t i = 0; i < m->type_count; i++) {
        if (i && strcmp(m->types[i - 1].name, m->types[i].name) >= 0)
            return error_set(err, SSX_ERROR_REFUSED, "its types are not in their order, or %s comes twice", m->types[i].name);
        if (check_type(m, &m->types[i], err))
            return -1;
    }
    return check_objects(m, err) || check_changelog(&m->changelog, err) ? -1 : 0;
}

/* --- to text --- */

static void add_types(struct buf *out, const struct manifest *m)
{
    char hex[DIGEST_HEX + 1];
    for (const struct manifest_type *t = m->types; t < m->types + m->type_count; t++) {
        buf_printf(out, "type %s %s %s\n", t->name, t->version, t->schema);
        for (const struct variant *v = m->variants + t->first; v < m->variants + t->first + t->count; v++) {
            digest_hex(hex, &v->digest);
            buf_printf(out, "variant %s %s %" PRIu64 " %s\n", v->arch, v->libc, v->size, hex);
        }
    }
}

static void add_changelog(struct buf *out, const struct buf *changelog)
{
    if (!buf_length(changelog))
        return;
    const char *at = (const char *)buf_data(changelog), *end = at + buf_length(changelog);
    for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        buf_add_text(out, newline > at ? "changelog " : "changelog");
        buf_add(out, at, (size_t)(newline + 1 - at));
    }
}

int manifest_format(struct buf *out, const struct manifest *m, struct ssx_error *err)
{
    size_t had = buf_length(out);
    if (check(m, err))
        return -1;
    buf_printf(out, MAGIC "\nname %s\nversion %s\nserial %" PRIu64 "\n", m->name, m->version, m->serial);
    add_types(out, m);
    add_changelog(out, &m->changelog);
    if (out->failed)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    return buf_length(out) - had <= MANIFEST_MAX ? 0
        : error_set(err, SSX_ERROR_REFUSED, "its manifest would have more than %u bytes", MANIFEST_MAX);
}

/* --- from text --- */

struct line { const char *at; size_t n; unsigned number; };

/* The words of a line, single spaces between them, each cut off where `size` ends it. Returns how many (WORDS_MAX + 1:
 * more). */
static size_t split(const struct line *line, char words[][96])
{
    size_t count = 0;
    for (const char *at = line->at, *end = at + line->n; at <= end && count <= WORDS_MAX; count++) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t n = (size_t)((space ? space : end) - at);
        if (count < WORDS_MAX) {
            memcpy(words[count], at, n < 95 ? n : 95);
            words[count][n < 95 ? n : 95] = 0;
        }
        if (!space)
            return count + 1;
        at = space + 1;
    }
    return count;
}

static int take_number(uint64_t *out, const char *word)
{
    size_t n = strlen(word);
    if (!n || n > 19 || word[strspn(word, DIGITS)] || (*word == '0' && n > 1))
        return -1;
    *out = strtoull(word, NULL, 10);
    return 0;
}

static int take_word(char *out, size_t size, const char *word)
{
    return (size_t)snprintf(out, size, "%s", word) < size ? 0 : -1;
}

static void *grow(void *array, size_t count, size_t size, size_t max)
{
    if (count == max)
        return NULL;
    return count & (count - 1) ? array : realloc(array, (count ? 2 * count : 1) * size); /* full at each power of two */
}

static int add_type(struct manifest *m, const struct manifest_type *t)
{
    void *more = grow(m->types, m->type_count, sizeof *t, MANIFEST_TYPES_MAX);
    if (!more)
        return -1;
    m->types = more;
    m->types[m->type_count++] = *t;
    return 0;
}

static int add_variant(struct manifest *m, const struct variant *v, size_t place)
{
    void *more = grow(m->variants, m->variant_count, sizeof *v, MANIFEST_VARIANTS_MAX);
    if (!more)
        return -1;
    m->variants = more;
    memmove(m->variants + place + 1, m->variants + place, (m->variant_count++ - place) * sizeof *v);
    m->variants[place] = *v;
    return 0;
}

static int take_type_line(struct manifest *m, char words[][96], size_t count)
{
    struct manifest_type t = {.first = m->variant_count};
    return count == 4 && take_word(t.name, sizeof t.name, words[1]) == 0 && take_word(t.version, sizeof t.version, words[2]) == 0 &&
           take_word(t.schema, sizeof t.schema, words[3]) == 0 ? add_type(m, &t) : -1;
}

static int take_variant_line(struct manifest *m, char words[][96], size_t count)
{
    struct variant v;
    if (count != 5 || !m->type_count || take_word(v.arch, sizeof v.arch, words[1]) || take_word(v.libc, sizeof v.libc, words[2]) ||
        take_number(&v.size, words[3]) || text_unhex(v.digest.bytes, DIGEST_SIZE, words[4]) || add_variant(m, &v, m->variant_count))
        return -1;
    m->types[m->type_count - 1].count++;
    return 0;
}

static int take_changelog_line(struct manifest *m, const struct line *line)
{
    static const size_t word = sizeof "changelog" - 1;
    size_t skip = line->n > word ? word + 1 : word;
    return buf_add(&m->changelog, line->at + skip, line->n - skip) || buf_add(&m->changelog, "\n", 1) ? -1 : 0;
}

/* Takes what a line says. That nothing is missing, twice or out of place shows when the whole is written again. */
static int take_line(struct manifest *m, const struct line *line)
{
    char words[WORDS_MAX][96];
    if (line->n >= 9 && memcmp(line->at, "changelog", 9) == 0 && (line->n == 9 || line->at[9] == ' '))
        return take_changelog_line(m, line);
    size_t count = split(line, words);
    if (strcmp(words[0], "name") == 0 && count == 2)
        return take_word(m->name, sizeof m->name, words[1]);
    if (strcmp(words[0], "version") == 0 && count == 2)
        return take_word(m->version, sizeof m->version, words[1]);
    if (strcmp(words[0], "serial") == 0 && count == 2)
        return take_number(&m->serial, words[1]);
    if (strcmp(words[0], "type") == 0)
        return take_type_line(m, words, count);
    if (strcmp(words[0], "variant") == 0)
        return take_variant_line(m, words, count);
    return -1;
}

/* The number of the first line in which the two texts differ. */
static unsigned first_difference(const char *a, size_t n, const char *b, size_t m)
{
    unsigned line = 1;
    for (size_t i = 0; i < n && i < m && a[i] == b[i]; i++)
        line += a[i] == '\n';
    return line;
}

/* Writing it again must give the same bytes: one content, one text. */
static int check_form(const struct manifest *m, const char *text, size_t n, struct ssx_error *err)
{
    struct buf again = {0};
    int rc = manifest_format(&again, m, err);
    if (rc == 0 && (buf_length(&again) != n || memcmp(buf_data(&again), text, n)))
        rc = error_set(err, SSX_ERROR_REFUSED, "line %u is not in the form that a manifest has",
                       first_difference(text, n, (const char *)buf_data(&again), buf_length(&again)));
    buf_free(&again);
    return rc;
}

int manifest_parse(struct manifest *out, const void *text, size_t n, struct ssx_error *err)
{
    struct ssx_error why = {0};
    struct line line = {text, 0, 1};
    const char *end, *newline;
    int rc = 0;
    memset(out, 0, sizeof *out);
    if (n < sizeof MAGIC || memcmp(text, MAGIC "\n", sizeof MAGIC))
        return error_set(err, SSX_ERROR_REFUSED, "the manifest does not begin with \"" MAGIC "\": it is of no bundle, or of a newer one");
    if (n > MANIFEST_MAX)
        return error_set(err, SSX_ERROR_REFUSED, "the manifest has %zu bytes; the limit is %u", n, MANIFEST_MAX);
    end = line.at + n;
    for (line.at += sizeof MAGIC; rc == 0 && line.at < end; line.at += line.n + 1) {
        line.number++;
        newline = memchr(line.at, '\n', (size_t)(end - line.at));
        line.n = newline ? (size_t)(newline - line.at) : 0;
        if (!newline || take_line(out, &line))
            rc = error_set(&why, SSX_ERROR_REFUSED, "line %u is not one that a manifest has", line.number);
    }
    if (rc == 0)
        rc = check_form(out, text, n, &why);
    if (rc == 0)
        return 0;
    manifest_dispose(out);
    return error_set(err, why.code, "the manifest: %s", why.text);
}

/* --- making and using one --- */

int manifest_add(struct manifest *m, const struct manifest_type *type, const struct variant *variant, struct ssx_error *err)
{
    size_t at = 0;
    while (at < m->type_count && strcmp(m->types[at].name, type->name) < 0)
        at++;
    if (at == m->type_count || strcmp(m->types[at].name, type->name)) {
        struct manifest_type fresh = *type;
        fresh.first = at < m->type_count ? m->types[at].first : m->variant_count;
        fresh.count = 0;
        if (add_type(m, &fresh))
            return error_set(err, SSX_ERROR_REFUSED, "a bundle holds at most %d types", MANIFEST_TYPES_MAX);
        memmove(m->types + at + 1, m->types + at, (m->type_count - 1 - at) * sizeof *m->types);
        m->types[at] = fresh;
    }
    struct manifest_type *t = &m->types[at];
    if (strcmp(t->version, type->version) || strcmp(t->schema, type->schema))
        return error_set(err, SSX_ERROR_REFUSED, "%s %s (schema %s) is another than the %s (schema %s) that the bundle holds already",
                         type->name, type->version, type->schema,
                         t->version, t->schema);
    size_t place = t->first;
    while (place < t->first + t->count && compare_variants(&m->variants[place], variant) <= 0)
        place++;
    if (add_variant(m, variant, place))
        return error_set(err, SSX_ERROR_REFUSED, "a bundle holds at most %d variants", MANIFEST_VARIANTS_MAX);
    t->count++;
    for (at++; at < m->type_count; at++)
        m->types[at].first++;
    return 0;
}

void manifest_dispose(struct manifest *m)
{
    free(m->types);
    free(m->variants);
    buf_free(&m->changelog);
    memset(m, 0, sizeof *m);
}

const struct manifest_type *manifest_type_of(const struct manifest *m, const struct variant *v)
{
    const struct manifest_type *t = m->types;
    while ((size_t)(v - m->variants) >= t->first + t->count)
        t++;
    return t;
}

/* How much of a libc a variant asks for: "" for none. NULL: a libc that the node doesn't have. */
static const char *asks_of(const struct variant *v, const char *node_libc)
{
    bool glibc = strncmp(v->libc, "glibc-", 6) == 0;
    if (strcmp(v->libc, "any") == 0)
        return "";
    if (!*node_libc)
        return glibc ? v->libc + 6 : NULL;
    if (!glibc)
        return strcmp(v->libc, node_libc) == 0 ? "0" : NULL;
    return strncmp(node_libc, "glibc ", 6) == 0 && elf_libc_compare(v->libc + 6, node_libc + 6) <= 0 ? v->libc + 6 : NULL;
}

static int no_variant(const struct manifest *m, const struct manifest_type *t, const char *bundle, const char *arch, const char *libc,
                      struct ssx_error *err)
{
    for (size_t i = t->first; i < t->first + t->count; i++)
        if (strcmp(m->variants[i].arch, arch) == 0)
            return error_set(err, SSX_ERROR_REFUSED, "no %s variant of %s in %s for %s (the nearest needs %s)", arch, t->name, bundle, libc,
                             m->variants[i].libc);
    return error_set(err, SSX_ERROR_REFUSED, "no %s variant of %s in %s", arch, t->name, bundle);
}

const struct variant *manifest_choose(const struct manifest *m, const char *bundle, const char *type, const char *arch, const char *libc,
                                      struct ssx_error *err)
{
    const struct variant *best = NULL;
    const struct manifest_type *t = m->types, *end = t + m->type_count;
    while (t < end && strcmp(t->name, type))
        t++;
    if (t == end) {
        error_set(err, SSX_ERROR_UNKNOWN_TYPE, "no type %s in %s", type, bundle);
        return NULL;
    }
    for (const struct variant *v = m->variants + t->first; v < m->variants + t->first + t->count; v++) {
        const char *asks = strcmp(v->arch, arch) ? NULL : asks_of(v, libc);
        if (!asks)
            continue;
        int order = best ? elf_libc_compare(asks, asks_of(best, libc)) : 1;
        if (!best || (*libc ? order > 0 : order < 0))
            best = v;
    }
    if (!best)
        no_variant(m, t, bundle, arch, libc, err);
    return best;
}

int manifest_check_serial(const struct manifest *now, const struct manifest *next, struct ssx_error *err)
{
    if (strcmp(now->name, next->name) || next->serial >= now->serial)
        return 0;
    return error_set(err, SSX_ERROR_REFUSED, "%s %s has the serial %" PRIu64 ", older than the %" PRIu64 " of %s, which is there",
                     next->name, next->version, next->serial,
                     now->serial, now->version);
}
