/* sshexec store: what nodes have stored for this user, whether it is sound, and removing what nobody uses. The node's
 * own agent looks after it (core/bundle/tend.h); here its answer becomes text or JSON. */
#include "answer.h"
#include "interrupt.h"
#include "rollout.h"
#include "size_text.h"
#include "tool.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "wire/value.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define UNUSED_S (30 * 24 * 60 * 60) /* what gc removes unless it is told otherwise */
#define EXIT_DAMAGED 1               /* verify found something */

enum action { LIST, VERIFY, GC };

struct care {
    const struct settings *settings;
    enum action action;
};

/* An object, as an agent told of it. */
struct item { char state[16], digest[DIGEST_HEX + 1], use[16], type[TYPE_NAME_MAX + 1], version[64]; uint64_t size, idle_s; };

struct sum { size_t count, gone, damaged; uint64_t bytes, gone_bytes; };

/* --- what a host said --- */

struct store_answer { char path[PATH_MAX], problem[128]; size_t count; }; /* its items follow in the reader */

static int take_store(struct store_answer *s, struct value_reader *r)
{
    size_t parts;
    return value_take_array(r, &parts) || parts != 3 || answer_take_text(s->path, sizeof s->path, r) ||
                   answer_take_text(s->problem, sizeof s->problem, r) || value_take_array(r, &s->count)
               ? -1 : 0;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static int take_item(struct item *i, struct value_reader *r)
{
    const unsigned char *digest;
    size_t parts, n;
    if (value_take_array(r, &parts) || parts != 7 || answer_take_text(i->state, sizeof i->state, r) || value_take_bin(r, &digest, &n) ||
        n != DIGEST_SIZE || value_take_uint(r, INT64_MAX, &i->size) || value_take_uint(r, INT64_MAX, &i->idle_s) ||
        answer_take_text(i->use, sizeof i->use, r) || answer_take_text(i->type, sizeof i->type, r) ||
        answer_take_text(i->version, sizeof i->version, r))
        return -1;
    text_hex(i->digest, digest, n);
    return is_one_of(i->state, "kept", "damaged", "removed") && is_one_of(i->use, "-", "generation", "call") &&
                   (!*i->type || text_is_type_name(i->type))
               ? 0 : -1;
}

/* --- for people, and for machines --- */

static const char *idle_text(char out[32], uint64_t s)
{
    static const struct { uint64_t s; const char *unit; } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t unit = 0;
    while (unit < 3 && s < units[unit].s)
        unit++;
    snprintf(out, 32, "%llu%s", (unsigned long long)(s / units[unit].s), units[unit].unit);
    return out;
}

static void add_item(struct buf *out, const struct care *c, const struct item *i)
{
    char size[32], idle[32];
    const char *done = strcmp(i->state, "kept") == 0 ? "" : c->action == GC && c->settings->dry_run ? "would go" : i->state;
    if (c->action != LIST && !*done)
        return;
    buf_printf(out, "  %.16s %10s  %5s  %s%s%s%s%s%s%s\n", i->digest, size_text(size, i->size), idle_text(idle, i->idle_s), i->type,
               *i->type ? " " : "", i->version, *i->use == '-' ? "" : "  in use by a ", *i->use == '-' ? "" : i->use, *done ? "  " : "",
               done);
}

static void add_item_json(struct buf *out, const struct rollout_host *h, const struct store_answer *s, const struct item *i)
{
    rollout_json(out, h, "object");
    buf_add_text(out, ",\"store\":");
    json_add_string(out, s->path, strlen(s->path));
    buf_printf(out, ",\"digest\":\"%s\",\"size\":%llu,\"idle_s\":%llu,\"use\":", i->digest, (unsigned long long)i->size,
               (unsigned long long)i->idle_s);
    buf_printf(out, *i->use == '-' ? "null" : "\"%s\"", i->use);
    buf_printf(out, ",\"state\":\"%s\",\"type\":", i->state);
    buf_printf(out, *i->type ? "\"%s\"" : "null", i->type);
    buf_add_text(out, ",\"version\":");
    if (*i->type)
        json_add_string(out, i->version, strlen(i->version));
    else
        buf_add_text(out, "null");
    buf_add_text(out, "}\n");
}

static void add_sum(struct buf *out, const struct care *c, const struct store_answer *s, const struct sum *sum)
{
    char size[32];
    buf_printf(out, "%s: %zu object%s, %s", s->path, sum->count, sum->count == 1 ? "" : "s", size_text(size, sum->bytes));
    if (c->action == VERIFY)
        buf_printf(out, sum->damaged ? ", %zu damaged" : ", all sound", sum->damaged);
    if (c->action == GC)
        buf_printf(out, c->settings->dry_run ? "; %zu would go" : "; %zu removed", sum->gone);
    if (c->action == GC && sum->gone)
        buf_printf(out, ", %s", size_text(size, sum->gone_bytes));
    buf_add_text(out, "\n");
}

static void add_up(struct sum *sum, const struct care *c, const struct item *i)
{
    bool gone = strcmp(i->state, "removed") == 0;
    sum->count++;
    sum->bytes += i->size;
    sum->gone += gone;
    sum->gone_bytes += gone ? i->size : 0;
    sum->damaged += strcmp(i->state, "damaged") == 0 || (c->action == VERIFY && gone);
}

/* The items of one store, which are well formed. */
static void add_store(struct buf *out, const struct care *c, const struct rollout_host *h, const struct store_answer *s,
                      struct value_reader *r)
{
    struct value_reader again = *r;
    struct sum sum = {0};
    struct item item;
    for (size_t i = 0; i < s->count; i++) {
        take_item(&item, r);
        add_up(&sum, c, &item);
    }
    if (!c->settings->json)
        add_sum(out, c, s, &sum);
    for (size_t i = 0; i < s->count; i++) {
        take_item(&item, &again);
        if (c->settings->json)
            add_item_json(out, h, s, &item);
        else
            add_item(out, c, &item);
    }
}

static void add(void *user, struct buf *out, const struct rollout_host *h)
{
    const struct care *c = user;
    struct store_answer s;
    struct value_reader r;
    size_t count = 0;
    if (!h->answered) { /* only with --json */
        rollout_json(out, h, "end");
        buf_add_text(out, "}\n");
        return;
    }
    for (answer_find_array(&r, &count, h, "stores"); count; count--) {
        take_store(&s, &r);
        if (!*s.problem)
            add_store(out, c, h, &s, &r);
    }
    if (!buf_length(out) && !h->code && !c->settings->json)
        buf_add_text(out, "nothing is stored\n");
}

/* --- judging it --- */

/* Returns 0, or -1 for an answer that makes no sense. */
static int judge_store(const struct care *c, struct rollout_host *h, struct value_reader *r)
{
    struct store_answer s;
    struct sum sum = {0};
    struct item item;
    if (take_store(&s, r))
        return -1;
    for (size_t i = 0; i < s.count; i++) {
        if (take_item(&item, r))
            return -1;
        add_up(&sum, c, &item);
    }
    if (sum.damaged && !h->code)
        h->code = EXIT_DAMAGED;
    if (*s.problem) {
        fprintf(stderr, "sshexec: %s: won't use %s: %s\n", h->name, s.path, s.problem);
        h->code = EXIT_REFUSED;
    }
    return 0;
}

static void judge(const struct care *c, struct rollout_host *h)
{
    struct value_reader r;
    size_t count;
    int rc = answer_find_array(&r, &count, h, "stores") > 0 ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = judge_store(c, h, &r);
    if (rc == 0)
        return;
    h->answered = false;
    h->outcome = SSX_OUTCOME_LOST;
    snprintf(h->message, sizeof h->message, "its agent's answer makes no sense");
}

/* --- asking --- */

static int open_care(struct ssx_fleet **out, const void *what, const struct ssx_fleet_options *o, struct ssx_error *err)
{
    const struct care *c = what;
    const struct settings *s = c->settings;
    int64_t older_s = s->older_ms >= 0 ? s->older_ms / 1000 : s->keep_bytes < 0 ? UNUSED_S : -1;
    if (c->action == LIST)
        return ssx_fleet_open_store(out, SSX_STORE_LIST, -1, -1, o, err);
    if (c->action == VERIFY)
        return ssx_fleet_open_store(out, s->remove ? SSX_STORE_REPAIR : SSX_STORE_VERIFY, -1, -1, o, err);
    return ssx_fleet_open_store(out, s->dry_run ? SSX_STORE_GC_DRY : SSX_STORE_GC, older_s, s->keep_bytes, o, err);
}

static int take_action(struct care *c, const char *word, struct ssx_error *err)
{
    static const char *const names[] = {"list", "verify", "gc"};
    const struct settings *s = c->settings;
    for (c->action = LIST; c->action <= GC; c->action++)
        if (word && strcmp(word, names[c->action]) == 0)
            break;
    if (c->action > GC)
        return error_set(err, SSX_ERROR_USAGE, "store takes list, verify or gc first (sshexec store --help)");
    if ((s->older_ms >= 0 || s->keep_bytes >= 0 || s->dry_run) && c->action != GC)
        return error_set(err, SSX_ERROR_USAGE, "--older-than, --keep and --dry-run belong to store gc");
    if (s->remove && c->action != VERIFY)
        return error_set(err, SSX_ERROR_USAGE, "--remove belongs to store verify");
    return 0;
}

static int ask(struct care *c, char **words, int count)
{
    static const char *const doing[] = {"listed", "verified", "pruned"};
    const struct rolling_options at_once = {0};
    const struct rollout_order order = {.open = open_care, .what = c, .doing = doing[c->action]};
    struct rollout r;
    struct ssx_error err = {0};
    int rc = rollout_init(&r, c->settings, "store", words, count, &err);
    if (rc == 0)
        rc = rollout_ask(&r, &order, &at_once, &err);
    for (size_t i = 0; rc == 0 && i < r.count; i++)
        if (r.hosts[i].answered)
            judge(c, &r.hosts[i]);
    if (rc == 0)
        rollout_show(&r, add, c);
    int code = rc ? (interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err)) : rollout_sum_up(&r);
    rollout_free(&r);
    return code;
}

int command_store(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    struct care c = {.settings = &s};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_HOSTS | OPTIONS_SSH | OPTIONS_JSON | OPTIONS_STORE,
            "usage: sshexec store list|verify|gc [options] [HOST...]\n\n"
            "Shows what is stored for its user on each HOST (sets, as behind -w), or on this machine; hashes it anew; or removes what was\n"
            "not used for long, but never what a running session or a deployed bundle uses.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (rest || take_action(&c, count ? words[0] : NULL, &err)) {
        error_set(&err, SSX_ERROR_USAGE, "store takes no words behind \"--\"");
        return tool_complain(&err);
    }
    return ask(&c, words + 1, count - 1);
}
