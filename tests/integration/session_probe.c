/* A program for the tests: one session with one agent, driven by lines on stdin, one JSON event a line on stdout.
 *
 *     session_probe AGENT [ARGUMENT...]
 *
 *     call N TYPE [timeout=MS] [grace=MS] [slow] [JSON]   N: the test's own number; slow: what it sends isn't dealt with until `consume`
 *     many N COUNT TYPE [JSON]                            COUNT calls one after the other; one event when all are done
 *     cancel N · consume N · describe
 *
 * The JSON of a state is the rest of the line, or @FILE. End of input: leaves once all calls have ended. */
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "fleet/link.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS 4096
#define LINE_MAX_BYTES 8192

struct run {
    bool slow, open;
    uint32_t id;
    size_t owed, out, err, other, results;
    bool same;                       /* the result is bit for bit the state */
    struct buf state, text;
};

static struct link session;
static struct run runs[NUMBERS];
static struct { int number; size_t left, count, next; char type[80]; struct buf state; int64_t *took, began; size_t bad; } many;
static bool input_ended;

static _Noreturn void die(const char *what, const struct ssx_error *err)
{
    fprintf(stderr, "session_probe: %s: %s\n", what, err->text);
    exit(2);
}

static void print_text(const char *key, const void *at, size_t n)
{
    struct buf out = {0};
    json_add_string(&out, at ? at : "", n);
    printf(",\"%s\":%.*s", key, (int)buf_length(&out), (const char *)buf_data(&out));
    buf_free(&out);
}

static void end_line(void)
{
    puts("}");
    fflush(stdout);
}

static struct run *run_of(uint32_t id)
{
    for (size_t i = 0; i < NUMBERS; i++)
        if (runs[i].open && runs[i].id == id)
            return &runs[i];
    return NULL;
}

/* --- what a line asks --- */

static void read_state(struct buf *out, const char *json)
{
    struct ssx_error err = {0};
    struct buf text = {0};
    int rc = json[0] == '@' ? file_read(&text, json + 1, 128u << 20, &err) : buf_add_text(&text, json[0] ? json : "{}");
    if (rc || json_to_msgpack(out, (const char *)buf_data(&text), buf_length(&text), &err))
        die("state", &err);
    buf_free(&text);
}

static uint32_t open_call(const char *type, const struct buf *state, uint64_t timeout_ms, uint64_t grace_ms)
{
    struct ssx_error err = {0};
    uint32_t id;
    struct client_request request = {.type = type,
                                     .state = buf_data(state),
                                     .state_size = buf_length(state),
                                     .timeout_ms = timeout_ms,
                                     .grace_ms = grace_ms};
    if (client_call(session.client, &id, &request, &err))
        die("call", &err);
    return id;
}

static void take_call(char *words)
{
    char *number = strtok(words, " "), *type = strtok(NULL, " "), *word;
    uint64_t timeout_ms = 0, grace_ms = 0;
    struct run *r = &runs[atoi(number) % NUMBERS];
    *r = (struct run){.open = true};
    while ((word = strtok(NULL, " ")) && word[0] != '{' && word[0] != '@') {
        if (strncmp(word, "timeout=", 8) == 0)
            timeout_ms = strtoull(word + 8, NULL, 10);
        else if (strncmp(word, "grace=", 6) == 0)
            grace_ms = strtoull(word + 6, NULL, 10);
        else if (strcmp(word, "slow") == 0)
            r->slow = true;
    }
    read_state(&r->state, word ? word : "");
    r->id = open_call(type, &r->state, timeout_ms, grace_ms);
}

static void next_of_many(void)
{
    many.began = clock_us();
    many.next = open_call(many.type, &many.state, 0, 0);
}

static void take_many(char *words)
{
    many.number = atoi(strtok(words, " "));
    many.count = many.left = strtoull(strtok(NULL, " "), NULL, 10);
    snprintf(many.type, sizeof many.type, "%s", strtok(NULL, " "));
    char *json = strtok(NULL, " ");
    many.bad = 0;
    free(many.took);
    many.took = calloc(many.count, sizeof *many.took);
    buf_free(&many.state);
    read_state(&many.state, json ? json : "");
    next_of_many();
}

static void take_line(char *line)
{
    char *rest = strchr(line, ' ');
    struct ssx_error err = {0};
    uint32_t id;
    if (rest)
        *rest++ = 0;
    struct run *r = &runs[rest ? atoi(rest) % NUMBERS : 0];
    if (strcmp(line, "call") == 0) {
        take_call(rest);
    } else if (strcmp(line, "many") == 0) {
        take_many(rest);
    } else if (strcmp(line, "cancel") == 0) {
        client_cancel(session.client, r->id);
    } else if (strcmp(line, "consume") == 0) {
        r->slow = false;
        client_consumed(session.client, r->id, r->owed);
    } else if (strcmp(line, "describe") == 0) {
        if (client_describe(session.client, &id, NULL, &err))
            die("describe", &err);
    } else {
        error_set(&err, SSX_ERROR_USAGE, "%s", line);
        die("unknown word", &err);
    }
}

/* Lines have no spaces but between words, so a state given in a line has none. */
static void read_lines(void)
{
    static char text[LINE_MAX_BYTES];
    static size_t n;
    ssize_t got = read(STDIN_FILENO, text + n, sizeof text - 1 - n);
    if (got < 0 && errno == EINTR)
        return;
    input_ended = got <= 0;
    n += got > 0 ? (size_t)got : 0;
    text[n] = 0;
    char *line = text;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        take_line(line);
    }
    n = strlen(line);
    memmove(text, line, n);
}

/* --- what the agent says --- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void end_of_many(const struct message_end *e)
{
    many.took[many.count - many.left] = clock_us() - many.began;
    many.bad += e->outcome != SSX_OUTCOME_OK;
    if (--many.left) {
        next_of_many();
        return;
    }
    qsort(many.took, many.count, sizeof *many.took, by_size);
    printf("{\"event\":\"many\",\"call\":%d,\"bad\":%zu,\"p50\":%lld,\"p99\":%lld", many.number, many.bad,
           (long long)many.took[many.count / 2], (long long)many.took[many.count * 99 / 100]);
    many.next = 0;
    end_line();
}

static void end_of_run(struct run *r, const struct message_end *e)
{
    printf(
        "{\"event\":\"end\",\"call\":%d,\"outcome\":\"%s\",\"code\":%llu,\"signal\":%llu,\"out\":%zu,\"err\":%zu,\"sent\":%llu,\"other\":%zu,\"results\":%zu,\"same\":%s,"
        "\"truncated\":%s,\"wall_us\":%llu",
        (int)(r - runs), outcome_name(e->outcome), (unsigned long long)e->code, (unsigned long long)e->signal, r->out,
        r->err, (unsigned long long)(e->out + e->err), r->other, r->results, r->same ? "true" : "false",
        e->truncated ? "true" : "false", (unsigned long long)e->wall_us);
    print_text("reason", e->reason.at, e->reason.n);
    print_text("message", e->message.at, e->message.n);
    print_text("sandbox", e->sandbox.at, e->sandbox.n);
    print_text("text", buf_data(&r->text), buf_length(&r->text));
    buf_free(&r->text);
    buf_free(&r->state);
    r->open = false;
    end_line();
}

static void take_output(struct run *r, const struct message *m)
{
    *(m->data.stream == 1 ? &r->out : &r->err) += m->data.bytes.n;
    if (buf_length(&r->text) == 0 && m->data.bytes.n) {
        buf_add(&r->text, m->data.bytes.at, m->data.bytes.n < 200 ? m->data.bytes.n : 200);
        printf("{\"event\":\"output\",\"call\":%d", (int)(r - runs));
        print_text("text", buf_data(&r->text), buf_length(&r->text));
        end_line();
    }
}

static void take_run(struct run *r, const struct message *m)
{
    if (m->kind == MESSAGE_OUTPUT)
        take_output(r, m);
    else if (m->kind == MESSAGE_LOG || m->kind == MESSAGE_PROGRESS || m->kind == MESSAGE_ITEM)
        r->other++;
    else if (m->kind == MESSAGE_RESULT) {
        r->results++;
        r->same = m->data.bytes.n == buf_length(&r->state) && memcmp(m->data.bytes.at, buf_data(&r->state), m->data.bytes.n) == 0;
    }
    if (r->slow)
        r->owed += message_cost(m);
    else
        client_consumed(session.client, m->id, message_cost(m));
    if (m->kind == MESSAGE_END)
        end_of_run(r, &m->end);
}

static void take_message(const struct message *m)
{
    struct run *r = run_of(m->id);
    if (r) {
        take_run(r, m);
    } else if (m->kind == MESSAGE_END && m->id == many.next) {
        end_of_many(&m->end);
    } else {
        client_consumed(session.client, m->id, message_cost(m));
    }
}

static void take_messages(void)
{
    struct ssx_error err = {0};
    struct message m;
    for (int rc; (rc = client_next(session.client, &m, &err)) != 0;) {
        if (rc > 0) {
            take_message(&m);
        } else {
            printf("{\"event\":\"broken\"");
            print_text("message", err.text, strlen(err.text));
            end_line();
            link_fail(&session, err.text);
        }
    }
}

int main(int argc, char **argv)
{
    struct ssx_error err = {0};
    if (argc < 2)
        return 2;
    const struct transport_target here = {0};
    if (link_open_local(&session, &here, (const char *const *)argv + 1, &err))
        die("open", &err);
    while (!session.ended && !(input_ended && !client_open_calls(session.client))) {
        struct pollfd fds[TRANSPORT_FDS + 1];
        struct ssx_error why = {0};
        take_messages();
        int rc = link_step(&session, true, &why);
        if (rc < 0)
            link_fail(&session, why.text);
        if (rc != 0 || session.ended)
            continue;
        size_t n = link_poll(&session, true, fds);
        fds[n] = (struct pollfd){.fd = input_ended ? -1 : STDIN_FILENO, .events = POLLIN};
        if (input_ended && !client_open_calls(session.client))
            break;
        poll(fds, n + 1, -1);
        if (fds[n].revents)
            read_lines();
    }
    take_messages();
    link_close(&session);
    for (size_t i = 0; i < NUMBERS; i++) {
        buf_free(&runs[i].state);
        buf_free(&runs[i].text);
    }
    buf_free(&many.state);
    free(many.took);
    return 0;
}
