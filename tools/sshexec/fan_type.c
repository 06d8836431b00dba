#include "fan_type.h"

#include "interrupt.h"
#include "node_type.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <sshexec/fleet.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define ASKED_AT_ONCE 8 /* one answer is enough; but one host that can't be reached must not hold it up */

struct search {
    const struct fan_hosts *hosts;
    const struct settings *settings;
    struct ssx_session_options session;
    struct ssx_fleet *fleet;
    struct node_answer answer;
    size_t lack;                     /* hosts that have no such type */
    char first_failure[SSX_ERROR_TEXT]; /* of another kind */
};

static void take_plugin(struct search *s, const char *host, const struct ssx_fleet_plugin *p)
{
    if (node_answered(&s->answer))
        return;
    s->answer.host = host;
    node_answer_take(&s->answer, (struct span){p->note, p->note_size}, span_text(p->problem));
    ssx_fleet_cancel(s->fleet);
}

static void take_end(struct search *s, const char *host, const struct ssx_ending *e)
{
    char message[SSX_ERROR_TEXT / 2];
    bool lacks = strcmp(e->reason, "unknown-type") == 0;
    s->lack += lacks;
    if (e->outcome == SSX_OUTCOME_OK || s->first_failure[0] || lacks)
        return;
    text_escape(message, sizeof message, e->message, strlen(e->message));
    snprintf(s->first_failure, sizeof s->first_failure, "%.200s: %s%s%s", host, ssx_outcome_name(e->outcome),
             message[0] ? ": " : "", message);
}

static void on_event(void *context, const struct ssx_fleet_event *e)
{
    struct search *s = context;
    if (e->kind == SSX_FLEET_DESCRIBED)
        take_plugin(s, e->name, e->plugin);
    else if (e->kind == SSX_FLEET_END)
        take_end(s, e->name, e->ending);
    else if (e->kind == SSX_FLEET_NOTE)
        tool_log((void *)s->settings, e->level, e->text);
}

static int start(struct search *s, struct ssx_error *err)
{
    struct ssx_fleet_options o = ssx_fleet_defaults();
    settings_session(s->settings, &s->session);
    o.session = &s->session;
    o.fanout = ASKED_AT_ONCE;
    o.deadline_ms = (uint64_t)s->settings->deadline_ms;
    o.notes = s->settings->verbose > 0;
    o.context = s;
    o.on_event = on_event;
    int rc = ssx_fleet_open_describe(&s->fleet, s->answer.name, &o, err);
    for (size_t i = 0; rc == 0 && i < s->hosts->count; i++)
        rc = ssx_fleet_add(s->fleet, s->hosts->names[i], NULL, 0, NULL, err);
    return rc ? -1 : ssx_fleet_start(s->fleet, err);
}

static void ask(struct search *s, int interrupt_fd)
{
    struct pollfd fds[] = {{ssx_fleet_fd(s->fleet), POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, interrupt_signal() ? 1 : 2, -1);
        if (interrupt_signal())
            ssx_fleet_cancel(s->fleet);
    } while (ssx_fleet_step(s->fleet, 0));
}

/* What came of it. Returns the exit code. */
static int judge(struct search *s, const char *name, const struct ssx_error *unknown)
{
    struct ssx_error err = {0};
    if (interrupt_signal())
        return EXIT_SIGNAL + interrupt_signal();
    if (s->answer.found)
        return 0;
    if (s->answer.err.code)
        return tool_complain(&s->answer.err);
    if (!s->first_failure[0])
        error_set(&err, SSX_ERROR_UNKNOWN_TYPE, "%s (nor does %s have it)", unknown->text,
                  s->hosts->count == 1 ? s->hosts->names[0] : "any of the hosts");
    else if (s->lack)
        error_set(&err, SSX_ERROR_UNKNOWN_TYPE,
                  "%s; nor do %zu of the %zu hosts have it, and the others can't be asked (%s)", unknown->text, s->lack,
                  s->hosts->count, s->first_failure);
    else
        error_set(&err, SSX_ERROR_UNREACHABLE, "there is no type %s here, and no host can be asked for it: %s", name, s->first_failure);
    return tool_complain(&err);
}

int fan_type_open(struct type *out, const struct settings *s, const struct fan_hosts *hosts, const char *name,
                  const struct ssx_error *unknown)
{
    struct ssx_error err = {0};
    struct search search = {.hosts = hosts, .settings = s, .answer = {.type = out, .name = name}};
    memset(out, 0, sizeof *out);
    int rc = start(&search, &err);
    if (rc == 0)
        ask(&search, interrupt_watch());
    ssx_fleet_close(search.fleet);
    int code = rc ? tool_complain(&err) : judge(&search, name, unknown);
    if (code && search.answer.found)
        type_close(out);
    interrupt_unwatch();
    return code;
}
