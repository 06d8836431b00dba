/* sshexec rollback, sshexec generations: what was deployed on hosts, and back to it. */
#include "answer.h"
#include "interrupt.h"
#include "rollout.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/sender.h"
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
        rollout_json(out, h, "end");
        if (h->answered)
            buf_printf(out, ",\"generation\":%llu,\"changed\":%s", (unsigned long long)h->generation, h->changes ? "true" : "false");
        buf_add_text(out, "}\n");
    } else if (!s->quiet) {
        buf_printf(out, h->changes ? "back to generation %llu\n" : "generation %llu is in force already\n",
                   (unsigned long long)h->generation);
    }
}

static int open_rollback(struct ssx_fleet **out, const void *what, const struct ssx_fleet_options *o,
                         struct ssx_error *err)
{
    const struct settings *s = what;
    return ssx_fleet_open_rollback(out, (uint64_t)s->generation, o, err);
}

/* --- generations --- */

static int open_generations(struct ssx_fleet **out, const void *what, const struct ssx_fleet_options *o,
                            struct ssx_error *err)
{
    (void)what;
    return ssx_fleet_open_generations(out, o, err);
}

struct entry { uint64_t number, made; size_t bundles; };
struct bundle_entry { char name[96], version[96], signer[300]; uint64_t serial; };

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
    return value_take_array(r, &parts) || parts != 4 || answer_take_text(b->name, sizeof b->name, r) ||
        answer_take_text(b->version, sizeof b->version, r) ||
                   value_take_uint(r, INT64_MAX, &b->serial) || answer_take_text(b->signer, sizeof b->signer, r) ? -1 : 0;
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
        buf_printf(out, "%s%s %s", first ? "  " : ", ", b->name, b->version);
        if (b->serial)
            buf_printf(out, " (serial %llu)", (unsigned long long)b->serial);
        buf_printf(out, "%s%s", *b->signer ? ", signed by " : "", b->signer);
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

/* maker: what the sender said of itself; "": nothing. */
static void add_head(struct buf *out, const struct entry *e, const char *maker, const struct rollout_host *h, bool json)
{
    char when[32];
    bool in_force = e->number == h->generation;
    if (!json) {
        buf_printf(out, "%s %4llu  %s  %s%-24s", in_force ? "*" : " ", (unsigned long long)e->number, time_text(when, e->made),
                   *maker ? "said " : "-    ", maker);
        return;
    }
    rollout_json(out, h, "generation");
    buf_printf(out, ",\"generation\":%llu,\"in_force\":%s,\"made\":%llu,\"said_by\":", (unsigned long long)e->number,
               in_force ? "true" : "false", (unsigned long long)e->made);
    if (*maker)
        json_add_string(out, maker, strlen(maker));
    else
        buf_add_text(out, "null");
    buf_add_text(out, ",\"bundles\":[");
}

static int add_entry(struct buf *out, struct value_reader *r, const char *maker, const struct rollout_host *h, bool json)
{
    struct entry e;
    struct bundle_entry b;
    if (take_entry(r, &e))
        return -1;
    add_head(out, &e, maker, h, json);
    for (size_t i = 0; i < e.bundles; i++) {
        if (take_bundle(r, &b))
            return -1;
        add_bundle(out, &b, json, i == 0);
    }
    return buf_add_text(out, json ? "]}\n" : "\n");
}

/* An agent of before it kept them says nothing of who made what. */
static int add_entries(struct buf *out, const struct rollout_host *h, bool json)
{
    struct value_reader entries, makers;
    size_t count, maker_count;
    if (answer_find_array(&entries, &count, h, "generations") < 0 || answer_find_array(&makers, &maker_count, h, "makers") < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        char maker[SENDER_NAME] = "";
        if ((i < maker_count && answer_take_text(maker, sizeof maker, &makers)) || add_entry(out, &entries, maker, h, json))
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
        rollout_json(out, h, "end");
        buf_add_text(out, "}\n");
        return;
    }
    if (!s->json)
        buf_add_text(out, "\n");
    if (add_entries(out, h, s->json))
        fprintf(stderr, "sshexec: %s: its agent's answer makes no sense\n", h->name);
}

/* --- both --- */

static int run(struct settings *s, const char *command, char **words, int count, const struct rollout_order *order,
               void (*show)(void *user, struct buf *out, const struct rollout_host *h))
{
    struct rollout r;
    struct ssx_error err = {0};
    int rc = rollout_init(&r, s, command, words, count, &err);
    if (rc == 0)
        rc = rollout_ask(&r, order, &s->rolling, &err);
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
    if (tool_start(
            &s, OPTIONS_ROLLBACK | OPTIONS_HOSTS | OPTIONS_ROLLING | OPTIONS_SSH | OPTIONS_JSON,
            "usage: sshexec rollback [options] [HOST...]\n\n"
            "Puts back in force what each HOST, or this machine, had before the last deploy, or a generation of your choice.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    const struct rollout_order order = {.open = open_rollback, .what = &s, .doing = "rolled back"};
    return rest ? no_rest("rollback") : run(&s, "rollback", words, count, &order, add_rollback);
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
    const struct rollout_order order = {.open = open_generations, .doing = "asked"};
    return rest ? no_rest("generations") : run(&s, "generations", words, count, &order, add_generations);
}
