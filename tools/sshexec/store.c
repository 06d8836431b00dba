/* sshexec store: what nodes have stored for this user, whether it is sound, and removing what nobody uses. The node's own agent looks after
 * it (core/bundle/tend.h); here its words become text or JSON. */
#include "agents.h"
#include "host_script.h"
#include "interrupt.h"
#include "reach.h"
#include "tool.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/install.h"
#include "base/text.h"
#include "bundle/store.h"
#include "transport/quote.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED_S (30 * 24 * 60 * 60) /* what gc removes unless it is told otherwise */
#define EXIT_DAMAGED 1               /* verify found something */
#define EXIT_DISAGREE 123            /* as for all commands that take several hosts */

enum action { LIST, VERIFY, GC };

struct round {
    const struct settings *settings;
    const char *host, *label;        /* host NULL: this machine */
    enum action action;
    char words[64];                  /* for --tend */
    int interrupt_fd;
};

/* One line that an agent printed. */
struct item { char state[16], digest[DIGEST_HEX + 1], use[16], type[TYPE_NAME_MAX + 1],
    version[64]; unsigned long long size; long long idle_s; };

struct sum { size_t count, gone, damaged; unsigned long long bytes, gone_bytes; };

/* --- for people, and for machines --- */

static const char *size_text(char out[32], unsigned long long bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double number = (double)bytes;
    size_t unit = 0;
    for (; number >= 1024 && unit < 4; unit++)
        number /= 1024;
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", number, units[unit]);
    return out;
}

static const char *idle_text(char out[32], long long s)
{
    static const struct { long long s; const char *unit; } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t unit = 0;
    s = s < 0 ? 0 : s;
    while (unit < 3 && s < units[unit].s)
        unit++;
    snprintf(out, 32, "%lld%s", s / units[unit].s, units[unit].unit);
    return out;
}

static void show_item(const struct round *r, const struct item *i)
{
    char size[32], idle[32];
    const char *done = r->action == GC && strcmp(i->state, "removed") == 0 ? (r->settings->dry_run ? "would go" : "removed")
        : strcmp(i->state, "kept") ? i->state : "";
    if (r->action != LIST && !*done)
        return;
    printf("  %.16s %10s  %5s  %s%s%s%s%s%s%s\n", i->digest, size_text(size, i->size), idle_text(idle, i->idle_s), *i->type == '-' ? ""
           : i->type, *i->type == '-' ? "" : " ",
           *i->type == '-' ? "" : i->version, *i->use == '-' ? "" : "  in use by a ", *i->use == '-' ? "" : i->use, *done ? "  " : "",
               done);
}

static void show_item_json(const struct round *r, const char *store, size_t store_size, const struct item *i)
{
    struct buf out = {0};
    buf_add_text(&out, "{\"host\":");
    json_add_string(&out, r->label, strlen(r->label));
    buf_add_text(&out, ",\"store\":");
    json_add_string(&out, store, store_size);
    buf_printf(&out, ",\"digest\":\"%s\",\"size\":%llu,\"idle_s\":%lld,\"use\":", i->digest, i->size, i->idle_s);
    buf_printf(&out, *i->use == '-' ? "null" : "\"%s\"", i->use);
    buf_printf(&out, ",\"state\":\"%s\",\"type\":", i->state);
    buf_printf(&out, *i->type == '-' ? "null" : "\"%s\"", i->type);
    buf_add_text(&out, ",\"version\":");
    if (*i->type == '-')
        buf_add_text(&out, "null");
    else
        json_add_string(&out, i->version, strlen(i->version));
    buf_add_text(&out, "}\n");
    fwrite(buf_data(&out), 1, buf_length(&out), stdout);
    buf_free(&out);
}

static void show_sum(const struct round *r, const char *store, const struct sum *sum)
{
    char size[32];
    printf("%s: %s: %zu object%s, %s", r->label, store, sum->count, sum->count == 1 ? "" : "s", size_text(size, sum->bytes));
    if (r->action == VERIFY)
        printf(sum->damaged ? ", %zu damaged" : ", all sound", sum->damaged);
    if (r->action == GC)
        printf(r->settings->dry_run ? "; %zu would go" : "; %zu removed", sum->gone);
    if (r->action == GC && sum->gone)
        printf(", %s", size_text(size, sum->gone_bytes));
    puts("");
}

/* --- what a host said --- */

/* The words of a line, hostile text. Returns 0 or -1. */
static int read_item(struct item *i, const char *line, size_t n)
{
    char text[512], version[64];
    int at = 0;
    if (n >= sizeof text)
        return -1;
    memcpy(text, line, n);
    text[n] = 0;
    if (sscanf(text, "%15s %64s %20llu %20lld %15s %64s %n", i->state, i->digest, &i->size, &i->idle_s, i->use, i->type, &at) < 6 || !at)
        return -1;
    text_escape(version, sizeof version, text + at, strlen(text + at));
    snprintf(i->version, sizeof i->version, "%s", version);
    struct digest digest;
    bool state = strcmp(i->state, "kept") == 0 || strcmp(i->state, "damaged") == 0 || strcmp(i->state, "removed") == 0;
    bool use = strcmp(i->use, "-") == 0 || strcmp(i->use, "generation") == 0 || strcmp(i->use, "call") == 0;
    return state && use && text_unhex(digest.bytes, DIGEST_SIZE, i->digest) == 0 &&
        (strcmp(i->type, "-") == 0 || text_is_type_name(i->type)) ? 0 : -1;
}

static void add_up(struct sum *sum, const struct round *r, const struct item *i)
{
    bool gone = strcmp(i->state, "removed") == 0;
    sum->count++;
    sum->bytes += i->size;
    sum->gone += gone;
    sum->gone_bytes += gone ? i->size : 0;
    sum->damaged += strcmp(i->state, "damaged") == 0 || (r->action == VERIFY && gone);
}

static bool line_is(const char *line, size_t n, const char *word) { return n >= strlen(word) && memcmp(line, word, strlen(word)) == 0; }

/* Shows what one store holds: lines up to "end", from *at on. Returns 0 (*code is set where something is damaged), or -1 with err. */
static int show_store(const struct round *r, const struct host_script *h, size_t *at, const char *store, size_t store_size, int *code,
                      struct ssx_error *err)
{
    char name[PATH_MAX];
    struct sum sum = {0};
    struct item item;
    size_t first = *at, n;
    const char *line;
    text_escape(name, sizeof name, store, store_size);
    while ((line = host_script_line(h, at, &n)) && !line_is(line, n, "end")) {
        if (read_item(&item, line, n))
            return error_set(err, SSX_ERROR_PROTOCOL, "%s: its agent says \"%.*s\" of %s", r->label, n < 200 ? (int)n : 200, line, name);
        add_up(&sum, r, &item);
    }
    if (!line)
        return error_set(err, SSX_ERROR_PROTOCOL, "%s: its agent did not come to the end of %s", r->label, name);
    if (!r->settings->json)
        show_sum(r, name, &sum);
    while ((line = host_script_line(h, &first, &n)) && !line_is(line, n, "end")) {
        read_item(&item, line, n);
        if (r->settings->json)
            show_item_json(r, store, store_size, &item);
        else
            show_item(r, &item);
    }
    if (sum.damaged)
        *code = EXIT_DAMAGED;
    return 0;
}

/* Returns the exit code, or -1 with err. */
static int show_all(const struct round *r, const struct host_script *h, struct ssx_error *err)
{
    char name[PATH_MAX];
    size_t at = 0, n, stores = 0;
    int code = 0;
    for (const char *line; (line = host_script_line(h, &at, &n));) {
        if (line_is(line, n, "store ")) {
            stores++;
            if (show_store(r, h, &at, line + 6, n - 6, &code, err))
                return -1;
        } else if (line_is(line, n, "foreign ")) {
            text_escape(name, sizeof name, line + 8, n - 8);
            fprintf(stderr, "sshexec: %s: won't use %s: it is a link, or belongs to another user\n", r->label, name);
            code = EXIT_REFUSED;
        }
    }
    if (!stores && code == 0 && !r->settings->json)
        printf("%s: nothing is stored\n", r->label);
    return code;
}

/* --- asking --- */

/* Here, the installed agent and the one store that it uses: another one in this home may be somebody else's business (XDG_CACHE_HOME says
 * which is meant). As another user, both are looked for there as on a host. */
static int add_script(const struct round *r, struct buf *out, const struct agent_image *image)
{
    char agent[PATH_MAX];
    struct buf only = {0};
    struct store store;
    store_open(&store, NULL);
    bool here = !r->host && !r->settings->become;
    int rc = buf_add_text(out, "a=") || (!r->host && shell_quote(out, install_agent(agent, sizeof agent))) || buf_add_text(out, "\n") ||
             (here && (shell_quote(&only, store.dir) || buf_add(&only, "", 1))) ||
             bootstrap_store_script(out, here ? (const char *)buf_data(&only) : NULL, image->digest, r->words) || buf_add(out, "", 1);
    buf_free(&only);
    return rc ? -1 : 0;
}

/* Asks a host. Where there is a store but no agent of ours, one is brought, as for a call. Returns the exit code, or -1 with err. */
static int ask(const struct round *r, const struct agent_image *image, struct ssx_error *err)
{
    struct buf script = {0};
    struct host_script h = {0};
    size_t n;
    int rc = add_script(r, &script, image) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory")
                                           : host_script_run(&h, r->settings, r->host, (const char *)buf_data(&script), r->interrupt_fd,
                                                             err);
    if (rc == 0 && host_script_said(&h, "agentless", 0, &n)) {
        host_script_free(&h);
        rc = reach_settle(r->settings, r->host, r->interrupt_fd, err) ||
             host_script_run(&h, r->settings, r->host, (const char *)buf_data(&script), r->interrupt_fd, err) ? -1 : 0;
        if (rc == 0 && host_script_said(&h, "agentless", 0, &n))
            rc = error_set(err, SSX_ERROR_REFUSED, "%s keeps no agent that could look after its store", r->label);
    }
    if (rc == 0)
        rc = show_all(r, &h, err);
    host_script_free(&h);
    buf_free(&script);
    return rc;
}

static void make_words(struct round *r)
{
    const struct settings *s = r->settings;
    char older[24] = "", keep[24] = "";
    if (s->older_ms >= 0)
        snprintf(older, sizeof older, "%ld", s->older_ms / 1000);
    else if (s->keep_bytes < 0)
        snprintf(older, sizeof older, "%d", UNUSED_S);
    if (s->keep_bytes >= 0)
        snprintf(keep, sizeof keep, "%lld", (long long)s->keep_bytes);
    if (r->action == GC)
        snprintf(r->words, sizeof r->words, "gc%s:%s:%s", s->dry_run ? "-dry" : "", older, keep);
    else
        snprintf(r->words, sizeof r->words, "%s", r->action == LIST ? "list" : s->remove ? "verify-remove" : "verify");
}

static int take_action(struct round *r, const char *word, struct ssx_error *err)
{
    static const char *const names[] = {"list", "verify", "gc"};
    const struct settings *s = r->settings;
    for (r->action = LIST; r->action <= GC; r->action++)
        if (word && strcmp(word, names[r->action]) == 0)
            break;
    if (r->action > GC)
        return error_set(err, SSX_ERROR_USAGE, "store takes list, verify or gc first (sshexec store --help)");
    if ((s->older_ms >= 0 || s->keep_bytes >= 0 || s->dry_run) && r->action != GC)
        return error_set(err, SSX_ERROR_USAGE, "--older-than, --keep and --dry-run belong to store gc");
    if (s->remove && r->action != VERIFY)
        return error_set(err, SSX_ERROR_USAGE, "--remove belongs to store verify");
    make_words(r);
    return 0;
}

/* Each host in turn. */
static int ask_all(struct round *r, char **hosts, int count)
{
    struct agent_image image;
    struct ssx_error err = {0};
    int code = -1;
    if (own_agent_open(&image, &err))
        return tool_complain(&err);
    for (int i = 0; i < (count ? count : 1); i++) {
        memset(&err, 0, sizeof err);
        r->host = count ? hosts[i] : NULL;
        r->label = r->host ? r->host : "this machine";
        int one = ask(r, &image, &err);
        if (interrupt_signal())
            return EXIT_SIGNAL + interrupt_signal();
        if (one < 0)
            one = tool_complain(&err);
        code = code < 0 || code == one ? one : EXIT_DISAGREE;
    }
    return code;
}

int command_store(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    struct round r = {.settings = &s};
    char **words, **rest;
    int count, code;
    if (tool_start(&s, OPTIONS_SSH | OPTIONS_JSON | OPTIONS_STORE, "usage: sshexec store list|verify|gc [options] [HOST...]\n\n"
                   "Shows what is stored for its user on each HOST, or on this machine; hashes it anew; or removes what was not used for long, but\n"
                   "never what a running session or a deployed bundle uses.", argc, argv, &words, &count, &rest, &code))
        return code;
    if (rest || take_action(&r, count ? words[0] : NULL, &err)) {
        error_set(&err, SSX_ERROR_USAGE, "store takes no words behind \"--\"");
        return tool_complain(&err);
    }
    r.interrupt_fd = interrupt_watch();
    return ask_all(&r, words + 1, count - 1);
}
