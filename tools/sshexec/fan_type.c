#include "fan_type.h"

#include "agents.h"
#include "interrupt.h"
#include "node_type.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/engine.h"
#include "wire/outcome.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define ASKED_AT_ONCE 8 /* one answer is enough; but one host that can't be reached must not hold it up */

struct search {
    const struct fan_hosts *hosts;
    const struct settings *settings;
    struct engine *engine;
    struct node_answer answer;
    size_t lack;                     /* hosts that have no such type */
    char first_failure[SSX_ERROR_TEXT]; /* of another kind */
};

static void on_message(void *user, size_t host, const struct message *m)
{
    struct search *s = user;
    if (m->kind != MESSAGE_DESCRIBE || node_answered(&s->answer))
        return;
    s->answer.host = s->hosts->names[host];
    node_answer_take(&s->answer, m);
    engine_cancel(s->engine);
}

static void on_end(void *user, size_t host, struct message_end *e, const struct timing *t)
{
    struct search *s = user;
    char reason[32], message[SSX_ERROR_TEXT / 2];
    (void)t;
    s->lack += strcmp(span_copy(reason, sizeof reason, e->reason), "unknown-type") == 0;
    if (e->outcome == SSX_OUTCOME_OK || s->first_failure[0] || strcmp(reason, "unknown-type") == 0)
        return;
    text_escape(message, sizeof message, e->message.n ? e->message.at : "", e->message.n);
    snprintf(s->first_failure, sizeof s->first_failure, "%.200s: %s%s%s", s->hosts->names[host], outcome_name(e->outcome), message[0] ? ": " : "", message);
}

static void on_note(void *user, size_t host, int level, const char *text)
{
    const struct search *s = user;
    (void)host;
    tool_log((void *)s->settings, level, text);
}

static int start(struct search *s, const struct engine_options *options, struct ssx_error *err)
{
    int rc = engine_new(&s->engine, options, err);
    for (size_t i = 0; rc == 0 && i < s->hosts->count; i++)
        rc = engine_add(s->engine, s->hosts->names[i], NULL, 0, err);
    return rc || engine_start(s->engine, NULL, err) ? -1 : 0;
}

static void ask(struct search *s, int interrupt_fd)
{
    struct pollfd fds[] = {{engine_fd(s->engine), POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    do {
        poll(fds, interrupt_signal() ? 1 : 2, -1);
        if (interrupt_signal())
            engine_cancel(s->engine);
    } while (engine_work(s->engine, 0));
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
        error_set(&err, SSX_ERROR_UNKNOWN_TYPE, "%s (nor does %s have it)", unknown->text, s->hosts->count == 1 ? s->hosts->names[0] : "any of the hosts");
    else if (s->lack)
        error_set(&err, SSX_ERROR_UNKNOWN_TYPE, "%s; nor do %zu of the %zu hosts have it, and the others can't be asked (%s)", unknown->text, s->lack, s->hosts->count, s->first_failure);
    else
        error_set(&err, SSX_ERROR_UNREACHABLE, "there is no type %s here, and no host can be asked for it: %s", name, s->first_failure);
    return tool_complain(&err);
}

int fan_type_open(struct type *out, const struct settings *s, const struct fan_hosts *hosts, const char *name, const struct ssx_error *unknown)
{
    struct ssx_error err = {0};
    struct agent_image image;
    struct search search = {.hosts = hosts, .settings = s, .answer = {.type = out, .name = name}};
    struct engine_options options = {.call = {.type = name, .describe = true}, .agent = &image, .bootstrap = s->bootstrap, .input_fd = -1, .fanout = ASKED_AT_ONCE,
                                     .deadline_ms = s->deadline_ms, .listener = {.user = &search, .on_message = on_message, .on_end = on_end, .on_note = s->verbose ? on_note : NULL}};
    memset(out, 0, sizeof *out);
    settings_target(s, &options.target);
    int rc = own_agent_open(&image, &err) || start(&search, &options, &err) ? -1 : 0;
    if (rc == 0)
        ask(&search, interrupt_watch());
    engine_free(search.engine);
    int code = rc ? tool_complain(&err) : judge(&search, name, unknown);
    if (code && search.answer.found)
        type_close(out);
    interrupt_unwatch();
    return code;
}
