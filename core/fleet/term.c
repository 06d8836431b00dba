#include "fleet/term.h"

#include "base/error.h"

#include <string.h>

void term_clear(struct term *t)
{
    buf_consume(&t->pattern, buf_length(&t->pattern));
    for (size_t d = 0; d < t->dims; d++) {
        t->sets[d].n = 0;
        t->sets[d].unsorted = false;
    }
    t->dims = 0;
}

void term_free(struct term *t)
{
    buf_free(&t->pattern);
    for (size_t d = 0; d < HOSTSET_DIMS; d++)
        indexes_free(&t->sets[d]);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

void term_add_literal(struct term *t, struct span text)
{
    for (const char *percent; (percent = memchr(text.at, '%', text.n));) {
        size_t n = (size_t)(percent - text.at) + 1;
        buf_add(&t->pattern, text.at, n);
        buf_add(&t->pattern, "%", 1);
        text = (struct span){text.at + n, text.n - n};
    }
    buf_add(&t->pattern, text.at, text.n);
}

struct indexes *term_add_set(struct term *t)
{
    if (t->dims == HOSTSET_DIMS)
        return NULL;
    buf_add(&t->pattern, "%s", 2);
    return &t->sets[t->dims++];
}

static void add_digits(struct term *t, struct span digits)
{
    struct indexes *set = digits.n <= INDEX_DIGITS_MAX ? term_add_set(t) : NULL;
    int64_t value = 0;
    if (!set) {
        term_add_literal(t, digits);
        return;
    }
    for (size_t i = 0; i < digits.n; i++)
        value = value * 10 + (digits.at[i] - '0');
    value = index_make(value, (unsigned)digits.n);
    indexes_add(set, value, value);
}

void term_add_text(struct term *t, struct span text)
{
    for (size_t i = 0, start; i < text.n;) {
        for (start = i; i < text.n && !is_digit(text.at[i]);)
            i++;
        term_add_literal(t, (struct span){text.at + start, i - start});
        for (start = i; i < text.n && is_digit(text.at[i]);)
            i++;
        if (i > start)
            add_digits(t, (struct span){text.at + start, i - start});
    }
}

void term_add_name(struct term *t, struct span name)
{
    const char *open = memchr(name.at, '[', name.n), *close = open ? memchr(open, ']', name.n - (size_t)(open - name.at)) : NULL;
    if (!close) {
        term_add_text(t, name);
        return;
    }
    term_add_text(t, (struct span){name.at, (size_t)(open - name.at)});
    term_add_literal(t, (struct span){open, (size_t)(close - open) + 1});
    term_add_text(t, (struct span){close + 1, name.n - (size_t)(close - name.at) - 1});
}

int term_add_to(const struct term *t, struct hostset *s, struct ssx_error *err)
{
    bool failed = t->pattern.failed;
    for (size_t d = 0; d < t->dims; d++)
        failed |= t->sets[d].failed;
    if (failed)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a name");
    if (buf_length(&t->pattern) > HOSTSET_NAME_MAX)
        return error_set(err, SSX_ERROR_USAGE, "a name of more than %d characters", HOSTSET_NAME_MAX);
    return hostset_add(s, (const char *)buf_data(&t->pattern), buf_length(&t->pattern), t->sets, t->dims, err);
}
