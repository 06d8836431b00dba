#include "conversation.h"

#include "interrupt.h"
#include "tool.h"

#include "base/io.h"
#include "wire/outcome.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define CANCEL_MS 2500 /* how long after Ctrl-C the agent has to say how the call ended */

static void cancel(struct conversation *c, const char *why)
{
    struct link *link = &c->reach->link;
    if (!c->give_up_ms && client_is_ready(link->client)) {
        client_cancel(link->client, c->call);
        c->give_up_ms = clock_ms() + CANCEL_MS;
    } else {
        link_fail(link, why);
    }
}

/* Input goes to the worker as fast as its window allows. */
static void read_input(struct conversation *c)
{
    unsigned char bytes[DATA_MAX];
    size_t room = client_input_room(c->reach->link.client, c->call);
    ssize_t n = read(c->input_fd, bytes, room < sizeof bytes ? room : sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        client_input(c->reach->link.client, c->call, bytes, (size_t)n);
        return;
    }
    client_input_end(c->reach->link.client, c->call);
    c->input_fd = -1;
}

static void take_end(struct conversation *c, const struct message_end *e)
{
    char reason[32];
    c->outcome = e->outcome;
    c->code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal, span_copy(reason, sizeof reason, e->reason));
    if (interrupt_signal())
        c->code = EXIT_SIGNAL + interrupt_signal();
    c->done = true;
}

static void take_message(struct conversation *c, const struct message *m)
{
    reach_message(c->reach, c->settings, m);
    if (m->kind == MESSAGE_HELLO)
        return;
    if (!c->output_error && c->show(c->user, m)) {
        c->output_error = errno ? errno : EIO; /* nobody reads what we print: the call is of no use any more */
        cancel(c, "stdout can't be written to");
    }
    client_consumed(c->reach->link.client, m->id, message_cost(m));
    if (m->kind == MESSAGE_END && m->id == c->call)
        take_end(c, &m->end);
}

static void take_messages(struct conversation *c, struct ssx_error *err)
{
    struct message m;
    int rc;
    while (!c->done && (rc = client_next(c->reach->link.client, &m, err)) != 0) {
        if (rc > 0) {
            take_message(c, &m);
        } else {
            link_explain(&c->reach->link, err);
            link_fail(&c->reach->link, err->text);
        }
    }
}

static void take_interrupts(struct conversation *c)
{
    if (interrupt_count() == c->interrupts)
        return;
    c->interrupts = interrupt_count();
    cancel(c, "interrupted");
}

static void wait_for_something(struct conversation *c)
{
    struct pollfd fds[TRANSPORT_FDS + 2];
    bool input = c->input_fd >= 0 && client_input_room(c->reach->link.client, c->call) > 0;
    size_t n = link_poll(&c->reach->link, true, fds);
    int64_t left = c->give_up_ms - clock_ms();
    fds[n] = (struct pollfd){.fd = c->interrupts ? -1 : c->interrupt_fd, .events = POLLIN};
    fds[n + 1] = (struct pollfd){.fd = input ? c->input_fd : -1, .events = POLLIN};
    poll(fds, n + 2, c->give_up_ms ? (left > 0 ? (int)left : 0) : -1);
    if (input && fds[n + 1].revents)
        read_input(c);
}

static void converse(struct conversation *c)
{
    struct ssx_error err = {0};
    for (;;) {
        take_messages(c, &err);
        if (c->done)
            return;
        take_interrupts(c);
        if (c->give_up_ms && clock_ms() >= c->give_up_ms)
            link_fail(&c->reach->link, "the agent didn't answer the cancel");
        int rc = link_step(&c->reach->link, true, &err);
        if (rc < 0) {
            link_explain(&c->reach->link, &err);
            link_fail(&c->reach->link, err.text);
        }
        if (rc == 0 && !c->reach->link.ended)
            wait_for_something(c);
    }
}

int conversation_open(struct conversation *c, const char *host)
{
    struct ssx_error err = {0};
    if (reach_open(c->reach, c->settings, host, c->interrupt_fd, &err) == 0)
        return 0;
    struct message m = {.kind = MESSAGE_END, .id = 1, .end = {.outcome = SSX_OUTCOME_UNREACHABLE, .message = span_text(err.text)}};
    if (c->settings->json && error_exit_code(err.code) == EXIT_UNREACHABLE)
        c->show(c->user, &m);
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}

int conversation_hold(struct conversation *c, const void *state, size_t state_size)
{
    struct ssx_error err = {0};
    const struct type *t = c->type;
    struct client_request request = {.type = t->plugin.descriptor.type, .state = state, .state_size = state_size,
                                     .timeout_ms = (uint64_t)c->settings->timeout_ms, .input = c->input_fd >= 0};
    type_offer(t, &request);
    c->outcome = SSX_OUTCOME_UNREACHABLE;
    if (client_call(c->reach->link.client, &c->call, &request, &err))
        return tool_complain(&err);
    converse(c);
    return c->code;
}
