/* The agent's side of a lane: what it reads goes to the call that said it, whatever else has come meanwhile. The test is the process; what
 * a user sees of lanes is tested by tests/integration/test_reuse.py. */
#include "lane.h"
#include "passing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define CALLS 3

struct scene {
    struct image image;
    struct host host;
    int host_socket, fds[HOST_FDS];    /* the host's and the process's ends */
    struct job_queue done;
    struct buf out;                    /* to the sender */
    size_t states;
    struct job *jobs[CALLS + 1];       /* by id */
    struct lane *lane;
};

static void call(struct scene *s, uint32_t id, size_t window)
{
    struct message m = {.kind = MESSAGE_CALL, .id = id, .call = {.type = span_text("t"), .state_size = 1, .state = {"\x80", 1}}};
    s->jobs[id] = job_new(&m, window, &s->out, &s->done, &s->states);
    assert_non_null(s->jobs[id]);
    s->jobs[id]->image = &s->image;
    s->image.users++;
    lane_give(s->lane, s->jobs[id]);
}

/* A lane with CALLS calls, whose windows are the smallest that a sender may have. */
static int begin(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct host_request request;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    s->host.socket = pair[0];
    s->host_socket = pair[1];
    s->lane = lane_start(&s->host);
    assert_non_null(s->lane);
    assert_int_equal(passing_receive(s->host_socket, &request, sizeof request, s->fds, HOST_FDS), sizeof request);
    for (uint32_t id = 1; id <= CALLS; id++)
        call(s, id, DATA_MAX);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct scene *s = *state;
    for (uint32_t id = 1; id <= CALLS; id++)
        job_free(s->jobs[id]);
    lane_free(s->lane);
    for (int i = 0; i < HOST_FDS; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    close(s->host.socket);
    close(s->host_socket);
    buf_free(&s->out);
    free(s);
    return 0;
}

/* --- what the process does --- */

static void print(const struct scene *s, int stream, char fill, size_t n)
{
    char *text = malloc(n);
    memset(text, fill, n);
    assert_int_equal(write(s->fds[stream == 1 ? HOST_FD_STDOUT : HOST_FD_STDERR], text, n), n);
    free(text);
}

static void answer(const struct scene *s, const struct message *m)
{
    struct buf frame = {0};
    if (m->kind == MESSAGE_END)
        buf_add(&frame, s->lane->seal, LANE_SEAL);
    message_encode(&frame, m, FROM_AGENT);
    assert_int_equal(send(s->fds[HOST_FD_CONTROL], buf_data(&frame), buf_length(&frame), 0), buf_length(&frame));
    buf_free(&frame);
}

/* out, err: what was written so far, by all calls. */
static void end_call(const struct scene *s, uint32_t id, uint64_t out, uint64_t err)
{
    answer(s, &(struct message){.kind = MESSAGE_END, .id = id, .end = {.out = out, .err = err}});
}

/* --- what the agent makes of it --- */

static void let_it_read(struct scene *s)
{
    struct pollfd fds[LANE_FDS];
    size_t n = lane_poll(s->lane, fds);
    poll(fds, n, 0);
    lane_handle(s->lane, fds, n);
}

/* "1p3 1. " in this order: call 1 was given three bytes, all of them p, and ended. */
static void assert_said(struct scene *s, const char *expected)
{
    struct buf said = {0};
    for (struct message m; buf_length(&s->out);) {
        long length = frame_length(buf_data(&s->out), buf_length(&s->out), FRAME_MAX, NULL);
        assert_true(length > 0);
        assert_int_equal(message_decode(&m, buf_data(&s->out), (size_t)length, FROM_AGENT, NULL), 0);
        if (m.kind == MESSAGE_END) {
            buf_printf(&said, "%u. ", (unsigned)m.id);
        } else {
            const char *bytes = m.data.bytes.at;
            buf_printf(&said, "%u%c%zu ", (unsigned)m.id, m.kind == MESSAGE_ITEM ? 'I' : bytes[0], m.data.bytes.n);
            for (size_t i = 0; m.kind == MESSAGE_OUTPUT && i < m.data.bytes.n; i++)
                assert_int_equal(bytes[i], bytes[0]);
        }
        buf_consume(&s->out, (size_t)length);
    }
    buf_add(&said, "", 1);
    assert_string_equal((char *)buf_data(&said), expected);
    buf_free(&said);
}

/* The rest of a call's output is read once its end is known, when the next ones may have begun and ended; their ends may not have been
 * read yet. */
static void the_rest_of_a_call_is_no_more_than_it_wrote(void **state)
{
    struct scene *s = *state;
    int control[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control), 0); /* an answer a read */
    assert_true(dup2(control[0], s->lane->control) >= 0 && dup2(control[1], s->fds[HOST_FD_CONTROL]) >= 0);
    close(control[0]);
    close(control[1]);
    print(s, 1, 'p', 3);
    print(s, 1, 'q', 4);
    print(s, 1, 'r', 5);
    end_call(s, 1, 3, 0);
    end_call(s, 2, 7, 0);
    lane_go_on(s->lane); /* as CREDIT does, without a look at the pipes */
    let_it_read(s);
    assert_said(s, "1p3 1. 2q4 2. 3r5 ");
}

static void a_frame_that_fits_is_not_held_up_by_the_next_calls_output(void **state)
{
    static const unsigned char item[40000] = {0xc5, (sizeof item - 3) >> 8, (sizeof item - 3) & 255};
    struct scene *s = *state;
    answer(s, &(struct message){.kind = MESSAGE_ITEM, .id = 1, .data = {.bytes = {item, sizeof item}}});
    end_call(s, 1, 0, 0);
    print(s, 1, 'q', 30000);
    let_it_read(s);
    assert_said(s, "1I40000 1. 2q30000 ");
}

static void a_call_ends_though_the_next_one_has_filled_the_other_pipe(void **state)
{
    struct scene *s = *state;
    print(s, 2, 'e', 10);
    end_call(s, 1, 0, 10);
    print(s, 1, 'q', DATA_MAX);
    let_it_read(s);
    assert_said(s, "1e10 1. 2q65536 ");
}

static void output_waits_for_its_calls_window(void **state)
{
    struct scene *s = *state;
    s->lane->jobs.first->window = 4;
    print(s, 1, 'p', 6);
    print(s, 1, 'q', 2);
    end_call(s, 1, 6, 0);
    let_it_read(s);
    assert_said(s, "1p4 ");
    job_credit(s->jobs[1], 2);
    let_it_read(s);
    assert_said(s, "1p2 1. 2q2 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_rest_of_a_call_is_no_more_than_it_wrote, begin, end),
        cmocka_unit_test_setup_teardown(a_frame_that_fits_is_not_held_up_by_the_next_calls_output, begin, end),
        cmocka_unit_test_setup_teardown(a_call_ends_though_the_next_one_has_filled_the_other_pipe, begin, end),
        cmocka_unit_test_setup_teardown(output_waits_for_its_calls_window, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
