#include "transport/answer_class.h"

#include "base/error.h"
#include "transport/answer_cache.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAME '\1'       /* stands for the host's name in a template; no answer holds it */
#define CLASSES_MAX 256 /* a configuration that makes more of them gains nothing by this */

/* What is the same for all hosts of one kind. */
struct class {
    struct class *next;
    struct buf key;                       /* the question but for the name, and which patterns fit */
    enum { NEW, ASKED_ONCE, SHARED, UNLIKE } stage;
    char *first;                          /* the name that was asked for once */
    struct buf answer, baseline;          /* templates */
    pthread_mutex_t asking;               /* held while ssh is asked for a template */
};

struct answer_classes {
    pthread_mutex_t lock;
    struct class *classes;
    size_t count;
    enum { UNREAD, KNOWN, UNKNOWN } stage; /* the patterns of config_file */
    char *config_file;                     /* NULL: the default ones */
    struct buf patterns;                   /* those of each Host line, ended by NUL */
};

struct answer_classes *answer_classes_new(void)
{
    struct answer_classes *c = calloc(1, sizeof *c);
    if (c)
        pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void class_free(struct class *k)
{
    buf_free(&k->key);
    buf_free(&k->answer);
    buf_free(&k->baseline);
    pthread_mutex_destroy(&k->asking);
    free(k->first);
    free(k);
}

void answer_classes_free(struct answer_classes *c)
{
    if (!c)
        return;
    for (struct class *k = c->classes, *next; k; k = next) {
        next = k->next;
        class_free(k);
    }
    buf_free(&c->patterns);
    free(c->config_file);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* --- which class a host is of --- */

static bool is_plain(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-' && *p != '.')
            return false;
    return *name != 0;
}

/* ssh's match_pattern: * and ?. */
static bool fits(const char *name, const char *pattern, size_t n)
{
    for (; n; pattern++, n--, name++) {
        if (*pattern == '*') {
            while (n && *pattern == '*')
                pattern++, n--;
            for (; n && *name; name++)
                if (fits(name, pattern, n))
                    return true;
            return n == 0;
        }
        if (!*name || (*pattern != '?' && *pattern != *name))
            return false;
    }
    return !*name;
}

/* Whether a Host line with these patterns is for this host: one fits, and none with a '!' before it does. */
static bool line_fits(const char *name, const char *patterns)
{
    bool found = false;
    while (*(patterns += strspn(patterns, " \t"))) {
        size_t n = strcspn(patterns, " \t");
        bool negated = *patterns == '!';
        if (fits(name, patterns + negated, n - negated)) {
            if (negated)
                return false;
            found = true;
        }
        patterns += n;
    }
    return found;
}

static int make_key(struct buf *out, const struct answer_classes *c, const struct words *question, size_t host, const char *name)
{
    for (size_t i = 0; i < question->n; i++)
        buf_add(out, question->at[i], i == host ? (size_t)(name - question->at[i]) : strlen(question->at[i]) + 1);
    const char *at = (const char *)buf_data(&c->patterns), *end = at + buf_length(&c->patterns);
    for (; at && at < end; at += strlen(at) + 1)
        buf_add(out, line_fits(name, at) ? "1" : "0", 1);
    return out->failed ? -1 : 0;
}

static bool is_same_file(const struct answer_classes *c, const char *config_file)
{
    return config_file && c->config_file ? strcmp(config_file, c->config_file) == 0 : !config_file && !c->config_file;
}

/* Reads the configuration's Host lines once. Returns whether classes can be told by them. */
static bool knows_patterns(struct answer_classes *c, const struct words *question, const char *config_file)
{
    if (c->stage == UNREAD) {
        c->config_file = config_file ? strdup(config_file) : NULL;
        c->stage = (config_file && !c->config_file) || answer_cache_patterns(&c->patterns, question, config_file) ? UNKNOWN : KNOWN;
    }
    return c->stage == KNOWN && is_same_file(c, config_file);
}

/* The class of the host, new where there was none. NULL: it has none. */
static struct class *find_class(struct answer_classes *c, const struct words *question, size_t host, const char *name)
{
    struct buf key = {0};
    struct class *k = NULL;
    if (make_key(&key, c, question, host, name) == 0)
        for (k = c->classes; k && (buf_length(&k->key) != buf_length(&key) ||
                                   memcmp(buf_data(&k->key), buf_data(&key), buf_length(&key)));
             k = k->next)
            ;
    if (!k && !key.failed && c->count < CLASSES_MAX && (k = calloc(1, sizeof *k))) {
        pthread_mutex_init(&k->asking, NULL);
        k->key = key;
        k->next = c->classes;
        c->classes = k;
        c->count++;
        return k;
    }
    buf_free(&key);
    return k;
}

static struct class *class_of(struct answer_classes *c, const struct words *question, size_t host, const char *name,
                              const char *config_file)
{
    pthread_mutex_lock(&c->lock);
    struct class *k = is_plain(name) && knows_patterns(c, question, config_file) ? find_class(c, question, host, name) : NULL;
    pthread_mutex_unlock(&c->lock);
    return k;
}

/* --- templates --- */

/* The next place where the name stands as a word of its own. */
static const char *find_name(const char *text, const char *name, size_t n)
{
    for (const char *at = text; (at = strstr(at, name)); at++)
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[n]))
            return at;
    return NULL;
}

static int make_template(struct buf *out, const struct buf *answer, const char *name)
{
    const char *text = (const char *)buf_data(answer);
    size_t n = strlen(name);
    for (const char *at; (at = find_name(text, name, n)); text = at + n) {
        buf_add(out, text, (size_t)(at - text));
        buf_add(out, &(char){NAME}, 1);
    }
    buf_add(out, text, strlen(text) + 1);
    return out->failed ? -1 : 0;
}

static int fill_in(struct buf *out, const struct buf *template, const char *name)
{
    const char *text = (const char *)buf_data(template);
    for (const char *at; (at = strchr(text, NAME)); text = at + 1) {
        buf_add(out, text, (size_t)(at - text));
        buf_add_text(out, name);
    }
    buf_add(out, text, strlen(text) + 1);
    return out->failed ? -1 : 0;
}

static bool is_equal(const struct buf *a, const struct buf *b)
{
    return buf_length(a) == buf_length(b) && memcmp(buf_data(a), buf_data(b), buf_length(a)) == 0;
}

/* What an answer teaches of its class: the first gives the templates, the second says whether they hold. */
static void learn(struct class *k, const char *name, const struct buf *answer, const struct buf *baseline)
{
    struct buf one = {0}, other = {0};
    int rc = make_template(&one, answer, name) || make_template(&other, baseline, name);
    if (rc == 0 && k->stage == NEW && (k->first = strdup(name))) {
        k->answer = one;
        k->baseline = other;
        k->stage = ASKED_ONCE;
        return;
    }
    if (rc == 0 && k->stage == ASKED_ONCE && strcmp(name, k->first))
        k->stage = is_equal(&one, &k->answer) && is_equal(&other, &k->baseline) ? SHARED : UNLIKE;
    buf_free(&one);
    buf_free(&other);
}

int answer_class_get(struct answer_classes *c, const struct words *question, size_t host, const char *config_file,
                     struct buf *answer, struct buf *baseline, answer_ask *ask, void *ctx, struct ssx_error *err)
{
    const char *at = strrchr(question->at[host], '@'), *name = at ? at + 1 : question->at[host];
    struct class *k = class_of(c, question, host, name, config_file);
    if (!k)
        return ask(ctx, answer, baseline, err);
    pthread_mutex_lock(&k->asking);
    if (k->stage == SHARED) {
        pthread_mutex_unlock(&k->asking);
        return fill_in(answer, &k->answer, name) || fill_in(baseline, &k->baseline, name)
                   ? error_set(err, SSX_ERROR_SYSTEM, "can't read the answer of ssh -G: out of memory")
                   : 0;
    }
    bool unlike = k->stage == UNLIKE;
    if (unlike)
        pthread_mutex_unlock(&k->asking);
    int rc = ask(ctx, answer, baseline, err);
    if (unlike)
        return rc;
    if (rc == 0)
        learn(k, name, answer, baseline);
    pthread_mutex_unlock(&k->asking);
    return rc;
}
