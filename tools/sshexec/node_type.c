#include "node_type.h"

#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/outcome.h"

#include <string.h>

struct asking {
    struct type *type;
    const char *name, *host;
    bool found;
    struct ssx_error err;
};

/* The first one is the one that a call would run. */
static void take_message(void *user, const struct message *m)
{
    struct asking *a = user;
    char problem[SSX_ERROR_TEXT];
    struct descriptor *d = &a->type->plugin.descriptor;
    if (m->kind != MESSAGE_DESCRIBE || a->found || a->err.code)
        return;
    if (m->describe.problem.n) {
        text_escape(problem, sizeof problem, m->describe.problem.at, m->describe.problem.n);
        error_set(&a->err, SSX_ERROR_REFUSED, "the plugin of %s on %s can't be used: %s", a->name, a->host, problem);
    } else if (descriptor_parse(d, m->describe.note.at ? m->describe.note.at : "", m->describe.note.n, &a->err)) {
        error_prefix(&a->err, "the plugin of %s on %s can't be used", a->name, a->host);
    } else if (strcmp(d->type, a->name)) {
        error_set(&a->err, SSX_ERROR_REFUSED, "%s was asked for %s and describes %s", a->host, a->name, d->type);
        descriptor_dispose(d);
    } else {
        a->found = true;
    }
}

int node_type_open(struct type *out, struct reach *r, const struct settings *s, const char *host, const char *name, int interrupt_fd,
                   const struct ssx_error *unknown)
{
    struct asking a = {.type = out, .name = name, .host = host};
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
