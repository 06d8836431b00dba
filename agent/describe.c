#include "describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct describe {
    struct describe *next;
    uint32_t id;
    char type[TYPE_NAME_MAX + 2];      /* "": all; one that is too long stays too long */
    bool listed, found;
    struct buf list;                   /* what plugins_list gave and was not answered yet */
    struct buf *out;                   /* borrowed during a step */
};

int describe_add(struct describe **queue, const struct message *m)
{
    struct describe *d = calloc(1, sizeof *d);
    if (!d)
        return -1;
    d->id = m->id;
    span_copy(d->type, sizeof d->type, m->describe.type);
    while (*queue)
        queue = &(*queue)->next;
    *queue = d;
    return 0;
}

static void answer(void *user, const struct message_describe *what)
{
    const struct describe *d = user;
    message_encode(d->out, &(struct message){.kind = MESSAGE_DESCRIBE, .id = d->id, .describe = *what}, FROM_AGENT);
}

static void end(const struct describe *d, const struct policy *policy)
{
    char text[128];
    struct ssx_error err = {0};
    struct message m = {.kind = MESSAGE_END, .id = d->id};
    if (d->type[0] && policy_check_type(policy, d->type, &err)) {
        m.end = (struct message_end){.outcome = SSX_OUTCOME_REFUSED, .reason = span_text("policy"), .message = span_text(err.text)};
    } else if (d->type[0] && !d->found) {
        snprintf(text, sizeof text, "no plugin of the type %s on this host", d->type);
        m.end = (struct message_end){.outcome = SSX_OUTCOME_REFUSED, .reason = span_text("unknown-type"), .message = span_text(text)};
    }
    message_encode(d->out, &m, FROM_AGENT);
}

static void drop_first(struct describe **queue)
{
    struct describe *d = *queue;
    *queue = d->next;
    buf_free(&d->list);
    free(d);
}

void describe_step(struct describe **queue, struct plugins *plugins, struct buf *out)
{
    struct describe *d = *queue;
    d->out = out;
    if (!d->listed)
        plugins_list(plugins, d->type, &d->list);
    d->listed = true;
    if (!buf_length(&d->list)) {
        end(d, plugins->policy);
        drop_first(queue);
        return;
    }
    const char *type = (const char *)buf_data(&d->list), *path = type + strlen(type) + 1;
    plugins_describe(plugins, type, path, answer, d);
    d->found = true;
    buf_consume(&d->list, (size_t)(path - type) + strlen(path) + 1);
}

size_t describe_count(const struct describe *queue)
{
    size_t n = 0;
    for (; queue; queue = queue->next)
        n++;
    return n;
}

void describe_clear(struct describe **queue)
{
    while (*queue)
        drop_first(queue);
}
