#include "node_type.h"

#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <string.h>

void node_answer_take(struct node_answer *a, struct span note, struct span problem)
{
    char text[SSX_ERROR_TEXT];
    struct descriptor *d = &a->type->plugin.descriptor;
    if (node_answered(a))
        return;
    if (problem.n) {
        text_escape(text, sizeof text, problem.at, problem.n);
        error_set(&a->err, SSX_ERROR_REFUSED, "the plugin of %s on %s can't be used: %s", a->name, a->host, text);
    } else if (descriptor_parse(d, note.at ? note.at : "", note.n, &a->err)) {
        error_prefix(&a->err, "the plugin of %s on %s can't be used", a->name, a->host);
    } else if (strcmp(d->type, a->name)) {
        error_set(&a->err, SSX_ERROR_REFUSED, "%s was asked for %s and describes %s", a->host, a->name, d->type);
        descriptor_dispose(d);
    } else {
        a->found = true;
    }
}

static void take_message(void *user, const struct message *m)
{
    if (m->kind == MESSAGE_DESCRIBE)
        node_answer_take(user, m->describe.note, m->describe.problem);
}

int node_type_open(struct type *out, struct reach *r, const struct settings *s, const char *host, const char *name, int interrupt_fd,
                   const struct ssx_error *unknown)
{
    struct node_answer a = {.type = out, .name = name, .host = host};
    memset(out, 0, sizeof *out);
    int code = reach_describe(r, s, name, interrupt_fd, take_message, &a);
    if (a.found && code == 0)
        return 0;
    if (a.found)
        type_close(out);
    if (code && code != EXIT_UNKNOWN_TYPE)
        return code;
    if (!a.err.code)
        error_set(&a.err, SSX_ERROR_UNKNOWN_TYPE, "%s (nor does %s have it)", unknown->text, host);
    return tool_complain(&a.err);
}
