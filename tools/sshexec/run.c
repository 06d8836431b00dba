/* sshexec run: one call of one type on one host, or on many. */
#include "conversation.h"
#include "fan_out.h"
#include "fan_type.h"
#include "interrupt.h"
#include "node_type.h"
#include "report.h"
#include "scatter.h"
#include "show_type.h"
#include "state_out.h"
#include "tool.h"
#include "words.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct run {
    struct settings settings;
    struct type type;
    struct reach reach;
    struct report report;
    const char *name;                /* of the type, as it was given */
    const char *host;                /* NULL: this machine, or a set of hosts: */
    struct fan_hosts hosts;
    struct conversation conversation;
    bool is_open;                    /* the reach */
    bool input;                      /* the worker gets our stdin */
    struct buf state;                /* what came back, if somebody wants it */
};

static int show(void *user, const struct message *m)
{
    struct run *r = user;
    if (m->kind == MESSAGE_STATE && r->settings.state_out)
        buf_add(&r->state, m->data.bytes.at, m->data.bytes.n);
    return report_message(&r->report, m);
}

/* Returns the exit code of the call, or why what came back could not be kept. */
static int keep_state(struct run *r, int code)
{
    struct ssx_error err = {0};
    if (!r->settings.state_out || r->conversation.outcome != SSX_OUTCOME_OK)
        return code;
    return state_out_write(r->settings.state_out, &r->type.plugin.descriptor, buf_data(&r->state),
                           r->state.failed ? 0 : buf_length(&r->state), &err)
               ? tool_complain(&err)
               : code;
}

/* Opens the link, unless the type was asked of the node through it. Returns 0 or the exit code. */
static int start(struct run *r)
{
    report_init(&r->report, r->name, r->host ? r->host : "local", &r->type.plugin.descriptor);
    r->report.json = r->settings.json;
    r->report.quiet = r->settings.quiet;
    r->report.verbose = r->settings.verbose;
    if (r->settings.state_out && strcmp(r->settings.state_out, "-") == 0)
        r->report.out_fd = STDERR_FILENO;
    r->conversation = (struct conversation){.settings = &r->settings,
                                            .reach = &r->reach,
                                            .type = &r->type,
                                            .interrupt_fd = interrupt_watch(),
                                            .input_fd = r->input ? STDIN_FILENO : -1,
                                            .show = show,
                                            .user = r};
    int code = r->is_open ? 0 : conversation_open(&r->conversation, r->host);
    r->is_open = code == 0;
    return code;
}

static int call(struct run *r, const struct buf *state)
{
    int code = start(r);
    if (code)
        return code;
    code = keep_state(r, conversation_hold(&r->conversation, buf_data(state), buf_length(state)));
    report_free(&r->report);
    buf_free(&r->state);
    if (!r->conversation.output_error || interrupt_signal())
        return code;
    reach_close(&r->reach); /* now: the process may end below */
    r->is_open = false;
    return tool_output_lost(r->conversation.output_error);
}

/* --- one host or a set --- */

static int check_host(const struct settings *s, const char *host, struct ssx_error *err)
{
    if (fan_hosts_is_set(host))
        return error_set(err, SSX_ERROR_USAGE, "%s is no host, but a set of hosts: those stand behind -w", host);
    if (settings_name_hosts(s))
        return error_set(
            err, SSX_ERROR_USAGE,
            "%s beside -w, -x and the like: hosts stand either there or behind -w (a field is name=value; words for the worker stand behind --)",
            host);
    return 0;
}

static int check_fleet(const struct settings *s, struct ssx_error *err)
{
    if (s->record && !s->rerun)
        return error_set(err, SSX_ERROR_USAGE, "--record says which run --rerun takes its hosts from");
    if (s->state_out)
        return error_set(err, SSX_ERROR_USAGE, "--state-out is for a host alone, not with %s", s->for_hosts[0] ? s->for_hosts : "-w");
    return scatter_check(s, err);
}

/* Which it is: a host with options for hosts is a set of one. Returns 0 or -1. */
static int choose_hosts(struct run *r, const char *host, struct ssx_error *err)
{
    struct settings *s = &r->settings;
    if (host && check_host(s, host, err))
        return -1;
    if (!settings_name_hosts(s) && s->for_hosts[0] && !host && !s->help)
        return error_set(err, SSX_ERROR_USAGE, "%s is for hosts: which? a HOST, or -w SET", s->for_hosts);
    if (!settings_name_hosts(s) && s->for_hosts[0] && host && settings_add_hosts(s, host, err))
        return -1;
    if (settings_name_hosts(s))
        return check_fleet(s, err) || fan_hosts_find(&r->hosts, s, "run", err) ? -1 : 0;
    r->host = host;
    return 0;
}

static int run_fleet(struct run *r, char **words, int count, char **rest)
{
    struct ssx_error err = {0};
    struct word_list list;
    int rc = words_read(&list, &r->type.plugin.descriptor, words, count, rest, r->settings.state_file, &err);
    int code = rc ? tool_complain(&err) : fan_out(&r->settings, &r->hosts, &r->type, r->name, &list);
    words_forget(&list);
    return code;
}

/* For those who are used to ssh, pdsh or clush: a command stands where the type should, or the host before it. Returns
 * whether that is so: no host needs to be asked then. */
static bool advise(const struct run *r, struct ssx_error *err)
{
    struct type type;
    struct ssx_error none = {0};
    size_t n = strlen(err->text);
    if (!r->host || strchr(r->host, '/') || type_open(&type, r->host, r->settings.plugin_path, &none)) {
        snprintf(err->text + n, sizeof err->text - n, " (a program is run by the type exec: sshexec run exec ... -- %s)", r->name);
        return false;
    }
    type_close(&type);
    *err = (struct ssx_error){0};
    error_set(err, SSX_ERROR_UNKNOWN_TYPE,
              "there is no type %s, but a type %s: it stands before the host (sshexec run %s %s)", r->name, r->host,
              r->host, r->name);
    return true;
}

/* The type, from here or else from where it will run. Returns 0 or the exit code. */
static int open_type(struct run *r)
{
    struct ssx_error err = {0};
    if (type_open(&r->type, r->name, r->settings.plugin_path, &err) == 0)
        return 0;
    if (err.code == SSX_ERROR_UNKNOWN_TYPE && advise(r, &err))
        return tool_complain(&err);
    if (err.code != SSX_ERROR_UNKNOWN_TYPE || !text_is_type_name(r->name) || !(r->host || r->hosts.count))
        return tool_complain(&err);
    if (r->hosts.count)
        return fan_type_open(&r->type, &r->settings, &r->hosts, r->name, &err);
    int code = start(r);
    if (code == 0)
        code = node_type_open(&r->type, &r->reach, &r->settings, r->host, r->name, r->conversation.interrupt_fd, &err);
    interrupt_unwatch(); /* the state may be read from a terminal next */
    return code;
}

static int run_one(struct run *r, char **words, int count, char **rest)
{
    struct ssx_error err = {0};
    struct buf state = {0};
    bool read_stdin;
    const struct descriptor *d = &r->type.plugin.descriptor;
    int code;
    if ((r->settings.state_out && state_out_check(r->settings.state_out, r->settings.json, d, &err)) ||
        words_parse(&state, &r->host, &read_stdin, d, words, count, rest, r->settings.state_file, &err) ||
        (!r->host && type_fits_here(&r->type, &err))) {
        code = tool_complain(&err);
    } else {
        r->input = (d->traits & TRAIT_TAKES_INPUT) && !r->settings.no_input && !read_stdin;
        code = call(r, &state);
    }
    buf_free(&state);
    return code;
}

int command_run(int argc, char **argv)
{
    static struct run r; /* lives as long as the command */
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    unsigned groups = OPTIONS_FLEET | OPTIONS_OUTPUT | OPTIONS_SSH | OPTIONS_CALL | OPTIONS_JSON | OPTIONS_PLUGINS;
    if (tool_start(&r.settings, groups, "usage: sshexec run [options] TYPE [HOST | -w SET] [field=value ...] [-- WORD ...]\n\n"
                   "Runs the worker TYPE (a name, or the path of a plugin) on HOST, on all hosts of SET, or on this machine.\n\n"
                   "  field=text    typed by the schema; again for a list: one more element\n"
                   "  field%=text   for many hosts: %h host, %u user, %p port, %n number\n"
                   "  field:=JSON   a whole value      field=@FILE  text from a file (@@: a literal @)\n"
                   "  -- WORD ...   for the type's `rest` field\n\n"
                   "sshexec run TYPE --help shows the fields of a type.", argc, argv, &words, &count, &rest, &code))
        return code;
    if (!count) {
        error_set(&err, SSX_ERROR_USAGE, "run what? sshexec run TYPE [HOST] [field=value ...] (sshexec list shows the types)");
        return tool_complain(&err);
    }
    r.name = words[0];
    code = choose_hosts(&r, words_host(words + 1, count - 1), &err) ? tool_complain(&err) : open_type(&r);
    if (code == 0 && r.settings.help) {
        show_type(&r.type.plugin.descriptor);
        settings_print_options(groups);
    } else if (code == 0) {
        code = r.hosts.count ? run_fleet(&r, words + 1, count - 1, rest) : run_one(&r, words + 1, count - 1, rest);
    }
    if (r.is_open)
        reach_close(&r.reach);
    type_close(&r.type);
    fan_hosts_free(&r.hosts);
    return code;
}
