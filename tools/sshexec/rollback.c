/* sshexec rollback, sshexec generations: what was deployed on hosts, and back to it. */
#include "interrupt.h"
#include "rollout.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "wire/value.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- rollback --- */

static void add_rollback(void *user, struct buf *out, const struct rollout_host *h)
{
    const struct settings *s = user;
    if (s->json) {
        rollout_json(out, h);
        if (h->answered)
            buf_printf(out, ",\"generation\":%llu,\"changed\":%s", (unsigned long long)h->generation, h->changes ? "true" : "false");
        buf_add_text(out, "}\n");
    } else if (!s->quiet) {
        buf_printf(out, h->changes ? "back to generation %llu\n" : "generation %llu is in force already\n",
                   (unsigned long long)h->generation);
    }
}

/* --- generations --- */

struct entry { uint64_t number, made; size_t bundles; };
struct bundle_entry { char name[96], version[96], signer[300]; uint64_t serial; };

static int take_text(struct value_reader *r, char *out, size_t size)
{
    const char *at;
    size_t n;
    if (value_take_str(r, &at, &n))
        return -1;
    text_escape(out, size, at, n);
    return 0;
}

static int take_entry(struct value_reader *r, struct entry *e)
{
    size_t parts;
    return value_take_array(r, &parts) || parts != 3 || value_take_uint(r, UINT32_MAX, &e->number) ||
        value_take_uint(r, INT64_MAX, &e->made) ||
                   value_take_array(r, &e->bundles) ? -1 : 0;
}

static int take_bundle(struct value_reader *r, struct bundle_entry *b)
{
    size_t parts;
    return value_take_array(r, &parts) || parts != 4 || take_text(r, b->name, sizeof b->name) ||
        take_text(r, b->version, sizeof b->version) ||
                   value_take_uint(r, INT64_MAX, &b->serial) || take_text(r, b->signer, sizeof b->signer) ? -1 : 0;
}

static const char *time_text(char out[32], uint64_t made)
{
    time_t at = (time_t)made;
    struct tm tm;
    if (!localtime_r(&at, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M", &tm))
        snprintf(out, 32, "-");
    return out;
}

static void add_bundle(struct buf *out, const struct bundle_entry *b, bool json, bool first)
{
    if (!json) {
        buf_printf(out, "%s%s %s%s%s", first ? "  " : ", ", b->name, b->version, *b->signer ? ", signed by " : "", b->signer);
        return;
    }
    buf_add_text(out, first ? "{\"name\":" : ",{\"name\":");
    json_add_string(out, b->name, strlen(b->name));
    buf_add_text(out, ",\"version\":");
    json_add_string(out, b->version, strlen(b->version));
    buf_printf(out, ",\"serial\":%llu,\"signer\":", (unsigned long long)b->serial);
    if (*b->signer)
        json_add_string(out, b->signer, strlen(b->signer));
    else
        buf_add_text(out, "null");
    buf_add_text(out, "}");
}

static int add_entry(struct buf *out, struct value_reader *r, const struct rollout_host *h, bool json)
{
    struct entry e;
    struct bundle_entry b;
    char when[32];
    if (take_entry(r, &e))
        return -1;
    if (json) {
        rollout_json(out, h);
        buf_printf(out, ",\"generation\":%llu,\"in_force\":%s,\"made\":%llu,\"bundles\":[", (unsigned long long)e.number,
                   e.number == h->generation ? "true" : "false",
                   (unsigned long long)e.made);
    } else {
        buf_printf(out, "%s %4llu  %s", e.number == h->generation ? "*" : " ", (unsigned long long)e.number, time_text(when, e.made));
    }
    for (size_t i = 0; i < e.bundles; i++) {
        if (take_bundle(r, &b))
            return -1;
        add_bundle(out, &b, json, i == 0);
    }
    return buf_add_text(out, json ? "]}\n" : "\n");
}

/* The array behind "generations". */
static int add_entries(struct buf *out, const struct rollout_host *h, bool json)
{
    struct value_reader r = value_reader(buf_data(&h->value), buf_length(&h->value));
    size_t pairs, count = 0;
    if (value_take_map(&r, &pairs))
        return -1;
    for (struct value key; pairs; pairs--) {
        if (value_next(&r, &key))
            return -1;
        if (!value_is_text(&key, "generations")) {
            if (value_skip(&r))
                return -1;
            continue;
        }
        if (value_take_array(&r, &count))
            return -1;
        for (size_t i = 0; i < count; i++)
            if (add_entry(out, &r, h, json))
                return -1;
    }
    if (!count && !json)
        buf_add_text(out, "  nothing was deployed\n");
    return 0;
}

static void add_generations(void *user, struct buf *out, const struct rollout_host *h)
{
    const struct settings *s = user;
    if (!h->answered) {
        rollout_json(out, h);
        buf_add_text(out, "}\n");
        return;
    }
    if (!s->json)
        buf_add_text(out, "\n");
    if (add_entries(out, h, s->json))
        fprintf(stderr, "sshexec: %s: its agent's answer makes no sense\n", h->name);
}

/* --- both --- */

static int run(struct settings *s, const char *command, char **words, int count, const struct client_offer *offer, const char *doing,
               void (*show)(void *user, struct buf *out, const struct rollout_host *h))
{
    struct rollout r;
    struct ssx_error err = {0};
    int rc = rollout_init(&r, s, command, words, count, &err);
    if (rc == 0)
        rc = rollout_ask(&r, offer, &s->rolling, doing, &err);
    if (rc == 0)
        rollout_show(&r, show, s);
    int code = rc ? (interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err)) : rollout_sum_up(&r);
    rollout_free(&r);
    return code;
}

static int no_rest(const char *command)
{
    struct ssx_error err = {0};
    error_set(&err, SSX_ERROR_USAGE, "%s takes no words behind \"--\"", command);
    return tool_complain(&err);
}

int command_rollback(int argc, char **argv)
{
    struct settings s;
    char **words, **rest;
    int count, code;
    if (tool_start(&s, OPTIONS_ROLLBACK | OPTIONS_HOSTS | OPTIONS_ROLLING | OPTIONS_SSH | OPTIONS_JSON, "usage: sshexec rollback [options] [HOST...]\n\n"
                   "Puts back in force what each HOST, or this machine, had before the last deploy, or a generation of your choice.", argc,
                       argv, &words, &count, &rest, &code))
        return code;
    struct client_offer offer = {.order = {.what = span_text("rollback"), .generation = (uint64_t)s.generation}};
    return rest ? no_rest("rollback") : run(&s, "rollback", words, count, &offer, "rolled back", add_rollback);
}

int command_generations(int argc, char **argv)
{
    struct settings s;
    char **words, **rest;
    int count, code;
    if (tool_start(&s, OPTIONS_HOSTS | OPTIONS_SSH | OPTIONS_JSON, "usage: sshexec generations [options] [HOST...]\n\n"
                   "Shows what was deployed on each HOST, or on this machine; the generation in force has a star.", argc, argv, &words,
                       &count, &rest, &code))
        return code;
    struct client_offer offer = {.order = {.what = span_text("list")}};
    return rest ? no_rest("generations") : run(&s, "generations", words, count, &offer, "asked", add_generations);
}
