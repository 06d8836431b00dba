#include "fleet/range.h"

#include "base/error.h"
#include "fleet/hostset.h"

#include <string.h>

/* A number as it was written. */
struct number { int64_t value; unsigned width; bool negative; };

struct bounds { struct number lo, hi; int64_t step; };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool has_zeros(struct number n) { return n.width > 1 && n.value < index_power(n.width - 1); }

static int64_t signed_value(struct number n) { return n.negative ? -n.value : n.value; }

/* --- reading --- */

struct reader { struct span text; size_t at; struct ssx_error *err; };

static int complain(struct reader *r, const char *reason) { return error_set(r->err, SSX_ERROR_USAGE, "%s", reason); }

static void skip_blanks(struct reader *r)
{
    while (r->at < r->text.n && is_blank(r->text.at[r->at]))
        r->at++;
}

/* 0 at the end; a NUL in the text is something else. */
static char peek(const struct reader *r)
{
    if (r->at == r->text.n)
        return 0;
    return r->text.at[r->at] ? r->text.at[r->at] : '?';
}

static int append_digits(struct number *n, struct span digits)
{
    for (size_t i = 0; i < digits.n; i++) {
        if (n->width == INDEX_DIGITS_MAX)
            return -1;
        n->value = n->value * 10 + (digits.at[i] - '0');
        n->width++;
    }
    return 0;
}

static int read_number(struct reader *r, struct number *out)
{
    *out = (struct number){0};
    skip_blanks(r);
    if (peek(r) == '-') {
        out->negative = true;
        r->at++;
        skip_blanks(r);
    }
    size_t start = r->at;
    while (is_digit(peek(r)))
        r->at++;
    if (r->at == start)
        return complain(r, !peek(r) || peek(r) == ',' ? "a number is missing" : "that is no number");
    if (append_digits(out, (struct span){r->text.at + start, r->at - start})) {
        r->at = start;
        return error_set(r->err, SSX_ERROR_USAGE, "a number of more than %d digits", INDEX_DIGITS_MAX);
    }
    skip_blanks(r);
    return 0;
}

/* "7", "1-9", "1-9/2", "-5--3" */
static int read_bounds(struct reader *r, struct bounds *out)
{
    struct number step = {.value = 1};
    size_t start = r->at;
    if (read_number(r, &out->lo))
        return -1;
    out->hi = out->lo;
    bool is_range = peek(r) == '-';
    if (is_range) {
        r->at++;
        if (read_number(r, &out->hi))
            return -1;
    }
    if (peek(r) == '/') {
        r->at++;
        if (read_number(r, &step))
            return -1;
        if (step.negative || !step.value || (!is_range && step.value != 1)) {
            r->at = start;
            return complain(r, is_range ? "a step is a number from 1 on" : "a step without a range");
        }
    }
    if (peek(r) && peek(r) != ',')
        return complain(r, "that is no range");
    out->step = step.value;
    return 0;
}

/* --- adding --- */

static int64_t unpadded(int64_t value) { return index_make(value, value < 0 ? 0 : index_digits(value)); }

/* lo to hi without zeros in front: one interval for each length. */
static void add_unpadded(struct indexes *out, int64_t lo, int64_t hi)
{
    if (lo < 0) {
        indexes_add(out, lo, hi < 0 ? hi : -1);
        lo = 0;
    }
    while (lo <= hi) {
        unsigned width = index_digits(lo);
        int64_t last = index_power(width) - 1;
        indexes_add(out, index_make(lo, width), index_make(hi < last ? hi : last, width));
        lo = last + 1;
    }
}

static int add_bounds(struct indexes *out, const struct bounds *b, struct ssx_error *err)
{
    int64_t lo = signed_value(b->lo), hi = signed_value(b->hi);
    bool zeros = has_zeros(b->lo);
    if ((zeros || (b->hi.value && has_zeros(b->hi))) && b->lo.width != b->hi.width)
        return error_set(err, SSX_ERROR_USAGE, "the ends of a range with zeros in front have to be of one length");
    if (zeros && b->lo.negative)
        return error_set(err, SSX_ERROR_USAGE, "a negative number with zeros in front");
    if (lo > hi)
        return error_set(err, SSX_ERROR_USAGE, "a range that goes down");
    if ((hi - lo) / b->step >= HOSTSET_MAX)
        return error_set(err, SSX_ERROR_USAGE, "a range of more than %d numbers", HOSTSET_MAX);
    if (b->step > 1)
        for (int64_t value = lo; value <= hi; value += b->step) {
            int64_t index = zeros ? index_make(value, b->lo.width) : unpadded(value);
            indexes_add(out, index, index);
        }
    else if (zeros)
        indexes_add(out, index_make(lo, b->lo.width), index_make(hi, b->lo.width));
    else
        add_unpadded(out, lo, hi);
    return 0;
}

/* n[8-11]5 is n85, n95, n105, n115. */
static int add_trail(struct bounds *b, struct span trail, struct reader *r)
{
    if (memchr(r->text.at, '/', r->text.n))
        return complain(r, "a range with a step can't have digits right behind its brackets");
    if (b->lo.negative || b->hi.negative)
        return complain(r, "a negative number can't have digits beside its brackets");
    bool is_range = b->lo.value != b->hi.value || b->lo.width != b->hi.width;
    if (append_digits(&b->lo, trail) || append_digits(&b->hi, trail))
        return error_set(r->err, SSX_ERROR_USAGE, "a number of more than %d digits", INDEX_DIGITS_MAX);
    b->step = is_range ? index_power((unsigned)trail.n) : 1;
    return 0;
}

/* n1[2-4] is n[12-14]. As in ClusterShell the digits go before the ends of each run: n1[8-11] is n[18-111]. */
static int add_leads(struct indexes *out, const struct indexes *inner, struct span lead, struct ssx_error *err)
{
    struct index_runs runs = {.at = inner->at, .n = inner->n};
    for (struct interval run; index_runs_next(&runs, &run);) {
        char text[INDEX_TEXT_MAX];
        struct bounds b = {.step = 1};
        if (run.lo < 0)
            return error_set(err, SSX_ERROR_USAGE, "a negative number can't have digits beside its brackets");
        if (append_digits(&b.lo, lead) || append_digits(&b.lo, (struct span){text, index_text(text, run.lo)}) ||
            append_digits(&b.hi, lead) || append_digits(&b.hi, (struct span){text, index_text(text, run.hi)}))
            return error_set(err, SSX_ERROR_USAGE, "a number of more than %d digits", INDEX_DIGITS_MAX);
        if (add_bounds(out, &b, err))
            return -1;
    }
    return 0;
}

static int read_list(struct indexes *out, struct reader *r, struct span trail)
{
    for (;;) {
        struct bounds b;
        skip_blanks(r);
        size_t start = r->at;
        if (read_bounds(r, &b))
            return -1;
        size_t end = r->at;
        r->at = start; /* what is wrong from here on is wrong with the whole of it */
        if (trail.n && add_trail(&b, trail, r))
            return -1;
        if (add_bounds(out, &b, r->err))
            return -1;
        if (out->n > HOSTSET_MAX)
            return error_set(r->err, SSX_ERROR_USAGE, "more than %d ranges", HOSTSET_MAX);
        r->at = end;
        if (!peek(r))
            return 0;
        r->at++;
    }
}

int range_parse(struct indexes *out, struct span text, struct span lead, struct span trail, size_t *at, struct ssx_error *err)
{
    struct reader r = {text, 0, err};
    struct indexes inner = {0};
    int rc = read_list(lead.n ? &inner : out, &r, trail);
    *at = r.at;
    if (rc == 0 && lead.n) {
        indexes_normalise(&inner);
        rc = add_leads(out, &inner, lead, err);
        *at = 0;
    }
    bool failed = out->failed || inner.failed;
    indexes_free(&inner);
    indexes_normalise(out);
    return failed ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a range") : rc;
}
