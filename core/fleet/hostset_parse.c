#include "fleet/hostset_parse.h"

#include "base/error.h"
#include "base/file.h"
#include "fleet/term.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 32                 /* groups in groups: more is a circle */
#define GROUP_TEXT_MAX (64u << 20)   /* bytes of group definitions for one expression: g1 = @g2,@g2, g2 = @g3,@g3 ... ends too */
#define GROUP_COST 1024              /* and for each group, as many as it costs to read that many */
#define FILE_MAX (256u << 20)
#define MASKS_MAX 256                /* names with wildcards from one operand: each is tried on all nodes */
#define EXCERPT 24
#define SHOWN 2                      /* how deep in groups a complaint tells the way: a longer one would bury the reason */

/* How deep in groups we are. */
struct nesting { unsigned depth; size_t text; bool in_wildcard; };

struct parser {
    struct span text;
    size_t at, blame;        /* blame: the place that an error is about */
    bool blanks_separate;    /* as commas do, in what groups say */
    const struct host_scope *scope;
    struct nesting *nesting;
    struct term term;
    struct hostset *out;
    struct hostset *without; /* the operands of a run of !, to be taken off at once; NULL: none */
    struct ssx_error *err;
};

static int parse(struct hostset *out, struct span text, bool blanks_separate, const struct host_scope *scope, struct nesting *nesting,
                 struct ssx_error *err);

static bool is_operator(char c) { return c == ',' || c == '!' || c == '&' || c == '^'; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool at_end(const struct parser *p) { return p->at == p->text.n; }
static const char *here(const struct parser *p) { return p->text.at + p->at; }

static void skip_blanks(struct parser *p)
{
    while (!at_end(p) && is_blank(*here(p)))
        p->at++;
}

static int fault(struct parser *p, size_t place, const char *reason)
{
    p->blame = place;
    return error_set(p->err, SSX_ERROR_USAGE, "%s", reason);
}

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names"); }

/* Puts the place before the reason. */
static int locate(struct parser *p)
{
    size_t left = p->text.n - p->blame;
    if (left)
        return error_prefix(p->err, "at character %zu (\"%.*s%s\")", p->blame + 1, (int)(left < EXCERPT ? left : EXCERPT),
                            p->text.at + p->blame, left > EXCERPT ? "..." : "");
    return error_prefix(p->err, "at the end");
}

/* --- one operand's text --- */

/* How many of the characters are of a kind. */
static size_t count_in(struct span text, const char *kind)
{
    size_t n = 0;
    while (n < text.n && text.at[n] && strchr(kind, text.at[n]))
        n++;
    return n;
}

/* [::1], [fe80::1%eth0]: at the start of a name, or behind its user@. */
static int take_address(struct parser *p, struct span before, struct span inside)
{
    size_t n = count_in(inside, "0123456789abcdefABCDEF:.");
    if (n < inside.n && inside.at[n] == '%') /* a zone: an interface's name */
        n += 1 + count_in((struct span){inside.at + n + 1, inside.n - n - 1},
                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (n < inside.n)
        return fault(p, p->at + 1 + n, "that is no IPv6 address");
    if (before.n ? before.at[before.n - 1] != '@' : buf_length(&p->term.pattern) != 0)
        return fault(p, p->at, "an address begins a name");
    term_add_text(&p->term, before);
    term_add_literal(&p->term, (struct span){here(p), inside.n + 2});
    p->at += inside.n + 2;
    return 0;
}

/* A [ with what stands before it since the last one. */
static int take_bracket(struct parser *p, struct span before)
{
    size_t open = p->at, in_range = 0;
    const char *close = memchr(here(p), ']', p->text.n - open);
    if (!close)
        return fault(p, open, "this [ is not closed");
    struct span inside = {here(p) + 1, (size_t)(close - here(p)) - 1}, trail = {close + 1, 0};
    if (memchr(inside.at, ':', inside.n))
        return take_address(p, before, inside);
    size_t leading = 0;
    while (leading < before.n && is_digit(before.at[before.n - 1 - leading]))
        leading++;
    term_add_text(&p->term, (struct span){before.at, before.n - leading});
    p->at += inside.n + 2;
    for (; !at_end(p) && is_digit(*here(p)); p->at++)
        trail.n++;
    if (!at_end(p) && *here(p) == '[')
        return fault(p, p->at, "brackets can't touch, nor with digits alone between them");
    struct indexes *set = term_add_set(&p->term);
    if (!set)
        return error_set(p->err, SSX_ERROR_USAGE, "a name with more than %d numbers", HOSTSET_DIMS);
    if (range_parse(set, inside, (struct span){before.at + before.n - leading, leading}, trail, &in_range, p->err)) {
        p->blame = open + 1 + in_range;
        return -1;
    }
    return 0;
}

/* The operand at hand into p->term, up to the operator behind it. */
static int scan(struct parser *p)
{
    size_t start = p->at, piece = start;
    term_clear(&p->term);
    for (; !at_end(p) && !is_operator(*here(p)) && !is_blank(*here(p));) {
        unsigned char c = (unsigned char)*here(p);
        if (c == ']')
            return fault(p, p->at, "a ] without its [");
        if (c < ' ' || c == 127)
            return fault(p, p->at, "a control character in a name");
        if (c != '[') {
            p->at++;
            continue;
        }
        if (take_bracket(p, (struct span){p->text.at + piece, p->at - piece}))
            return -1;
        piece = p->at;
    }
    if (p->at == start)
        return fault(p, start, "an operand is missing");
    if (p->text.at[start] == '-')
        return fault(p, start, "a name can't begin with -");
    term_add_text(&p->term, (struct span){p->text.at + piece, p->at - piece});
    return 0;
}

/* --- groups --- */

static void close_group(struct nesting *n, struct buf *text, struct hostset *nodes)
{
    n->depth--;
    buf_free(text);
    hostset_free(nodes);
}

static bool is_blank_text(const struct buf *text)
{
    for (size_t i = 0; i < buf_length(text); i++)
        if (!is_blank((char)buf_data(text)[i]))
            return false;
    return true;
}

/* Adds what a group's definition says. */
static int add_definition(struct hostset *into, const char *name, struct buf *text, const struct host_scope *scope, struct nesting *nesting,
                          struct ssx_error *err)
{
    struct hostset *nodes = hostset_new();
    int rc = nodes ? 0 : no_memory(err);
    nesting->text += buf_length(text) + GROUP_COST;
    if (++nesting->depth > DEPTH_MAX || nesting->text > GROUP_TEXT_MAX)
        rc = error_set(err, SSX_ERROR_USAGE, "groups in groups without an end");
    if (rc == 0 && !is_blank_text(text))
        rc = parse(nodes, (struct span){(const char *)buf_data(text), buf_length(text)}, true, scope, nesting, err);
    if (rc == 0 && !hostset_count(nodes))
        rc = error_set(err, SSX_ERROR_USAGE, "it has no nodes");
    if (rc && nesting->depth <= SHOWN)
        error_prefix(err, "%s", name);
    if (rc == 0)
        rc = hostset_combine(into, nodes, ',', err);
    close_group(nesting, text, nodes);
    return rc;
}

/* name: @group, @source:group, @*, @source:*, @@source. */
static int add_group(struct hostset *into, const char *name, const struct host_scope *scope, struct nesting *nesting, struct ssx_error *err)
{
    struct host_scope inner = {scope->groups, scope->source, false};
    struct buf text = {0};
    const char *group = name + 1, *colon = strchr(group, ':');
    char source[HOSTSET_NAME_MAX + 1];
    int rc;
    if (!scope->groups)
        return error_set(err, SSX_ERROR_USAGE, "%s: there are no groups here", name);
    if (colon && *group != '@') {
        memcpy(source, group, (size_t)(colon - group));
        source[colon - group] = 0;
        inner.source = source;
        group = colon + 1;
    }
    if (*group == '@') {
        rc = groups_list(scope->groups, group[1] ? group + 1 : scope->source, &text, err);
        inner.groups = NULL;
    } else if (strcmp(group, "*") == 0) {
        rc = groups_all(scope->groups, inner.source, &text, err);
    } else {
        rc = groups_nodes(scope->groups, inner.source, group, &text, err);
    }
    if (rc == 0)
        return add_definition(into, name, &text, &inner, nesting, err);
    buf_free(&text);
    return -1;
}

struct adding { struct parser *p; struct hostset *into; };

static int add_group_of(void *ctx, const char *name, size_t n)
{
    struct adding *a = ctx;
    char text[HOSTSET_NAME_MAX + HOSTSET_DIMS * INDEX_TEXT_MAX + 1];
    memcpy(text, name, n);
    text[n] = 0;
    return add_group(a->into, text, a->p->scope, a->p->nesting, a->p->err) ? 1 : 0;
}

/* --- wildcards --- */

struct matching { struct hostset *into; char *masks[MASKS_MAX]; size_t n; struct ssx_error *err; };

static int take_mask(void *ctx, const char *name, size_t n)
{
    struct matching *m = ctx;
    if (m->n == MASKS_MAX)
        return error_set(m->err, SSX_ERROR_USAGE, "more than %d names with wildcards", MASKS_MAX), 1;
    m->masks[m->n] = strndup(name, n);
    return m->masks[m->n] ? (m->n++, 0) : (no_memory(m->err), 1);
}

static int match(void *ctx, const char *name, size_t n)
{
    struct matching *m = ctx;
    char text[HOSTSET_NAME_MAX + HOSTSET_DIMS * INDEX_TEXT_MAX + 1];
    memcpy(text, name, n);
    text[n] = 0;
    for (size_t i = 0; i < m->n; i++)
        if (fnmatch(m->masks[i], text, FNM_NOESCAPE) == 0)
            return hostset_add_name(m->into, name, n, m->err) ? 1 : 0;
    return 0;
}

static int add_matching(struct parser *p, struct hostset *masks, struct hostset *into)
{
    struct matching *m = calloc(1, sizeof *m);
    struct hostset *all = hostset_new();
    int rc = m && all ? 0 : no_memory(p->err);
    if (rc == 0) {
        m->into = into;
        m->err = p->err;
        p->nesting->in_wildcard = true;
        rc = hostset_each(masks, take_mask, m, p->err) || add_group(all, "@*", p->scope, p->nesting, p->err) ||
             hostset_each(all, match, m, p->err) ? -1 : 0;
        p->nesting->in_wildcard = false;
    }
    for (size_t i = 0; m && i < m->n; i++)
        free(m->masks[i]);
    free(m);
    hostset_free(all);
    return rc;
}

/* --- operands and operators --- */

/* The names that p->term spells are those of groups, or masks. */
static int add_special(struct parser *p, struct hostset *into, bool is_group)
{
    struct adding adding = {p, into};
    struct hostset *names = hostset_new();
    int rc = names ? term_add_to(&p->term, names, p->err) : no_memory(p->err);
    if (rc == 0)
        rc = is_group ? hostset_each(names, add_group_of, &adding, p->err) : add_matching(p, names, into);
    hostset_free(names);
    return rc ? -1 : 0;
}

static int add_file(struct parser *p, struct hostset *into)
{
    const char *comma = memchr(here(p), ',', p->text.n - p->at);
    size_t n = comma ? (size_t)(comma - here(p)) : p->text.n - p->at;
    char *path = strndup(here(p) + 1, n - 1);
    int rc = path ? hostset_parse_file(into, path, p->scope, p->err) : no_memory(p->err);
    p->at += n;
    free(path);
    return rc;
}

/* The operand at hand into a set. */
static int add_operand(struct parser *p, struct hostset *into)
{
    size_t start = p->blame = p->at;
    if (!at_end(p) && *here(p) == '^' && p->scope->files)
        return add_file(p, into);
    if (scan(p))
        return -1;
    const char *pattern = (const char *)buf_data(&p->term.pattern);
    size_t n = buf_length(&p->term.pattern);
    p->blame = start;
    if (n && pattern[0] == '@')
        return add_special(p, into, true);
    if (n && (memchr(pattern, '*', n) || memchr(pattern, '?', n)))
        return p->nesting->in_wildcard ? fault(p, start, "a wildcard in what all nodes are") : add_special(p, into, false);
    return term_add_to(&p->term, into, p->err);
}

/* Takes off what a run of ! named. */
static int flush(struct parser *p)
{
    int rc = p->without ? hostset_combine(p->out, p->without, '!', p->err) : 0;
    hostset_free(p->without);
    p->without = NULL;
    return rc;
}

static int apply(struct parser *p, char operation)
{
    if (operation == '!') {
        if (!p->without && !(p->without = hostset_new()))
            return no_memory(p->err);
        return add_operand(p, p->without);
    }
    if (flush(p))
        return -1;
    if (operation == ',')
        return add_operand(p, p->out);
    struct hostset *right = hostset_new();
    int rc = right ? add_operand(p, right) : no_memory(p->err);
    if (rc == 0)
        rc = hostset_combine(p->out, right, operation, p->err);
    hostset_free(right);
    return rc;
}

static int parse_operands(struct parser *p)
{
    for (char operation = ',';;) {
        skip_blanks(p);
        if (apply(p, operation))
            return -1;
        size_t end = p->at;
        skip_blanks(p);
        if (at_end(p))
            return 0;
        if (is_operator(*here(p)))
            operation = p->text.at[p->at++];
        else if (p->blanks_separate)
            operation = ',';
        else
            return fault(p, end, "a blank in a name (a comma goes between names)");
    }
}

static int parse(struct hostset *out, struct span text, bool blanks_separate, const struct host_scope *scope, struct nesting *nesting,
                 struct ssx_error *err)
{
    struct parser p = {.text = text, .blanks_separate = blanks_separate, .scope = scope, .nesting = nesting, .out = out, .err = err};
    while (p.text.n && is_blank(p.text.at[p.text.n - 1]))
        p.text.n--;
    int rc = parse_operands(&p);
    if (rc && nesting->depth <= SHOWN)
        locate(&p);
    if (rc == 0)
        rc = flush(&p) || hostset_check(out, err) ? -1 : 0;
    hostset_free(p.without);
    term_free(&p.term);
    return rc;
}

int hostset_parse(struct hostset *out, const char *text, size_t n, const struct host_scope *scope, struct ssx_error *err)
{
    struct nesting nesting = {0};
    return parse(out, (struct span){text, n}, false, scope, &nesting, err);
}

int hostset_add_name(struct hostset *s, const char *name, size_t n, struct ssx_error *err)
{
    struct term t = {0};
    term_add_name(&t, (struct span){name, n});
    int rc = term_add_to(&t, s, err);
    term_free(&t);
    return rc;
}

/* --- files --- */

static bool has_operators(struct span word)
{
    for (size_t i = 0; i < word.n; i++)
        if (is_operator(word.at[i]) && word.at[i] != ',')
            return true;
    return false;
}

/* A word of a file: its operators are its own business. */
static int add_word(struct hostset *out, struct span word, const struct host_scope *scope, struct ssx_error *err)
{
    if (!has_operators(word))
        return hostset_parse(out, word.at, word.n, scope, err);
    struct hostset *names = hostset_new();
    int rc = names ? hostset_parse(names, word.at, word.n, scope, err) : no_memory(err);
    if (rc == 0)
        rc = hostset_combine(out, names, ',', err) || hostset_check(out, err) ? -1 : 0;
    hostset_free(names);
    return rc;
}

static int add_line(struct hostset *out, struct span line, size_t *words, const struct host_scope *scope, struct ssx_error *err)
{
    const char *comment = memchr(line.at, '#', line.n);
    if (comment)
        line.n = (size_t)(comment - line.at);
    for (size_t i = 0, start;; (*words)++) {
        while (i < line.n && is_blank(line.at[i]))
            i++;
        for (start = i; i < line.n && !is_blank(line.at[i]);)
            i++;
        if (i == start)
            return 0;
        if (add_word(out, (struct span){line.at + start, i - start}, scope, err))
            return -1;
    }
}

static int add_lines(struct hostset *out, struct span text, const char *name, const struct host_scope *scope, struct ssx_error *err)
{
    struct host_scope inner = {scope->groups, scope->source, false};
    size_t words = 0, number = 1;
    for (size_t at = 0; at < text.n; number++) {
        const char *end = memchr(text.at + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.at) - at : text.n - at;
        if (add_line(out, (struct span){text.at + at, n}, &words, &inner, err))
            return error_prefix(err, "%s: line %zu", name, number);
        at += n + 1;
    }
    return words ? 0 : error_set(err, SSX_ERROR_USAGE, "%s: no names in it", name);
}

int hostset_parse_file(struct hostset *out, const char *path, const struct host_scope *scope, struct ssx_error *err)
{
    struct buf text = {0};
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "stdin" : path;
    int rc = is_stdin ? fd_read_all(&text, STDIN_FILENO, FILE_MAX, name, err) : file_read(&text, path, FILE_MAX, err);
    if (rc == 0)
        rc = add_lines(out, (struct span){(const char *)buf_data(&text), buf_length(&text)}, name, scope, err);
    else if (err)
        err->code = SSX_ERROR_USAGE;
    buf_free(&text);
    return rc;
}
