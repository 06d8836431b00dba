/* The sender's half of the protocol, against an agent made of bytes: greetings with everything a login shell can put
 * before them, credit, values in pieces, objects, losses, and agents that break the rules or flood. */
#include "base/buf.h"
#include "base/text.h"
#include "client/client.h"
#include "random_value.h"
#include "wire/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define WINDOW (256u << 10) /* what the scripted agent grants */

/* --- the scripted agent --- */

struct stage {
    struct client *client;
    char nonce[NONCE_HEX + 1];
    struct buf heard; /* what the client sent, behind its greeting */
};

/* Takes all that waits to be sent. */
static void hear(struct stage *s)
{
    size_t n;
    for (const void *at; (at = client_outgoing(s->client, &n));) {
        buf_add(&s->heard, at, n);
        client_sent(s->client, n);
    }
}

static void take_greeting(struct stage *s)
{
    size_t length = strlen("sshexec 1 ") + NONCE_HEX + 1;
    hear(s);
    assert_true(buf_length(&s->heard) >= length);
    const char *line = (const char *)buf_data(&s->heard);
    assert_memory_equal(line, "sshexec 1 ", 10);
    assert_int_equal(line[length - 1], '\n');
    memcpy(s->nonce, line + 10, NONCE_HEX);
    s->nonce[NONCE_HEX] = 0;
    assert_int_equal(strspn(s->nonce, "0123456789abcdef"), NONCE_HEX);
    buf_consume(&s->heard, length);
}

static void start(struct stage *s, const struct agent_image *agent)
{
    memset(s, 0, sizeof *s);
    s->client = client_new(agent);
    assert_non_null(s->client);
    take_greeting(s);
}

static void end(struct stage *s)
{
    client_free(s->client);
    buf_free(&s->heard);
}

static void add_marker(struct buf *out, const char *nonce)
{
    buf_printf(out, "sshexec-agent 1 %s\r\n", nonce);
    buf_add(out, "\0\xff", 2);
}

static const char *machine = "x86_64"; /* that the agent is on */

static void add_hello(struct buf *out)
{
    message_encode(out,
                   &(struct message){.kind = MESSAGE_HELLO,
                                     .hello = {.min = 1,
                                               .max = 1,
                                               .build = span_text("test"),
                                               .arch = span_text(machine),
                                               .window = WINDOW,
                                               .calls = 64,
                                               .state = VALUE_SIZE_MAX}},
                   FROM_AGENT);
}

static int say_bytes(struct stage *s, const void *bytes, size_t n) { return client_receive(s->client, bytes, n, NULL); }

static void say_text(struct stage *s, const char *text) { assert_int_equal(say_bytes(s, text, strlen(text)), 0); }

static void say(struct stage *s, const struct message *m)
{
    struct buf b = {0};
    message_encode(&b, m, FROM_AGENT);
    assert_int_equal(say_bytes(s, buf_data(&b), buf_length(&b)), 0);
    buf_free(&b);
}

static void say_marker(struct stage *s)
{
    struct buf b = {0};
    add_marker(&b, s->nonce);
    assert_int_equal(say_bytes(s, buf_data(&b), buf_length(&b)), 0);
    buf_free(&b);
}

static void say_hello(struct stage *s)
{
    struct buf b = {0};
    add_hello(&b);
    assert_int_equal(say_bytes(s, buf_data(&b), buf_length(&b)), 0);
    buf_free(&b);
}

/* The kind of the next message, 0 for none. */
static int next(struct stage *s, struct message *m)
{
    struct ssx_error err = {0};
    int rc = client_next(s->client, m, &err);
    if (rc < 0)
        fail_msg("the client complains: %s", err.text);
    return rc ? (int)m->kind : 0;
}

static void assert_nothing_comes(struct stage *s)
{
    struct message m;
    assert_int_equal(next(s, &m), 0);
}

static void assert_broken(struct stage *s, const char *part)
{
    struct message m;
    struct ssx_error err = {0};
    int rc;
    while ((rc = client_next(s->client, &m, &err)) > 0)
        ;
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, SSX_ERROR_PROTOCOL);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, part);
}

/* The next frame that the client sent, which is of this kind; what it borrows stays until the stage ends. */
static struct message heard(struct stage *s, enum message_kind kind)
{
    struct message m;
    struct ssx_error err = {0};
    hear(s);
    long length = frame_length(buf_data(&s->heard), buf_length(&s->heard), FRAME_MAX, &err);
    if (length <= 0 || message_decode(&m, buf_data(&s->heard), (size_t)length, FROM_SENDER, &err))
        fail_msg("no frame where %s is expected: %s", message_name(kind), err.text);
    assert_string_equal(message_name(m.kind), message_name(kind));
    s->heard.start += (size_t)length;
    return m;
}

static void assert_silent(struct stage *s)
{
    hear(s);
    assert_int_equal(buf_length(&s->heard), 0);
}

/* A session whose both HELLOs are said. */
static void start_ready(struct stage *s)
{
    struct message m;
    start(s, NULL);
    say_marker(s);
    say_hello(s);
    assert_int_equal(next(s, &m), MESSAGE_HELLO);
    assert_true(client_is_ready(s->client));
    heard(s, MESSAGE_HELLO);
}

static const unsigned char object_bytes[1200000] = "\x7f" "ELF, as good as any";
static const struct digest object_digest = {{1, 2, 3}};

static uint32_t call_with(struct stage *s, const struct client_request *r)
{
    uint32_t id = 0;
    struct ssx_error err = {0};
    if (client_call(s->client, &id, r, &err))
        fail_msg("the call is refused: %s", err.text);
    return id;
}

static uint32_t call(struct stage *s)
{
    return call_with(s, &(struct client_request){.type = "hello", .state = "\x80", .state_size = 1, .input = true});
}

static uint32_t call_object(struct stage *s)
{
    return call_with(s, &(struct client_request){.type = "hello",
                                                 .state = "\x80",
                                                 .state_size = 1,
                                                 .digest = &object_digest,
                                                 .object = object_bytes,
                                                 .object_size = sizeof object_bytes});
}

static uint32_t call_ready(struct stage *s)
{
    start_ready(s);
    uint32_t id = call(s);
    heard(s, MESSAGE_CALL);
    return id;
}

static unsigned char data[DATA_MAX];

static void say_output(struct stage *s, uint32_t id, size_t n)
{
    say(s, &(struct message){.kind = MESSAGE_OUTPUT, .id = id, .data = {.stream = 1, .bytes = {data, n}}});
}

static void say_piece(struct stage *s, enum message_kind kind, uint32_t id, const void *bytes, size_t n, bool more)
{
    say(s, &(struct message){.kind = kind, .id = id, .data = {.bytes = {bytes, n}, .more = more}});
}

/* --- the greeting --- */

static void noise_before_the_marker_is_kept_apart(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    size_t n;
    start(&s, NULL);
    say_text(&s, "Welcome to node1\n");
    assert_nothing_comes(&s);
    say_text(&s, "sshexec-agent 1 0123456789abcdef0123456789abcdef\r\n"); /* right words, wrong nonce */
    assert_nothing_comes(&s);
    assert_silent(&s);
    say_marker(&s);
    say_hello(&s);
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    const char *noise = client_noise(s.client, &n);
    assert_int_equal(n, 17 + 50);
    assert_memory_equal(noise, "Welcome to node1\nsshexec-agent 1 0", 34);
    end(&s);
}

static void the_marker_may_come_in_two_parts(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= 80; cut++) {
        struct stage s;
        struct message m;
        struct buf b = {0};
        start(&s, NULL);
        buf_add_text(&b, "motd\n");
        add_marker(&b, s.nonce);
        add_hello(&b);
        assert_true(cut < buf_length(&b));
        say_bytes(&s, buf_data(&b), cut);
        assert_nothing_comes(&s);
        say_bytes(&s, buf_data(&b) + cut, buf_length(&b) - cut);
        assert_int_equal(next(&s, &m), MESSAGE_HELLO);
        buf_free(&b);
        end(&s);
    }
}

static void a_greeting_and_a_call_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    struct buf b = {0};
    int kinds[8] = {0};
    size_t seen = 0;
    start(&s, NULL);
    uint32_t id = call(&s);
    buf_add_text(&b, "motd\n");
    add_marker(&b, s.nonce);
    add_hello(&b);
    message_encode(&b, &(struct message){.kind = MESSAGE_OUTPUT, .id = id, .data = {.stream = 1, .bytes = {"hi", 2}}}, FROM_AGENT);
    message_encode(&b, &(struct message){.kind = MESSAGE_END, .id = id}, FROM_AGENT);
    for (size_t i = 0; i < buf_length(&b); i++) {
        say_bytes(&s, buf_data(&b) + i, 1);
        for (int kind; (kind = next(&s, &m)); seen++)
            kinds[seen] = kind;
    }
    assert_int_equal(seen, 3);
    assert_true(kinds[0] == MESSAGE_HELLO && kinds[1] == MESSAGE_OUTPUT && kinds[2] == MESSAGE_END);
    buf_free(&b);
    end(&s);
}

static void a_changed_marker_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *tail;
        size_t n;
    } tails[] = {{"\r\r\n\0\xff", 5},   {"\n\0\xff", 3}, {"\r\n^@\xff", 5},
                 {"\r\n\0\xc3\xbf", 5}, {"\r\n\xff", 3}, {"\r\n\0\x7f", 4}};
    for (size_t i = 0; i < COUNT(tails); i++) {
        struct stage s;
        start(&s, NULL);
        say_text(&s, "sshexec-agent 1 ");
        say_text(&s, s.nonce);
        say_bytes(&s, tails[i].tail, tails[i].n);
        assert_broken(&s, "between here and the agent changes bytes");
        end(&s);
    }
}

static void endless_noise_is_given_up(void **state)
{
    (void)state;
    for (int marker = 0; marker < 2; marker++) {
        struct stage s;
        struct buf noise = {0};
        start(&s, NULL);
        buf_add_text(&noise, "motd motd ");
        while (buf_length(&noise) <= NOISE_MAX)
            buf_add_text(&noise, "and more of it ");
        if (marker) /* even if it comes behind the noise in one piece */
            add_marker(&noise, s.nonce);
        say_bytes(&s, buf_data(&noise), buf_length(&noise));
        assert_broken(&s, "no agent after 65536 bytes of other output, which begins \"motd motd and more");
        buf_free(&noise);
        end(&s);
    }
}

static void as_much_noise_as_is_allowed_is_skipped(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    start(&s, NULL);
    for (size_t n = 0; n < NOISE_MAX; n += sizeof data)
        say_bytes(&s, data, sizeof data);
    assert_nothing_comes(&s);
    say_marker(&s);
    say_hello(&s);
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    end(&s);
}

static void an_end_before_the_marker_quotes_what_came(void **state)
{
    (void)state;
    struct stage s;
    struct ssx_error err = {0}, silent = {0}, later = {0};
    start(&s, NULL);
    assert_int_equal(client_ended(s.client, &silent), -1);
    assert_non_null(strstr(silent.text, "ended before an agent answered"));
    say_text(&s, "bash: sshexec-agent: command not found\n");
    assert_nothing_comes(&s);
    assert_int_equal(client_ended(s.client, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    assert_non_null(strstr(err.text, "the host printed \"bash: sshexec-agent: command not found"));
    end(&s);
    start_ready(&s);
    assert_int_equal(client_ended(s.client, &later), -1);
    assert_string_equal(later.text, "the connection to the agent ended");
    end(&s);
}

static void hello_must_fit(void **state)
{
    (void)state;
    static const struct { struct message_hello hello; const char *part; } cases[] = {
        {{.min = 2, .max = 3, .window = WINDOW}, "speaks protocol 2 to 3, this sender 1"},
        {{.min = 0, .max = 0, .window = WINDOW}, "speaks protocol 0 to 0"},
        {{.min = 1, .max = 1, .window = DATA_MAX - 1}, "window of 65535 bytes"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stage s;
        start(&s, NULL);
        say_marker(&s);
        say(&s, &(struct message){.kind = MESSAGE_HELLO, .hello = cases[i].hello});
        assert_broken(&s, cases[i].part);
        end(&s);
    }
}

static void nothing_comes_before_hello_and_hello_comes_once(void **state)
{
    (void)state;
    struct stage s;
    start(&s, NULL);
    uint32_t id = call(&s);
    say_marker(&s);
    say_output(&s, id, 1);
    assert_broken(&s, "OUTPUT before HELLO");
    end(&s);
    start(&s, NULL);
    say_marker(&s);
    say_bytes(&s, "\0\0\x10\1", 4); /* a frame that may be as large only after HELLO */
    assert_broken(&s, "1 to 4096 are allowed");
    end(&s);
    start_ready(&s);
    say_hello(&s);
    assert_broken(&s, "a second HELLO");
    end(&s);
}

/* --- storing an agent --- */

static unsigned char agent_bytes[700000];
static unsigned char agent_packed[300000];
static struct agent_image image = {.bytes = agent_bytes,
                                   .size = sizeof agent_bytes,
                                   .packed = agent_packed,
                                   .packed_size = sizeof agent_packed,
                                   .digest = "aa",
                                   .machine = "x86_64"};

static void say_need(struct stage *s, const char *system)
{
    struct buf b = {0};
    buf_printf(&b, "sshexec-need 1 %s %s\n", s->nonce, system);
    say_bytes(s, buf_data(&b), buf_length(&b));
    buf_free(&b);
}

static void upload(const char *system, const unsigned char *bytes, size_t size)
{
    struct stage s;
    struct message m;
    char greeting[64];
    start(&s, &image);
    uint32_t id = call_object(&s);
    assert_silent(&s); /* calls wait */
    say_text(&s, "Last login: yesterday\n");
    say_need(&s, system);
    assert_nothing_comes(&s);
    assert_true(client_sent_agent(s.client));
    size_t n;
    client_outgoing(s.client, &n);
    assert_true(n <= 256u << 10); /* cut as it goes, not copied whole */
    hear(&s);
    assert_int_equal(buf_length(&s.heard), size + 43);
    assert_memory_equal(buf_data(&s.heard), bytes, size);
    snprintf(greeting, sizeof greeting, "sshexec 1 %s\n", s.nonce);
    assert_memory_equal(buf_data(&s.heard) + size, greeting, 43);
    buf_consume(&s.heard, buf_length(&s.heard));
    say_marker(&s);
    assert_nothing_comes(&s);
    heard(&s, MESSAGE_HELLO);
    assert_silent(&s);
    say_hello(&s);
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    assert_int_equal(heard(&s, MESSAGE_CALL).id, id);
    size_t sent = 0;
    for (bool more = true; more;) { /* an agent that is new can't have the plugin: it goes unasked */
        struct message chunk = heard(&s, MESSAGE_CHUNK);
        assert_memory_equal(chunk.chunk.bytes.at, object_bytes + sent, chunk.chunk.bytes.n);
        sent += chunk.chunk.bytes.n;
        more = chunk.chunk.more;
    }
    assert_int_equal(sent, sizeof object_bytes);
    struct message_object object = {.digest = object_digest};
    say(&s, &(struct message){.kind = MESSAGE_NEED,
                              .id = id,
                              .objects = {.count = 1, .list = &object}}); /* said before the agent saw the CHUNKs */
    assert_nothing_comes(&s);
    assert_silent(&s);
    end(&s);
}

static void a_missing_agent_is_uploaded_and_greeted_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof agent_bytes; i++)
        agent_bytes[i] = (unsigned char)(i * 31 >> 3);
    for (size_t i = 0; i < sizeof agent_packed; i++)
        agent_packed[i] = (unsigned char)(i * 17 >> 2);
    upload("Linux x86_64 plain", agent_bytes, sizeof agent_bytes);
    upload("Linux x86_64 gzip", agent_packed, sizeof agent_packed);
}

/* --- more than one machine --- */

static unsigned char arm_object[3000];
static struct client_variant arm = {.machine = "aarch64", .digest = {{2}}, .object = arm_object, .object_size = sizeof arm_object};
static const struct client_request for_two = {.type = "hello",
                                              .state = "\x80",
                                              .state_size = 1,
                                              .digest = &object_digest,
                                              .object = object_bytes,
                                              .object_size = sizeof object_bytes,
                                              .variants = &arm,
                                              .variant_count = 1};

/* The plugin that the next CALL offers: whether it is the variant for aarch64. */
static bool offers_variant(struct stage *s)
{
    struct message m = heard(s, MESSAGE_CALL);
    bool is_arm = digest_equal(&m.call.digest, &arm.digest);
    assert_true(is_arm || digest_equal(&m.call.digest, &object_digest));
    assert_int_equal(m.call.object_size, is_arm ? sizeof arm_object : sizeof object_bytes);
    return is_arm;
}

static void an_agent_is_offered_the_plugin_for_its_machine(void **state)
{
    (void)state;
    static const char *const machines[] = {"aarch64", "x86_64", "riscv64", ""};
    for (size_t i = 0; i < COUNT(machines); i++) {
        struct stage s;
        struct message m;
        machine = machines[i];
        start(&s, NULL);
        uint32_t id = call_with(&s, &for_two);
        say_marker(&s);
        say_hello(&s);
        assert_int_equal(next(&s, &m), MESSAGE_HELLO);
        heard(&s, MESSAGE_HELLO);
        bool is_arm = i == 0;
        assert_int_equal(offers_variant(&s), is_arm);
        call_with(&s, &for_two); /* and when the machine is known before */
        assert_int_equal(offers_variant(&s), is_arm);
        struct message_object object = {.digest = is_arm ? arm.digest : object_digest};
        say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id, .objects = {.count = 1, .list = &object}});
        assert_nothing_comes(&s);
        m = heard(&s, MESSAGE_CHUNK);
        assert_true(digest_equal(&m.chunk.digest, &object.digest));
        assert_memory_equal(m.chunk.bytes.at, is_arm ? arm_object : object_bytes, m.chunk.bytes.n);
        end(&s);
    }
    machine = "x86_64";
}

static unsigned char arm_agent_bytes[7000];
static struct agent_image arm_image = {.bytes = arm_agent_bytes,
                                       .size = sizeof arm_agent_bytes,
                                       .packed = arm_agent_bytes,
                                       .packed_size = 4000,
                                       .digest = "bb",
                                       .machine = "aarch64"};

/* And the plugin for it follows it unasked. */
static void a_host_is_sent_the_agent_for_its_machine(void **state)
{
    (void)state;
    struct agent_image two = image;
    struct stage s;
    struct message m;
    memset(arm_agent_bytes, 7, sizeof arm_agent_bytes);
    memset(arm_object, 8, sizeof arm_object);
    two.next = &arm_image;
    start(&s, &two);
    call_with(&s, &for_two);
    say_need(&s, "Linux aarch64 plain");
    assert_nothing_comes(&s);
    hear(&s);
    assert_int_equal(buf_length(&s.heard), sizeof arm_agent_bytes + 43);
    assert_memory_equal(buf_data(&s.heard), arm_agent_bytes, sizeof arm_agent_bytes);
    buf_consume(&s.heard, buf_length(&s.heard));
    machine = "aarch64";
    say_marker(&s);
    say_hello(&s);
    machine = "x86_64";
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    heard(&s, MESSAGE_HELLO);
    assert_true(offers_variant(&s));
    m = heard(&s, MESSAGE_CHUNK);
    assert_true(digest_equal(&m.chunk.digest, &arm.digest));
    end(&s);
}

static void why_no_agent_can_be_sent_is_told(void **state)
{
    (void)state;
    struct agent_image two = image, useless = arm_image;
    static const struct { const char *system, *part;
    } cases[] = {
        {"Linux riscv64 gzip",
         "no agent for riscv64 here, only for x86_64, aarch64 (\"make agent-riscv64\" builds one; Debian's package sshexec-agents of that architecture has one)"},
        {"Linux aarch64 gzip", "can't send the agent for aarch64: it is of sshexec 9"}};
    strcpy(useless.flaw, "it is of sshexec 9");
    two.next = &useless;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct stage s;
        struct message m;
        struct ssx_error err = {0};
        start(&s, &two);
        say_need(&s, cases[i].system);
        assert_int_equal(client_next(s.client, &m, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
        assert_string_equal(err.text, cases[i].part);
        assert_silent(&s);
        end(&s);
    }
}

static void an_agent_is_offered_once_and_only_where_it_runs(void **state)
{
    (void)state;
    static const struct { const char *system, *part;
    } cases[] = {{"Linux aarch64 gzip", "no agent for aarch64 here, only for x86_64"},
                 {"FreeBSD amd64 plain", "the host runs FreeBSD"},
                 {"Linux", "can't be read"},
                 {"", "can't be read"},
                 {"Linux x86_64", "can't be read"},
                 {"Linux x86_64 zstd", "can't be read"},
                 {"Linux x86_64 gzip\r", "a CRLF translator"}};
    struct stage s;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct message m;
        struct ssx_error err = {0};
        start(&s, &image);
        say_need(&s, cases[i].system);
        assert_int_equal(client_next(s.client, &m, &err), -1);
        assert_non_null(strstr(err.text, cases[i].part));
        assert_silent(&s);
        end(&s);
    }
    start(&s, NULL);
    say_need(&s, "Linux x86_64 gzip");
    assert_broken(&s, "where none was offered");
    end(&s);
    start(&s, &image);
    say_need(&s, "Linux x86_64 gzip");
    assert_nothing_comes(&s);
    hear(&s);
    say_need(&s, "Linux x86_64 gzip");
    assert_broken(&s, "where none was offered");
    end(&s);
}

static void an_agent_can_not_answer_before_it_was_sent(void **state)
{
    (void)state;
    struct stage s;
    start(&s, &image);
    say_need(&s, "Linux x86_64 gzip");
    assert_nothing_comes(&s);
    say_marker(&s);
    assert_broken(&s, "before the host had taken all of it");
    end(&s);
}

static void a_host_that_can_not_store_says_why(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    struct ssx_error err = {0};
    start(&s, &image);
    say_text(&s, "sshexec-fail 1 ");
    say_text(&s, s.nonce);
    say_text(&s, " /home/ada is not");
    assert_nothing_comes(&s);
    say_text(&s, " writable\x1b[2J\nmore");
    assert_int_equal(client_next(s.client, &m, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    assert_non_null(strstr(err.text, "can't start an agent there: /home/ada is not writable\\x1b[2J"));
    assert_null(strstr(err.text, "more"));
    end(&s);
}

/* --- calls --- */

static void calls_wait_for_hello_and_travel_in_order(void **state)
{
    (void)state;
    struct stage s;
    uint32_t described;
    static unsigned char large[200000];
    memset(large, 0xc0, sizeof large);
    start(&s, NULL);
    uint32_t first =
        call_with(&s, &(struct client_request){
                          .type = "exec", .state = large, .state_size = sizeof large, .timeout_ms = 9, .grace_ms = 7});
    assert_int_equal(client_describe(s.client, &described, "hello", NULL), 0);
    assert_true(first == 1 && described == 2);
    assert_int_equal(client_open_calls(s.client), 2);
    assert_silent(&s);
    say_marker(&s);
    assert_nothing_comes(&s);
    assert_false(client_is_ready(s.client));
    assert_int_equal(heard(&s, MESSAGE_HELLO).hello.window, CLIENT_WINDOW);
    assert_silent(&s);
    say_hello(&s);
    struct message m;
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    m = heard(&s, MESSAGE_CALL);
    assert_true(span_is(m.call.type, "exec") && m.call.timeout_ms == 9 && m.call.grace_ms == 7 && !m.call.input && !m.call.has_object);
    assert_int_equal(m.call.state_size, sizeof large);
    size_t got = m.call.state.n;
    for (bool more = true; more; got += m.data.bytes.n) {
        m = heard(&s, MESSAGE_STATE);
        assert_int_equal(m.id, first);
        more = m.data.more;
    }
    assert_int_equal(got, sizeof large);
    assert_true(span_is(heard(&s, MESSAGE_DESCRIBE).describe.type, "hello"));
    assert_silent(&s);
    end(&s);
}

static void what_no_agent_takes_is_refused_before_it_travels(void **state)
{
    (void)state;
    static const struct { struct client_request r; enum ssx_error_code code;
    } cases[] = {
        {{.type = "No", .state = "\x80", .state_size = 1}, SSX_ERROR_UNKNOWN_TYPE},
        {{.type = "a", .state = object_bytes, .state_size = VALUE_SIZE_MAX + 1}, SSX_ERROR_REFUSED},
        {{.type = "a",
          .state = "\x80",
          .state_size = 1,
          .digest = &object_digest,
          .object = object_bytes,
          .object_size = OBJECT_MAX + 1},
         SSX_ERROR_REFUSED},
        {{.type = "a", .state = "\x80", .state_size = 1, .grace_ms = GRACE_MS_MAX + 1}, SSX_ERROR_USAGE},
        {{.type = "a", .state = "\x80", .state_size = 1, .timeout_ms = TIMEOUT_MS_MAX + 1}, SSX_ERROR_USAGE},
    };
    struct stage s;
    uint32_t id;
    start_ready(&s);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ssx_error err = {0};
        assert_int_equal(client_call(s.client, &id, &cases[i].r, &err), -1);
        assert_int_equal(err.code, cases[i].code);
    }
    assert_int_equal(client_describe(s.client, &id, "../etc/passwd", NULL), -1);
    assert_int_equal(client_open_calls(s.client), 0);
    assert_silent(&s);
    end(&s);
}

static void a_cancel_names_its_call_while_that_is_open(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    client_cancel(s.client, id);
    assert_int_equal(heard(&s, MESSAGE_CANCEL).id, id);
    say(&s, &(struct message){.kind = MESSAGE_END, .id = id, .end = {.outcome = SSX_OUTCOME_CANCELLED}});
    assert_int_equal(next(&s, &m), MESSAGE_END);
    assert_int_equal(client_open_calls(s.client), 0);
    client_cancel(s.client, id);
    client_cancel(s.client, 77);
    assert_silent(&s);
    end(&s);
}

static void messages_for_ids_that_are_not_open_break_the_protocol(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    say_output(&s, id + 1, 1);
    assert_broken(&s, "OUTPUT for call 2, which is not open");
    end(&s);
    id = call_ready(&s);
    say(&s, &(struct message){.kind = MESSAGE_END, .id = id});
    assert_int_equal(next(&s, &m), MESSAGE_END);
    say(&s, &(struct message){.kind = MESSAGE_END, .id = id}); /* exactly one */
    assert_broken(&s, "END for call 1, which is not open");
    end(&s);
}

static void answers_must_fit_the_question(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    say(&s, &(struct message){.kind = MESSAGE_DESCRIBE, .id = id, .describe.type = span_text("x")});
    assert_broken(&s, "DESCRIBE in answer to CALL");
    end(&s);
    start_ready(&s);
    assert_int_equal(client_describe(s.client, &id, NULL, NULL), 0);
    say(&s, &(struct message){.kind = MESSAGE_DESCRIBE, .id = id, .describe.type = span_text("x")});
    say(&s, &(struct message){.kind = MESSAGE_DESCRIBE, .id = id, .describe.type = span_text("y")});
    assert_int_equal(next(&s, &m), MESSAGE_DESCRIBE);
    assert_int_equal(next(&s, &m), MESSAGE_DESCRIBE);
    assert_true(span_is(m.describe.type, "y"));
    assert_int_equal(client_input(s.client, id, "x", 1), 0);
    say_output(&s, id, 1);
    assert_broken(&s, "OUTPUT in answer to DESCRIBE");
    end(&s);
}

/* --- credit --- */

static void an_agent_that_exceeds_its_window_is_stopped(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    for (size_t n = 0; n < CLIENT_WINDOW; n += DATA_MAX) {
        say_output(&s, id, DATA_MAX);
        assert_int_equal(next(&s, &m), MESSAGE_OUTPUT);
    }
    say(&s, &(struct message){.kind = MESSAGE_LOG, .id = id}); /* costs nothing */
    assert_int_equal(next(&s, &m), MESSAGE_LOG);
    assert_silent(&s);
    say_output(&s, id, 1);
    assert_broken(&s, "OUTPUT of 1 bytes, where the window has 0 left");
    end(&s);
}

static void what_is_consumed_is_granted_in_steps(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    size_t granted = 0;
    uint32_t id = call_ready(&s);
    for (int i = 0; i < 64; i++) {
        say_output(&s, id, DATA_MAX);
        assert_int_equal(next(&s, &m), MESSAGE_OUTPUT);
        client_consumed(s.client, id, message_cost(&m));
        hear(&s);
        if (buf_length(&s.heard)) {
            granted += heard(&s, MESSAGE_CREDIT).credit;
            assert_int_equal(i % 4, 3); /* a quarter of the window at once */
        }
    }
    assert_int_equal(granted, 64 * DATA_MAX);
    client_consumed(s.client, id, 1u << 30); /* no more than has come */
    client_consumed(s.client, 99, 5);
    assert_silent(&s);
    end(&s);
}

static void a_slow_consumer_does_not_stop_its_sibling(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t slow = call_ready(&s), fast = call(&s);
    heard(&s, MESSAGE_CALL);
    for (size_t n = 0; n < CLIENT_WINDOW; n += DATA_MAX) {
        say_output(&s, slow, DATA_MAX);
        assert_int_equal(next(&s, &m), MESSAGE_OUTPUT);
    }
    for (int i = 0; i < 64; i++) {
        say_output(&s, fast, DATA_MAX);
        assert_int_equal(next(&s, &m), MESSAGE_OUTPUT);
        client_consumed(s.client, fast, message_cost(&m));
    }
    hear(&s);
    while (buf_length(&s.heard))
        assert_int_equal(heard(&s, MESSAGE_CREDIT).id, fast);
    end(&s);
}

static void input_stays_within_the_agents_credit(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    static unsigned char input[2 * WINDOW];
    start(&s, NULL);
    uint32_t id = call(&s);
    assert_int_equal(client_input_room(s.client, id), 0); /* nobody has granted anything yet */
    say_marker(&s);
    say_hello(&s);
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    heard(&s, MESSAGE_HELLO);
    heard(&s, MESSAGE_CALL);
    assert_int_equal(client_input_room(s.client, id), WINDOW);
    assert_int_equal(client_input(s.client, id, input, sizeof input), WINDOW);
    for (size_t n = 0; n < WINDOW; n += DATA_MAX)
        assert_int_equal(heard(&s, MESSAGE_INPUT).data.bytes.n, DATA_MAX);
    assert_int_equal(client_input(s.client, id, input, 1), 0);
    say(&s, &(struct message){.kind = MESSAGE_CREDIT, .id = id, .credit = 100});
    assert_nothing_comes(&s);
    assert_int_equal(client_input(s.client, id, input, 500), 100);
    assert_int_equal(heard(&s, MESSAGE_INPUT).data.bytes.n, 100);
    client_input_end(s.client, id); /* costs nothing, and goes once */
    client_input_end(s.client, id);
    assert_int_equal(heard(&s, MESSAGE_INPUT).data.bytes.n, 0);
    say(&s, &(struct message){.kind = MESSAGE_CREDIT, .id = id, .credit = 100});
    assert_nothing_comes(&s);
    assert_int_equal(client_input(s.client, id, input, 1), 0);
    assert_silent(&s);
    end(&s);
}

/* However much the agent grants, by however many frames. */
static void credit_neither_overflows_nor_swells_the_queue(void **state)
{
    (void)state;
    struct stage s;
    size_t n;
    static unsigned char input[1 << 20];
    uint32_t id = call_ready(&s);
    for (int i = 0; i < 10; i++)
        say(&s, &(struct message){.kind = MESSAGE_CREDIT, .id = id, .credit = UINT32_MAX});
    assert_nothing_comes(&s);
    for (int i = 0; i < 10; i++)
        client_input(s.client, id, input, sizeof input);
    client_outgoing(s.client, &n);
    assert_true(n > 128u << 10 && n < 300u << 10);
    end(&s);
}

/* --- values --- */

static void a_result_in_pieces_is_joined(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    size_t size = 3u << 20, credit = 0;
    unsigned char *value = calloc(1, size);
    memcpy(value, "\xc6\x00\x2f\xff\xfb", 5); /* bin 32: larger than the window, so its pieces must be granted as they come */
    uint32_t id = call_ready(&s), sibling = call(&s);
    heard(&s, MESSAGE_CALL);
    for (size_t at = 0; at < size; at += DATA_MAX) {
        say_piece(&s, MESSAGE_RESULT, id, value + at, DATA_MAX, at + DATA_MAX < size);
        if (at + DATA_MAX < size)
            assert_nothing_comes(&s);
    }
    assert_int_equal(next(&s, &m), MESSAGE_RESULT);
    assert_int_equal(m.data.bytes.n, size);
    assert_memory_equal(m.data.bytes.at, value, size);
    client_consumed(s.client, id, message_cost(&m));
    client_consumed(s.client, id, 1); /* nothing is left to be granted */
    hear(&s);
    while (buf_length(&s.heard))
        credit += heard(&s, MESSAGE_CREDIT).credit;
    assert_int_equal(credit, size);
    say(&s, &(struct message){.kind = MESSAGE_END, .id = id});
    assert_int_equal(next(&s, &m), MESSAGE_END);
    say_piece(&s, MESSAGE_RESULT, sibling, "\xc3", 1, false);
    assert_int_equal(next(&s, &m), MESSAGE_RESULT);
    assert_memory_equal(m.data.bytes.at, "\xc3", 1);
    free(value);
    end(&s);
}

/* What an item's pieces were granted isn't granted again, out of other data that nobody has dealt with. */
static void items_in_pieces_are_granted_once(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    static unsigned char item[2 * DATA_MAX] = "\xc6\x00\x01\xff\xfb";
    size_t credit = 0;
    uint32_t id = call_ready(&s);
    for (int i = 0; i < 4; i++) {
        say_output(&s, id, DATA_MAX); /* never consumed */
        assert_int_equal(next(&s, &m), MESSAGE_OUTPUT);
    }
    for (int i = 0; i < 8; i++) {
        say_piece(&s, MESSAGE_ITEM, id, item, DATA_MAX, true);
        say_piece(&s, MESSAGE_ITEM, id, item + DATA_MAX, DATA_MAX, false);
        assert_int_equal(next(&s, &m), MESSAGE_ITEM);
        assert_int_equal(m.data.bytes.n, sizeof item);
        client_consumed(s.client, id, message_cost(&m));
    }
    hear(&s);
    while (buf_length(&s.heard))
        credit += heard(&s, MESSAGE_CREDIT).credit;
    assert_int_equal(credit, 8 * sizeof item);
    end(&s);
}

static size_t credit_heard(struct stage *s)
{
    size_t credit = 0;
    hear(s);
    while (buf_length(&s->heard))
        credit += heard(s, MESSAGE_CREDIT).credit;
    return credit;
}

/* While an owner has a large item to deal with, the next one gets no room beyond the window; then all of it that has
 * come, at once. */
static void a_slow_owner_is_not_sent_a_second_large_item(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    static unsigned char item[4 * DATA_MAX] = "\xc6\x00\x03\xff\xfb"; /* as large as a step of CREDIT */
    uint32_t id = call_ready(&s);
    hear(&s);
    buf_consume(&s.heard, buf_length(&s.heard));
    for (int piece = 0; piece < 11; piece++) { /* two, and a third without its end */
        say_piece(&s, MESSAGE_ITEM, id, item + piece % 4 * DATA_MAX, DATA_MAX, piece % 4 != 3);
        if (piece % 4 == 3)
            assert_int_equal(next(&s, &m), MESSAGE_ITEM);
        else
            assert_nothing_comes(&s);
    }
    assert_int_equal(credit_heard(&s), 0);
    client_consumed(s.client, id, sizeof item);
    client_consumed(s.client, id, sizeof item);
    assert_int_equal(credit_heard(&s), 2 * sizeof item + 3 * DATA_MAX);
    say_piece(&s, MESSAGE_ITEM, id, item + 3 * DATA_MAX, DATA_MAX, false);
    assert_int_equal(next(&s, &m), MESSAGE_ITEM);
    end(&s);
}

static void values_are_scanned(void **state)
{
    (void)state;
    static const enum message_kind kinds[] = {MESSAGE_ITEM, MESSAGE_RESULT, MESSAGE_STATE};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct stage s;
        uint32_t id = call_ready(&s);
        say_piece(&s, kinds[i], id, "\xa5", 1, true);
        say_piece(&s, kinds[i], id, "ab", 2, false);
        assert_broken(&s, "not a msgpack value");
        end(&s);
        id = call_ready(&s);
        say_piece(&s, kinds[i], id, "", 0, false);
        assert_broken(&s, "not a msgpack value");
        end(&s);
    }
}

static void pieces_of_different_values_do_not_mix(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    say_piece(&s, MESSAGE_ITEM, id, "", 0, true); /* an empty piece begins a value too */
    say_piece(&s, MESSAGE_RESULT, id, "\xc0", 1, false);
    assert_broken(&s, "RESULT between the pieces of ITEM");
    end(&s);
    id = call_ready(&s);
    say_piece(&s, MESSAGE_RESULT, id, "\xc0", 1, false);
    assert_int_equal(next(&s, &m), MESSAGE_RESULT);
    say_piece(&s, MESSAGE_RESULT, id, "\xc0", 1, false);
    assert_broken(&s, "a second RESULT");
    end(&s);
    id = call_ready(&s);
    say_piece(&s, MESSAGE_STATE, id, "\x80", 1, false);
    assert_int_equal(next(&s, &m), MESSAGE_STATE);
    say_piece(&s, MESSAGE_STATE, id, "\x80", 1, false);
    assert_broken(&s, "a second STATE");
    end(&s);
}

static void a_value_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    struct ssx_error err = {0};
    int rc = 0;
    uint32_t id = call_ready(&s);
    for (size_t n = 0; n <= VALUE_SIZE_MAX && rc == 0; n += DATA_MAX) {
        say_piece(&s, MESSAGE_ITEM, id, data, DATA_MAX, true);
        rc = client_next(s.client, &m, &err);
    }
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.text, "ITEM of over 16777215 bytes"));
    end(&s);
}

/* --- objects --- */

static void an_object_that_is_needed_travels_in_chunks(void **state)
{
    (void)state;
    struct stage s;
    size_t n, sent = 0;
    start_ready(&s);
    uint32_t id = call_object(&s);
    struct message m = heard(&s, MESSAGE_CALL);
    assert_true(m.call.has_object && digest_equal(&m.call.digest, &object_digest) &&
                m.call.object_size == sizeof object_bytes && !m.call.exact);
    assert_silent(&s); /* not unasked */
    struct message_object object = {.digest = object_digest};
    say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id, .objects = {.count = 1, .list = &object}});
    assert_nothing_comes(&s);
    client_outgoing(s.client, &n);
    assert_true(n < CHUNK_MAX + (256u << 10)); /* cut as it goes */
    do {
        m = heard(&s, MESSAGE_CHUNK);
        assert_true(m.id == id && digest_equal(&m.chunk.digest, &object_digest));
        assert_memory_equal(m.chunk.bytes.at, object_bytes + sent, m.chunk.bytes.n);
        sent += m.chunk.bytes.n;
    } while (m.chunk.more);
    assert_int_equal(sent, sizeof object_bytes);
    assert_silent(&s);
    say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id, .objects = {.count = 1, .list = &object}});
    assert_broken(&s, "NEED of the same object twice");
    end(&s);
}

static void only_what_was_offered_can_be_needed(void **state)
{
    (void)state;
    struct stage s;
    struct message_object other = {.digest = {{9}}};
    start_ready(&s);
    uint32_t id = call_object(&s);
    say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id, .objects = {.count = 1, .list = &other}});
    assert_broken(&s, "was not offered");
    end(&s);
    id = call_ready(&s);
    say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id, .objects = {.count = 1, .list = &other}});
    assert_broken(&s, "was not offered");
    end(&s);
    id = call_ready(&s);
    say(&s, &(struct message){.kind = MESSAGE_NEED, .id = id}); /* nothing is nothing */
    assert_nothing_comes(&s);
    assert_silent(&s);
    end(&s);
}

/* --- pings, farewells, losses --- */

static void pings_are_answered(void **state)
{
    (void)state;
    struct stage s;
    start_ready(&s);
    for (uint64_t i = 0; i < 1000; i++) { /* more than may wait, but each answer is taken */
        say(&s, &(struct message){.kind = MESSAGE_PING, .token = UINT64_MAX - i});
        assert_nothing_comes(&s);
        assert_true(heard(&s, MESSAGE_PONG).token == UINT64_MAX - i);
    }
    say(&s, &(struct message){.kind = MESSAGE_PONG, .token = 4});
    assert_nothing_comes(&s);
    assert_silent(&s);
    end(&s);
}

static void lease_is_asked_for_and_kept(void **state)
{
    (void)state;
    struct stage s;
    start(&s, NULL);
    client_want_lease(s.client, 30000);
    client_ping(s.client); /* nobody is there yet */
    say_marker(&s);
    say_hello(&s);
    struct message m;
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    assert_true(heard(&s, MESSAGE_HELLO).hello.lease_ms == 30000);
    assert_silent(&s);
    client_ping(s.client);
    heard(&s, MESSAGE_PING);
    assert_silent(&s);
    end(&s);
}

static void a_flood_of_pings_does_not_fill_memory(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    int rc = 0, pings = 0;
    size_t n;
    start_ready(&s);
    while (rc == 0 && pings < 100000) {
        say(&s, &(struct message){.kind = MESSAGE_PING, .token = 7});
        rc = client_next(s.client, &m, NULL);
        pings++;
    }
    assert_int_equal(rc, -1);
    client_outgoing(s.client, &n);
    assert_true(n < 8192);
    end(&s);
}

/* What costs no window must not be anybody's to pile up. */
static void descriptions_have_an_end(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    struct ssx_error err = {0};
    struct buf b = {0};
    uint32_t id;
    start_ready(&s);
    assert_int_equal(client_describe(s.client, &id, NULL, NULL), 0);
    message_encode(&b,
                   &(struct message){.kind = MESSAGE_DESCRIBE,
                                     .id = id,
                                     .describe = {.type = span_text("t"), .note = span_text("n")}},
                   FROM_AGENT);
    int rc = 1;
    size_t came = 0;
    for (; rc > 0 && came < 100000; came++) {
        say_bytes(&s, buf_data(&b), buf_length(&b));
        rc = client_next(s.client, &m, &err);
    }
    assert_int_equal(rc, -1);
    assert_int_equal(came, 65537);
    buf_free(&b);
    end(&s);
}

static void items_of_nothing_are_none(void **state)
{
    (void)state;
    struct stage s;
    uint32_t id = call_ready(&s);
    say_piece(&s, MESSAGE_ITEM, id, "", 0, false);
    assert_broken(&s, "ITEM");
    end(&s);
}

static void a_farewell_gives_its_reason(void **state)
{
    (void)state;
    struct stage s;
    call_ready(&s);
    say(&s, &(struct message){.kind = MESSAGE_BYE, .text = span_text("the machine goes down")});
    assert_broken(&s, "the agent ended the session: the machine goes down");
    end(&s);
    start(&s, NULL);
    say_marker(&s);
    say(&s, &(struct message){.kind = MESSAGE_BYE}); /* allowed before HELLO */
    assert_broken(&s, "the agent ended the session");
    end(&s);
}

static enum ssx_outcome outcomes[3];

static void take_losses(struct stage *s, size_t calls)
{
    struct message m;
    for (size_t i = 0; i < calls; i++) {
        assert_int_equal(next(s, &m), MESSAGE_END);
        assert_true(m.id >= 1 && m.id <= COUNT(outcomes));
        assert_true(span_is(m.end.message, "the network is gone"));
        outcomes[m.id - 1] = m.end.outcome;
    }
    assert_nothing_comes(s);
    assert_int_equal(client_open_calls(s->client), 0);
}

static void calls_that_travelled_are_lost_and_others_unreachable(void **state)
{
    (void)state;
    struct stage s;
    struct ssx_error err = {0};
    uint32_t id;
    size_t n;
    start_ready(&s);
    call(&s);
    hear(&s);
    call(&s);
    client_outgoing(s.client, &n);
    client_sent(s.client, 1); /* a byte of the second, nothing of the third */
    call(&s);
    client_lost(s.client, "the network is gone");
    client_lost(s.client, "said twice");
    take_losses(&s, 3);
    assert_true(outcomes[0] == SSX_OUTCOME_LOST && outcomes[1] == SSX_OUTCOME_LOST && outcomes[2] == SSX_OUTCOME_UNREACHABLE);
    assert_int_equal(client_call(s.client, &id, &(struct client_request){.type = "hello", .state = "\x80", .state_size = 1}, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    assert_null(client_outgoing(s.client, &n));
    end(&s);
}

static void calls_that_waited_for_hello_are_told_apart_too(void **state)
{
    (void)state;
    struct stage s;
    size_t n;
    start(&s, NULL);
    call(&s);
    call(&s);
    client_lost(s.client, "the network is gone"); /* the greeting's bytes don't count */
    take_losses(&s, 2);
    assert_true(outcomes[0] == SSX_OUTCOME_UNREACHABLE && outcomes[1] == SSX_OUTCOME_UNREACHABLE);
    end(&s);
    start(&s, NULL);
    call(&s);
    call(&s);
    say_marker(&s);
    say_hello(&s);
    struct message m;
    assert_int_equal(next(&s, &m), MESSAGE_HELLO);
    client_outgoing(s.client, &n);
    client_sent(s.client, n - 26); /* all but the last CALL, which takes 26 bytes */
    client_lost(s.client, "the network is gone");
    take_losses(&s, 2);
    assert_int_equal(outcomes[0], SSX_OUTCOME_LOST);
    assert_int_equal(outcomes[1], SSX_OUTCOME_UNREACHABLE);
    end(&s);
}

static void a_value_half_way_is_dropped_with_its_call(void **state)
{
    (void)state;
    struct stage s;
    struct message m;
    uint32_t id = call_ready(&s);
    say_piece(&s, MESSAGE_RESULT, id, "\xa5", 1, true);
    say(&s, &(struct message){.kind = MESSAGE_END, .id = id, .end = {.outcome = SSX_OUTCOME_CRASHED, .signal = 9}});
    assert_int_equal(next(&s, &m), MESSAGE_END);
    assert_int_equal(m.end.signal, 9);
    end(&s);
}

/* --- hostile streams --- */

/* What an agent might say in a session of two calls and a description. */
static void record(struct buf *out, const char *nonce)
{
    struct message_object object = {.digest = object_digest};
    const struct message script[] = {
        {.kind = MESSAGE_NEED, .id = 2, .objects = {.count = 1, .list = &object}},
        {.kind = MESSAGE_OUTPUT, .id = 1, .data = {.stream = 1, .bytes = {"hello\n", 6}}},
        {.kind = MESSAGE_PING, .token = 5},
        {.kind = MESSAGE_CREDIT, .id = 1, .credit = 1000},
        {.kind = MESSAGE_LOG, .id = 2, .log = {1, {"log", 3}}},
        {.kind = MESSAGE_PROGRESS, .id = 2, .progress = {1, 2, {"half", 4}}},
        {.kind = MESSAGE_ITEM, .id = 2, .data = {.bytes = {"\xa2", 1}, .more = true}},
        {.kind = MESSAGE_DESCRIBE, .id = 3, .describe = {.type = {"x", 1}, .problem = {"y", 1}}},
        {.kind = MESSAGE_ITEM, .id = 2, .data = {.bytes = {"ab", 2}}},
        {.kind = MESSAGE_RESULT, .id = 1, .data = {.bytes = {"\x80", 1}}},
        {.kind = MESSAGE_END, .id = 1, .end = {.has_digest = true, .wall_us = 99}},
        {.kind = MESSAGE_STATE, .id = 2, .data = {.bytes = {"\xc0", 1}}},
        {.kind = MESSAGE_END, .id = 3},
        {.kind = MESSAGE_END, .id = 2, .end = {.outcome = SSX_OUTCOME_FAILED, .code = 3, .message = {"no", 2}}},
        {.kind = MESSAGE_BYE, .text = {"done", 4}},
    };
    buf_add_text(out, "motd\n");
    add_marker(out, nonce);
    add_hello(out);
    for (size_t i = 0; i < COUNT(script); i++)
        message_encode(out, &script[i], FROM_AGENT);
}

/* Plays a stream in random pieces; afterwards each call has had exactly one END. Returns how many messages came before
 * the end. */
static size_t play(struct stage *s, const struct buf *stream, uint64_t *seed)
{
    unsigned ends[4] = {0};
    size_t messages = 0;
    for (size_t at = 0, n; at < buf_length(stream); at += n) {
        struct message m;
        struct ssx_error err = {0};
        int rc;
        n = 1 + random_below(seed, buf_length(stream) - at);
        say_bytes(s, buf_data(stream) + at, n);
        while ((rc = client_next(s->client, &m, &err)) > 0) {
            messages++;
            if (m.kind == MESSAGE_END)
                ends[m.id & 3]++;
            client_consumed(s->client, m.id, message_cost(&m));
        }
        hear(s);
        if (rc < 0) {
            assert_true(err.text[0]);
            client_lost(s->client, err.text);
            break;
        }
    }
    client_lost(s->client, "the end");
    struct message m;
    while (next(s, &m))
        ends[m.id & 3]++;
    assert_true(ends[1] == 1 && ends[2] == 1 && ends[3] == 1);
    return messages;
}

static size_t play_damaged(uint64_t *seed, bool damage)
{
    struct stage s;
    struct buf stream = {0};
    uint32_t id;
    start(&s, NULL);
    call(&s);
    call_with(&s, &(struct client_request){.type = "hello",
                                           .state = "\x80",
                                           .state_size = 1,
                                           .digest = &object_digest,
                                           .object = object_bytes,
                                           .object_size = 100});
    client_describe(s.client, &id, NULL, NULL);
    record(&stream, s.nonce);
    if (damage)
        random_mutation(&stream, seed);
    size_t messages = play(&s, &stream, seed);
    buf_free(&stream);
    end(&s);
    return messages;
}

static void damaged_streams_end_each_call_once(void **state)
{
    (void)state;
    uint64_t seed = 11;
    size_t messages = 0;
    assert_int_equal(play_damaged(&seed, false), 11);
    for (int round = 0; round < 25000; round++)
        messages += play_damaged(&seed, true);
    assert_true(messages > 25000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_before_the_marker_is_kept_apart),
        cmocka_unit_test(the_marker_may_come_in_two_parts),
        cmocka_unit_test(a_greeting_and_a_call_may_come_byte_by_byte),
        cmocka_unit_test(a_changed_marker_is_told),
        cmocka_unit_test(endless_noise_is_given_up),
        cmocka_unit_test(as_much_noise_as_is_allowed_is_skipped),
        cmocka_unit_test(an_end_before_the_marker_quotes_what_came),
        cmocka_unit_test(hello_must_fit),
        cmocka_unit_test(nothing_comes_before_hello_and_hello_comes_once),
        cmocka_unit_test(a_missing_agent_is_uploaded_and_greeted_again),
        cmocka_unit_test(an_agent_is_offered_the_plugin_for_its_machine),
        cmocka_unit_test(a_host_is_sent_the_agent_for_its_machine),
        cmocka_unit_test(why_no_agent_can_be_sent_is_told),
        cmocka_unit_test(an_agent_is_offered_once_and_only_where_it_runs),
        cmocka_unit_test(an_agent_can_not_answer_before_it_was_sent),
        cmocka_unit_test(descriptions_have_an_end),
        cmocka_unit_test(items_of_nothing_are_none),
        cmocka_unit_test(a_host_that_can_not_store_says_why),
        cmocka_unit_test(calls_wait_for_hello_and_travel_in_order),
        cmocka_unit_test(what_no_agent_takes_is_refused_before_it_travels),
        cmocka_unit_test(a_cancel_names_its_call_while_that_is_open),
        cmocka_unit_test(messages_for_ids_that_are_not_open_break_the_protocol),
        cmocka_unit_test(answers_must_fit_the_question),
        cmocka_unit_test(an_agent_that_exceeds_its_window_is_stopped),
        cmocka_unit_test(what_is_consumed_is_granted_in_steps),
        cmocka_unit_test(a_slow_consumer_does_not_stop_its_sibling),
        cmocka_unit_test(input_stays_within_the_agents_credit),
        cmocka_unit_test(credit_neither_overflows_nor_swells_the_queue),
        cmocka_unit_test(a_result_in_pieces_is_joined),
        cmocka_unit_test(items_in_pieces_are_granted_once),
        cmocka_unit_test(a_slow_owner_is_not_sent_a_second_large_item),
        cmocka_unit_test(values_are_scanned),
        cmocka_unit_test(pieces_of_different_values_do_not_mix),
        cmocka_unit_test(a_value_over_the_limit_is_refused),
        cmocka_unit_test(an_object_that_is_needed_travels_in_chunks),
        cmocka_unit_test(only_what_was_offered_can_be_needed),
        cmocka_unit_test(pings_are_answered),
        cmocka_unit_test(lease_is_asked_for_and_kept),
        cmocka_unit_test(a_flood_of_pings_does_not_fill_memory),
        cmocka_unit_test(a_farewell_gives_its_reason),
        cmocka_unit_test(calls_that_travelled_are_lost_and_others_unreachable),
        cmocka_unit_test(calls_that_waited_for_hello_are_told_apart_too),
        cmocka_unit_test(a_value_half_way_is_dropped_with_its_call),
        cmocka_unit_test(damaged_streams_end_each_call_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
