/* sshexec list and sshexec describe: what types there are, here or on a host. Nothing of a plugin is run. */
#include "interrupt.h"
#include "reach.h"
#include "report.h"
#include "show_type.h"
#include "tool.h"
#include "types.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One type as it was found: its descriptor, or why it has none. */
typedef void show_fn(void *user, const char *type, const char *where, const struct descriptor *d, const char *problem);

/* --- on a host --- */

static void show_described(const struct message_describe *m, show_fn *show, void *user)
{
    char type[TYPE_NAME_MAX + 1], where[512], problem[SSX_ERROR_TEXT];
    struct descriptor d;
    struct ssx_error err = {0};
    text_escape(type, sizeof type, m->type.at ? m->type.at : "", m->type.n);
    text_escape(where, sizeof where, m->where.at ? m->where.at : "", m->where.n);
    if (m->problem.n || !m->note.n) {
        text_escape(problem, sizeof problem, m->problem.n ? m->problem.at : "no descriptor came", m->problem.n ? m->problem.n : 18);
        show(user, type, where, NULL, problem);
    } else if (descriptor_parse(&d, m->note.at, m->note.n, &err)) {
        show(user, type, where, NULL, err.text);
    } else {
        show(user, type, where, &d, NULL);
        descriptor_dispose(&d);
    }
}

struct asking { show_fn *show; void *user; };

static void take_message(void *user, const struct message *m)
{
    const struct asking *a = user;
    if (m->kind == MESSAGE_DESCRIBE)
        show_described(&m->describe, a->show, a->user);
}

static int ask_host(const struct settings *s, const char *host, const char *type, show_fn *show, void *user)
{
    struct reach r;
    struct ssx_error err = {0};
    struct asking asking = {show, user};
    int interrupt_fd = interrupt_watch();
    if (reach_open(&r, s, host, interrupt_fd, &err))
        return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
    int code = reach_describe(&r, s, type, interrupt_fd, take_message, &asking);
    reach_close(&r);
    return code;
}

/* --- showing --- */

struct listing { bool json; char (*seen)[TYPE_NAME_MAX + 1]; size_t count; };

static void print_line(const struct listing *l, const char *type, const char *where, const struct descriptor *d, const char *problem)
{
    struct buf line = {0};
    if (!l->json) {
        if (d)
            printf("%-16s %-8s %s\n", type, d->version, d->doc);
        else
            printf("%-16s %-8s can't be used: %s\n", type, "-", problem);
        return;
    }
    buf_add_text(&line, "{\"type\":");
    json_add_string(&line, type, strlen(type));
    buf_add_text(&line, d ? ",\"version\":" : ",\"problem\":");
    json_add_string(&line, d ? d->version : problem, strlen(d ? d->version : problem));
    if (d) {
        buf_add_text(&line, ",\"doc\":");
        json_add_string(&line, d->doc, strlen(d->doc));
        buf_printf(&line, ",\"schema\":\"%s\"", d->schema_digest);
    }
    buf_add_text(&line, ",\"where\":");
    json_add_string(&line, where, strlen(where));
    buf_add_text(&line, "}\n");
    fwrite(buf_data(&line), 1, buf_length(&line), stdout);
    buf_free(&line);
}

static bool was_seen(const struct listing *l, const char *type)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->seen[i], type) == 0)
            return true;
    return false;
}

/* What the node has under a name hides the sender's plugin of that name. */
static void show_line(void *user, const char *type, const char *where, const struct descriptor *d, const char *problem)
{
    struct listing *l = user;
    void *more = realloc(l->seen, (l->count + 1) * sizeof *l->seen);
    if (more) {
        l->seen = more;
        snprintf(l->seen[l->count++], sizeof *l->seen, "%s", type);
    }
    print_line(l, type, where, d, problem);
}

static int show_found(void *user, const char *type, const char *path)
{
    const struct listing *l = user;
    struct plugin plugin;
    struct ssx_error err = {0};
    if (was_seen(l, type))
        return 0;
    if (plugin_open(&plugin, path, NULL, NULL, &err)) {
        print_line(l, type, path, NULL, err.text);
        return 0;
    }
    print_line(l, type, path, &plugin.descriptor, NULL);
    plugin_dispose(&plugin);
    return 0;
}

/* The types of this sender: those that a host lacks travel there when they are called. */
static int list_here(const struct settings *s, struct listing *l)
{
    struct registry registry;
    struct ssx_error err = {0};
    if (types_registry(&registry, s->plugin_path, &err))
        return tool_complain(&err);
    registry_each(&registry, show_found, l);
    registry_close(&registry);
    return 0;
}

int command_list(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_SSH | OPTIONS_JSON | OPTIONS_PLUGINS,
            "usage: sshexec list [options] [HOST]\n\nLists the types that can be run here, or on HOST: the node's own, and this sender's.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (count > 1 || rest) {
        error_set(&err, SSX_ERROR_USAGE, "list takes one host at most");
        return tool_complain(&err);
    }
    struct listing l = {.json = s.json};
    code = count ? ask_host(&s, words[0], NULL, show_line, &l) : 0;
    if (code == 0)
        code = list_here(&s, &l);
    free(l.seen);
    return code;
}

struct describing { bool json, check; int code; };

static void show_whole(void *user, const char *type, const char *where, const struct descriptor *d, const char *problem)
{
    struct describing *to = user;
    struct buf json = {0};
    struct ssx_error err = {0};
    if (!d) {
        error_set(&err, SSX_ERROR_REFUSED, "%s (%s) can't be used: %s", type, where, problem);
        to->code = tool_complain(&err);
    } else if (to->check) {
        if (descriptor_check(d, &err)) {
            error_prefix(&err, "%s", where);
            to->code = tool_complain(&err);
        }
    } else if (to->json && show_type_json(&json, d) == 0) {
        printf("%.*s\n", (int)buf_length(&json), (const char *)buf_data(&json));
    } else {
        show_type(d);
    }
    buf_free(&json);
}

static int describe_here(const struct settings *s, const char *word, struct describing *to)
{
    struct type type;
    struct ssx_error err = {0};
    if (type_open(&type, word, s->plugin_path, &err))
        return tool_complain(&err);
    show_whole(to, type.plugin.descriptor.type, type.plugin.path, &type.plugin.descriptor, NULL);
    type_close(&type);
    return to->code;
}

int command_describe(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_SSH | OPTIONS_JSON | OPTIONS_PLUGINS | OPTIONS_CHECK,
            "usage: sshexec describe [options] TYPE [HOST]\n\nSays what a type takes and gives, from its plugin's descriptor; nothing of it is run. TYPE is a name or the path of a plugin.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (count < 1 || count > 2 || rest) {
        error_set(&err, SSX_ERROR_USAGE, "describe takes a type, and a host if it's not this machine");
        return tool_complain(&err);
    }
    struct describing to = {.json = s.json, .check = s.check};
    if (count == 1)
        return describe_here(&s, words[0], &to);
    code = ask_host(&s, words[1], words[0], show_whole, &to);
    return code == EXIT_UNKNOWN_TYPE ? describe_here(&s, words[0], &to) : code ? code : to.code;
}
