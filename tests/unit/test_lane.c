/* The agent's side of a lane: what it reads goes to the call that said it, whatever else has come meanwhile. The test
 * is the process; what a user sees of lanes is tested by tests/integration/test_reuse.py. */
#include "lane.h"
#include "passing.h"
#include "random_value.h"

#include "base/io.h"
#include "wire/outcome.h"

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
#define MANY 40                        /* of a random conversation */

struct scene {
    struct image image;
    struct host host;
    int host_socket, fds[HOST_FDS];    /* the host's and the process's ends */
    struct job_queue done;
    struct buf out;                    /* to the sender */
    size_t states;
    struct job *jobs[MANY + 1];        /* by id */
    uint32_t count;
    struct lane *lane;
};

static void call(struct scene *s, size_t window)
{
    uint32_t id = ++s->count;
    struct message m = {.kind = MESSAGE_CALL, .id = id, .call = {.type = span_text("t"), .state_size = 1, .state = {"\x80", 1}}};
    s->jobs[id] = job_new(&m, window, &s->out, &s->done, &s->states);
    assert_non_null(s->jobs[id]);
    s->jobs[id]->image = &s->image;
    s->image.users++;
    lane_give(s->lane, s->jobs[id]);
}

static int begin_lane(void **state)
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
    *state = s;
    return 0;
}

/* With some calls, whose windows are the smallest that a sender may have. */
static int begin(void **state)
{
    begin_lane(state);
    for (int i = 0; i < CALLS; i++)
        call(*state, DATA_MAX);
    return 0;
}

static int end(void **state)
{
    struct scene *s = *state;
    for (uint32_t id = 1; id <= s->count; id++)
        job_free(s->jobs[id]);
    lane_free(s->lane);
    for (int i = 0; i < HOST_FDS; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    close(s->host.socket);
    close(s->host_socket);
    buf_free(&s->host.signals);
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

/* The rest of a call's output is read once its end is known, when the next ones may have begun and ended; their ends
 * may not have been read yet. */
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

/* --- a random conversation --- */

enum { OUT, ERR, ITEM, WAYS };

/* One call: how much it says, in which pieces; and what has arrived of it. */
struct talk {
    struct { int way; size_t n; } pieces[6];
    size_t piece_count, done, done_of_piece, said, total[WAYS];
    size_t window, told[WAYS];
    bool ended;
};

struct chat {
    struct scene *s;
    struct talk talks[MANY + 1];
    uint32_t running, ended;           /* by the process, by what arrived */
    uint64_t written[2];
    bool begun;                        /* the one that runs */
};

static uint64_t seed;
static size_t dice(size_t n) { return (size_t)random_below(&seed, n); }

static void invent(struct talk *t)
{
    static const size_t sizes[] = {0, 1, 10, 3000, 30000, DATA_MAX, 150000};
    t->window = DATA_MAX + dice(2) * dice(4 * DATA_MAX);
    t->piece_count = dice(7);
    for (size_t i = 0; i < t->piece_count; i++) {
        t->pieces[i].way = (int)dice(WAYS);
        t->pieces[i].n = dice(2) ? dice(20) : sizes[dice(sizeof sizes / sizeof *sizes)];
        if (t->pieces[i].way == ITEM)
            t->pieces[i].n = 3 + t->pieces[i].n % (DATA_MAX - 3);
        t->total[t->pieces[i].way] += t->pieces[i].n;
        t->said += t->pieces[i].n;
    }
}

static unsigned char fill_of(uint32_t id) { return (unsigned char)(64 + id % 64); }

/* Returns whether all of it could be said. */
static bool say_output(struct chat *c, int way, size_t n)
{
    static unsigned char bytes[150000];
    struct talk *t = &c->talks[c->running];
    memset(bytes, fill_of(c->running), sizeof bytes);
    ssize_t wrote = write(c->s->fds[HOST_FD_STDOUT + way], bytes, n - t->done_of_piece);
    if (wrote <= 0)
        return n == t->done_of_piece;
    t->done_of_piece += (size_t)wrote;
    c->written[way] += (uint64_t)wrote;
    return t->done_of_piece == n;
}

static bool say_item(const struct chat *c, size_t n)
{
    static unsigned char bytes[DATA_MAX];
    struct buf frame = {0};
    const unsigned char head[] = {0xc5, (unsigned char)((n - 3) >> 8), (unsigned char)(n - 3)}; /* msgpack: bin 16 */
    memcpy(bytes, head, sizeof head);
    message_encode(&frame, &(struct message){.kind = MESSAGE_ITEM, .id = c->running, .data = {.bytes = {bytes, n}}}, FROM_AGENT);
    ssize_t sent = send(c->s->fds[HOST_FD_CONTROL], buf_data(&frame), buf_length(&frame), MSG_DONTWAIT);
    size_t length = buf_length(&frame);
    buf_free(&frame);
    assert_true(sent < 0 || (size_t)sent == length);
    return sent > 0;
}

/* As worker-host/lane.c does, one step. */
static void run_process(struct chat *c)
{
    struct lane_page *page = c->s->lane->page;
    struct talk *t = &c->talks[c->running];
    if (!c->begun) {
        if (c->running == MANY || atomic_load(&page->hold))
            return;
        t = &c->talks[++c->running];
        atomic_store(&page->running, 2 * c->running + 1);
        c->begun = true;
    }
    if (t->done < t->piece_count) {
        size_t n = t->pieces[t->done].n;
        if (t->pieces[t->done].way == ITEM ? !say_item(c, n) : !say_output(c, t->pieces[t->done].way, n))
            return;
        t->done++;
        t->done_of_piece = 0;
        return;
    }
    if (t->said > DATA_MAX - 1000) /* that much at most for END and the items' frames */
        atomic_store(&page->hold, 1);
    end_call(c->s, c->running, c->written[0], c->written[1]);
    atomic_store(&page->running, 2 * c->running);
    c->begun = false;
}

/* As a sender does: takes what has come, and grants as much again, at once or later. */
static void take_all(struct chat *c)
{
    struct buf *out = &c->s->out;
    for (struct message m; buf_length(out);) {
        long length = frame_length(buf_data(out), buf_length(out), FRAME_MAX, NULL);
        assert_true(length > 0);
        assert_int_equal(message_decode(&m, buf_data(out), (size_t)length, FROM_AGENT, NULL), 0);
        struct talk *t = &c->talks[m.id];
        int way = m.kind == MESSAGE_ITEM ? ITEM : m.data.stream == 2 ? ERR : OUT;
        assert_int_equal(m.id, c->ended + 1);
        if (m.kind == MESSAGE_END) {
            assert_int_equal(m.end.outcome, SSX_OUTCOME_OK);
            for (int i = 0; i < WAYS; i++)
                assert_int_equal(t->told[i], t->total[i]);
            assert_true(m.end.out == t->total[OUT] && m.end.err == t->total[ERR]);
            c->ended++;
        } else {
            assert_true(message_cost(&m) <= t->window);
            t->window -= message_cost(&m);
            t->told[way] += m.data.bytes.n;
            for (size_t i = 0; way != ITEM && i < m.data.bytes.n; i++)
                assert_int_equal(((const unsigned char *)m.data.bytes.at)[i], fill_of(m.id));
        }
        buf_consume(out, (size_t)length);
    }
}

static void grant(struct chat *c)
{
    uint32_t id = c->ended + 1;
    size_t n = 1 + dice(DATA_MAX);
    if (id > MANY || c->talks[id].window > DATA_MAX)
        return;
    c->talks[id].window += n;
    job_credit(c->s->jobs[id], n);
}

static void talk_at_random(struct scene *s)
{
    struct chat c = {.s = s};
    for (uint32_t id = 1; id <= MANY; id++) {
        invent(&c.talks[id]);
        call(s, c.talks[id].window);
    }
    for (int way = OUT; way <= ERR; way++)
        fcntl(s->fds[HOST_FD_STDOUT + way], F_SETFL, O_NONBLOCK);
    for (int turns = 0; c.ended < MANY; turns++) {
        assert_true(turns < 1000000);
        switch (dice(8)) {
        case 0: let_it_read(s); break;
        case 1: grant(&c); break;
        case 2: lane_tick(s->lane, clock_ms()); break;
        case 3: take_all(&c); break;
        default: run_process(&c); break;
        }
    }
}

static void whatever_comes_when_each_call_gets_its_own(void **state)
{
    for (unsigned i = 1; i <= 300; i++) {
        seed = i;
        begin_lane(state);
        talk_at_random(*state);
        end(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_rest_of_a_call_is_no_more_than_it_wrote, begin, end),
        cmocka_unit_test_setup_teardown(a_frame_that_fits_is_not_held_up_by_the_next_calls_output, begin, end),
        cmocka_unit_test_setup_teardown(a_call_ends_though_the_next_one_has_filled_the_other_pipe, begin, end),
        cmocka_unit_test_setup_teardown(output_waits_for_its_calls_window, begin, end),
        cmocka_unit_test(whatever_comes_when_each_call_gets_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
