/* Frames: the golden bytes that are part of sdk/PROTOCOL.md, what a receiver judges in which order, its limits, and
 * hostile frames. The exit codes too. */
#include "base/buf.h"
#include "base/text.h"
#include "random_value.h"
#include "wire/message.h"
#include "wire/outcome.h"
#include "wire/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define SPAN(s) {s, sizeof(s) - 1}
#define DIGEST {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}}
#define OTHER {{128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159}}
#define DIGEST_BIN "c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_BIN "c420808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"

static const struct message_object two_objects[] = {{DIGEST, 15872}, {OTHER, OBJECT_MAX}};
static const struct message_object one_object[] = {{DIGEST, 0}};

/* The golden frames (PROTOCOL.md, section 6). A change of one of them is a new version of the protocol. */
static const struct golden { enum message_party from; const char *hex; struct message m;
} golden[] = {
    {FROM_SENDER,
     "0000004293010086a36d696e01a36d617801a56275696c64ad7373686578656320302e312e30a26f73a56c696e7578a677696e646f77ce00100000a57374617465ce00ffffff",
     {.kind = MESSAGE_HELLO,
      .hello = {.min = 1,
                .max = 1,
                .build = SPAN("sshexec 0.1.0"),
                .os = SPAN("linux"),
                .window = 1 << 20,
                .state = VALUE_SIZE_MAX}}},
    {FROM_SENDER,
     "0000004e93010087a36d696e01a36d617801a56275696c64ad7373686578656320302e312e30a26f73a56c696e7578a677696e646f77ce00100000a57374617465ce00ffffff"
     "a86c656173655f6d73cd7530",
     {.kind = MESSAGE_HELLO,
      .hello = {.min = 1,
                .max = 1,
                .build = SPAN("sshexec 0.1.0"),
                .os = SPAN("linux"),
                .window = 1 << 20,
                .state = VALUE_SIZE_MAX,
                .lease_ms = 30000}}},
    {FROM_AGENT,
     "0000006b93010089a36d696e01a36d617802a56275696c64b3737368657865632d6167656e7420302e312e30a26f73a56c696e7578a461726368a67838365f3634"
     "a46c696263aa676c69626320322e3336a677696e646f77ce00100000a563616c6c7340a57374617465ce00ffffff",
     {.kind = MESSAGE_HELLO,
      .hello = {.min = 1,
                .max = 2,
                .build = SPAN("sshexec-agent 0.1.0"),
                .os = SPAN("linux"),
                .arch = SPAN("x86_64"),
                .libc = SPAN("glibc 2.36"),
                .window = 1 << 20,
                .calls = 64,
                .state = VALUE_SIZE_MAX}}},
    {FROM_SENDER,
     "00000018970201a568656c6c6fc00ac40a81a46e616d65a341646180",
     {.kind = MESSAGE_CALL,
      .id = 1,
      .call = {.type = SPAN("hello"),
               .state_size = 10,
               .state = SPAN("\x81\xa4name\xa3"
                             "Ada"),
               .grace_ms = GRACE_MS_DEFAULT}}},
    {FROM_SENDER,
     "0000005a9702cd012ca46578656393" DIGEST_BIN
     "cd3e00c3ce00011170c4019183aa74696d656f75745f6d73cd1388a867726163655f6d73ccfaa5696e707574c3",
     {.kind = MESSAGE_CALL,
      .id = 300,
      .call = {.type = SPAN("exec"),
               .has_object = true,
               .exact = true,
               .digest = DIGEST,
               .object_size = 15872,
               .state_size = 70000,
               .state = SPAN("\x91"),
               .timeout_ms = 5000,
               .grace_ms = 250,
               .input = true}}},
    {FROM_SENDER, "0000000a930301c4056c696e650a", {.kind = MESSAGE_INPUT, .id = 1, .data = {.bytes = SPAN("line\n")}}},
    {FROM_SENDER, "00000005930301c400", {.kind = MESSAGE_INPUT, .id = 1, .data = {.bytes = SPAN("")}}},
    {FROM_SENDER | FROM_AGENT, "00000008930401ce00040000", {.kind = MESSAGE_CREDIT, .id = 1, .credit = 262144}},
    {FROM_SENDER, "00000003920501", {.kind = MESSAGE_CANCEL, .id = 1}},
    {FROM_SENDER, "00000009930601a557494e4348", {.kind = MESSAGE_SIGNAL, .id = 1, .text = SPAN("WINCH")}},
    {FROM_SENDER | FROM_AGENT, "0000000c930700cfffffffffffffffff", {.kind = MESSAGE_PING, .token = UINT64_MAX}},
    {FROM_SENDER | FROM_AGENT, "0000000c930800cfffffffffffffffff", {.kind = MESSAGE_PONG, .token = UINT64_MAX}},
    {FROM_AGENT,
     "0000001194090101c40b68656c6c6f2c204164610a",
     {.kind = MESSAGE_OUTPUT, .id = 1, .data = {.stream = 1, .bytes = SPAN("hello, Ada\n")}}},
    {FROM_AGENT,
     "0000000c9409ceffffffff02c40200ff",
     {.kind = MESSAGE_OUTPUT, .id = UINT32_MAX, .data = {.stream = 2, .bytes = SPAN("\0\xff")}}},
    {FROM_AGENT,
     "00000018940a0102b36469736b206973206e6561726c792066756c6c",
     {.kind = MESSAGE_LOG, .id = 1, .log = {2, SPAN("disk is nearly full")}}},
    {FROM_AGENT,
     "0000000d950b01030aa7636f7079696e67",
     {.kind = MESSAGE_PROGRESS, .id = 1, .progress = {3, 10, SPAN("copying")}}},
    {FROM_AGENT,
     "00000007940c01c40101c3",
     {.kind = MESSAGE_ITEM, .id = 1, .data = {.bytes = SPAN("\1"), .more = true}}},
    {FROM_AGENT,
     "0000000b940d01c40581a26f6bc3c2",
     {.kind = MESSAGE_RESULT, .id = 1, .data = {.bytes = SPAN("\x81\xa2ok\xc3")}}},
    {FROM_SENDER,
     "00000009940e01c403c0c0c0c2",
     {.kind = MESSAGE_STATE, .id = 1, .data = {.bytes = SPAN("\xc0\xc0\xc0")}}},
    {FROM_AGENT,
     "00000007940e01c40180c3",
     {.kind = MESSAGE_STATE, .id = 1, .data = {.bytes = SPAN("\x80"), .more = true}}},
    {FROM_AGENT,
     "0000008c940f010087a6646967657374" DIGEST_BIN
     "a777616c6c5f7573cd04d2a7757365725f7573cd01f4a67379735f7573ce00011170a67273735f6b62cd0800a36f75740b"
     "a773616e64626f78d92364656661756c7420726c696d697473206e6f5f6e65775f707269767320746d70646972",
     {.kind = MESSAGE_END,
      .id = 1,
      .end = {.has_digest = true,
              .digest = DIGEST,
              .wall_us = 1234,
              .user_us = 500,
              .sys_us = 70000,
              .rss_kb = 2048,
              .out = 11,
              .sandbox = SPAN("default rlimits no_new_privs tmpdir")}}},
    {FROM_AGENT,
     "00000020940f010182a4636f646503a76d657373616765ac6e6f20737563682066696c65",
     {.kind = MESSAGE_END,
      .id = 1,
      .end = {.outcome = SSX_OUTCOME_FAILED, .code = 3, .message = SPAN("no such file")}}},
    {FROM_AGENT,
     "0000001d940f010283a67369676e616c0ba365727209a97472756e6361746564c3",
     {.kind = MESSAGE_END,
      .id = 1,
      .end = {.outcome = SSX_OUTCOME_CRASHED, .signal = 11, .err = 9, .truncated = true}}},
    {FROM_AGENT,
     "0000003c940f010582a6726561736f6eac756e6b6e6f776e2d74797065a76d657373616765ba6e6f20706c7567696e206f662074686520747970652068656c6f",
     {.kind = MESSAGE_END,
      .id = 1,
      .end = {.outcome = SSX_OUTCOME_REFUSED,
              .reason = SPAN("unknown-type"),
              .message = SPAN("no plugin of the type helo")}}},
    {FROM_SENDER,
     "000000529310099292" DIGEST_BIN "cd3e0092" OTHER_BIN "ce10000000",
     {.kind = MESSAGE_OFFER, .id = 9, .objects = {.count = 2, .list = two_objects}}},
    {FROM_SENDER,
     "0000002b9410099083a2646fa770726570617265a86d616e6966657374c4026d0aa97369676e6174757265c402730a",
     {.kind = MESSAGE_OFFER,
      .id = 9,
      .objects.order = {.what = SPAN("prepare"), .manifest = SPAN("m\n"), .signature = SPAN("s\n")}}},
    {FROM_SENDER,
     "0000004394100a9083a2646fa6737769746368a662756e646c65c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa9646f776e6772616465c3",
     {.kind = MESSAGE_OFFER,
      .id = 10,
      .objects.order = {.what = SPAN("switch"), .has_bundle = true, .bundle = DIGEST, .downgrade = true}}},
    {FROM_SENDER,
     "0000001d94100b9082a2646fa8726f6c6c6261636baa67656e65726174696f6e07",
     {.kind = MESSAGE_OFFER, .id = 11, .objects.order = {.what = SPAN("rollback"), .generation = 7}}},
    {FROM_SENDER,
     "0000001894100c9082a2646fa474656e64a5776f726473a46c697374",
     {.kind = MESSAGE_OFFER, .id = 12, .objects.order = {.what = SPAN("tend"), .words = SPAN("list")}}},
    {FROM_SENDER,
     "0000004694100d9083a2646fa6737769746368a662756e646c65c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa26279aa616461406c6170746f70",
     {.kind = MESSAGE_OFFER,
      .id = 13,
      .objects.order = {.what = SPAN("switch"), .has_bundle = true, .bundle = DIGEST, .by = SPAN("ada@laptop")}}},
    {FROM_AGENT,
     "0000002693110191" DIGEST_BIN,
     {.kind = MESSAGE_NEED, .id = 1, .objects = {.count = 1, .list = one_object}}},
    {FROM_SENDER,
     "0000002c951201" DIGEST_BIN "c4047f454c46c3",
     {.kind = MESSAGE_CHUNK,
      .id = 1,
      .chunk = {DIGEST,
                SPAN("\x7f"
                     "ELF"),
                true}}},
    {FROM_SENDER,
     "00000028951201" DIGEST_BIN "c400c2",
     {.kind = MESSAGE_CHUNK, .id = 1, .chunk = {DIGEST, SPAN(""), false}}},
    {FROM_SENDER, "00000004931302c0", {.kind = MESSAGE_DESCRIBE, .id = 2}},
    {FROM_SENDER,
     "00000009931302a568656c6c6f",
     {.kind = MESSAGE_DESCRIBE, .id = 2, .describe = {.type = SPAN("hello")}}},
    {FROM_AGENT,
     "0000006a93130284a474797065a568656c6c6fa6646967657374" DIGEST_BIN
     "a57768657265b12f7573722f6c69622f68656c6c6f2e736f"
     "a46e6f7465c4137b22776f726b6572223a2268656c6c6f227d0a",
     {.kind = MESSAGE_DESCRIBE,
      .id = 2,
      .describe = {SPAN("hello"), DIGEST, SPAN("/usr/lib/hello.so"), SPAN("{\"worker\":\"hello\"}\n"), SPAN("")}}},
    {FROM_AGENT,
     "0000003f93130283a474797065a568656c6c6fa57768657265b12f7573722f6c69622f68656c6c6f2e736fa770726f626c656daf6e6f7420616e20454c462066696c65",
     {.kind = MESSAGE_DESCRIBE,
      .id = 2,
      .describe = {.type = SPAN("hello"), .where = SPAN("/usr/lib/hello.so"), .problem = SPAN("not an ELF file")}}},
    {FROM_SENDER, "00000009931403a56a6f622d31", {.kind = MESSAGE_ATTACH, .id = 3, .text = SPAN("job-1")}},
    {FROM_SENDER | FROM_AGENT, "00000008931500a4646f6e65", {.kind = MESSAGE_BYE, .text = SPAN("done")}},
};

/* --- comparing --- */

static void assert_same_span(struct span a, struct span b)
{
    assert_int_equal(a.n, b.n);
    if (a.n)
        assert_memory_equal(a.at, b.at, a.n);
}

static void assert_same_objects(struct message *decoded, const struct message *m)
{
    struct message_object o;
    assert_int_equal(decoded->objects.count, m->objects.count);
    for (size_t i = 0; i < m->objects.count; i++) {
        assert_true(message_next_object(decoded, &o));
        assert_true(digest_equal(&o.digest, &m->objects.list[i].digest));
        assert_true(o.size == m->objects.list[i].size);
    }
    assert_false(message_next_object(decoded, &o));
    const struct message_order *is = &decoded->objects.order, *was = &m->objects.order;
    assert_true(is->has_bundle == was->has_bundle && digest_equal(&is->bundle, &was->bundle) && is->generation == was->generation);
    assert_true(is->downgrade == was->downgrade);
    assert_same_span(is->what, was->what);
    assert_same_span(is->manifest, was->manifest);
    assert_same_span(is->signature, was->signature);
    assert_same_span(is->words, was->words);
    assert_same_span(is->by, was->by);
}

static void assert_same_hello(const struct message_hello *a, const struct message_hello *b)
{
    assert_true(a->min == b->min && a->max == b->max && a->window == b->window && a->calls == b->calls &&
                a->state == b->state && a->lease_ms == b->lease_ms);
    assert_same_span(a->build, b->build);
    assert_same_span(a->os, b->os);
    assert_same_span(a->arch, b->arch);
    assert_same_span(a->libc, b->libc);
}

static void assert_same_call(const struct message_call *a, const struct message_call *b)
{
    assert_true(a->has_object == b->has_object && a->exact == b->exact && digest_equal(&a->digest, &b->digest) &&
                a->object_size == b->object_size);
    assert_true(a->state_size == b->state_size && a->timeout_ms == b->timeout_ms && a->grace_ms == b->grace_ms && a->input == b->input);
    assert_same_span(a->type, b->type);
    assert_same_span(a->state, b->state);
}

static void assert_same_end(const struct message_end *a, const struct message_end *b)
{
    assert_true(a->outcome == b->outcome && a->code == b->code && a->signal == b->signal && a->truncated == b->truncated);
    assert_true(a->has_digest == b->has_digest && digest_equal(&a->digest, &b->digest));
    assert_true(a->wall_us == b->wall_us && a->user_us == b->user_us && a->sys_us == b->sys_us &&
                a->rss_kb == b->rss_kb && a->out == b->out && a->err == b->err);
    assert_same_span(a->reason, b->reason);
    assert_same_span(a->message, b->message);
    assert_same_span(a->sandbox, b->sandbox);
}

static void assert_same_description(const struct message_describe *a, const struct message_describe *b)
{
    assert_true(digest_equal(&a->digest, &b->digest));
    assert_same_span(a->type, b->type);
    assert_same_span(a->where, b->where);
    assert_same_span(a->note, b->note);
    assert_same_span(a->problem, b->problem);
}

static void assert_same(struct message *decoded, const struct message *m)
{
    assert_int_equal(decoded->kind, m->kind);
    assert_int_equal(decoded->id, m->id);
    switch (m->kind) {
    case MESSAGE_HELLO: assert_same_hello(&decoded->hello, &m->hello); break;
    case MESSAGE_CALL: assert_same_call(&decoded->call, &m->call); break;
    case MESSAGE_END: assert_same_end(&decoded->end, &m->end); break;
    case MESSAGE_DESCRIBE: assert_same_description(&decoded->describe, &m->describe); break;
    case MESSAGE_OFFER: case MESSAGE_NEED: assert_same_objects(decoded, m); break;
    case MESSAGE_CREDIT: assert_true(decoded->credit == m->credit); break;
    case MESSAGE_PING: case MESSAGE_PONG: assert_true(decoded->token == m->token); break;
    case MESSAGE_SIGNAL: case MESSAGE_ATTACH: case MESSAGE_BYE: assert_same_span(decoded->text, m->text); break;
    case MESSAGE_LOG:
        assert_true(decoded->log.level == m->log.level);
        assert_same_span(decoded->log.text, m->log.text);
        break;
    case MESSAGE_PROGRESS:
        assert_true(decoded->progress.done == m->progress.done && decoded->progress.total == m->progress.total);
        assert_same_span(decoded->progress.text, m->progress.text);
        break;
    case MESSAGE_CHUNK:
        assert_true(digest_equal(&decoded->chunk.digest, &m->chunk.digest) && decoded->chunk.more == m->chunk.more);
        assert_same_span(decoded->chunk.bytes, m->chunk.bytes);
        break;
    case MESSAGE_INPUT: case MESSAGE_OUTPUT: case MESSAGE_ITEM: case MESSAGE_RESULT: case MESSAGE_STATE:
        assert_true(decoded->data.stream == m->data.stream && decoded->data.more == m->data.more);
        assert_same_span(decoded->data.bytes, m->data.bytes);
        break;
    case MESSAGE_CANCEL: case MESSAGE_KINDS: break;
    }
}

/* --- making frames --- */

/* The bytes of a golden frame. */
static void add_hex(struct buf *out, const char *hex)
{
    size_t n = strlen(hex) / 2;
    unsigned char *at = buf_reserve(out, n);
    assert_non_null(at);
    assert_int_equal(text_unhex(at, n, hex), 0);
    out->end += n;
}

/* A frame with this body, in a block of exactly its size, so that a sanitizer sees a step past its end. */
static unsigned char *framed(const void *body, size_t n)
{
    unsigned char *frame = malloc(FRAME_HEADER + n);
    assert_non_null(frame);
    for (int i = 0; i < FRAME_HEADER; i++)
        frame[i] = (unsigned char)(n >> (24 - 8 * i));
    memcpy(frame + FRAME_HEADER, body, n);
    return frame;
}

/* Decodes a frame of this body (hex). Returns "" or the error. Text that outlives the frame isn't looked at. */
static const char *judge(enum message_party from, const char *hex)
{
    static struct ssx_error err;
    struct buf body = {0};
    struct message m;
    memset(&err, 0, sizeof err);
    add_hex(&body, hex);
    unsigned char *frame = framed(buf_data(&body), buf_length(&body));
    int rc = message_decode(&m, frame, FRAME_HEADER + buf_length(&body), from, &err);
    assert_int_equal(rc, err.code ? -1 : 0);
    assert_true(err.code == SSX_ERROR_NONE || err.code == SSX_ERROR_PROTOCOL);
    free(frame);
    buf_free(&body);
    return err.text;
}

#define assert_judged(from, hex, part) assert_non_null(strstr(judge(from, hex), part))
#define assert_taken(from, hex) assert_string_equal(judge(from, hex), "")

/* Encodes a message and says how it is judged. */
static const char *judge_message(const struct message *m, enum message_party from)
{
    static struct ssx_error err;
    struct buf b = {0};
    struct message decoded;
    memset(&err, 0, sizeof err);
    message_encode(&b, m, from);
    assert_false(b.failed);
    unsigned char *frame = framed(buf_data(&b) + FRAME_HEADER, buf_length(&b) - FRAME_HEADER);
    if (message_decode(&decoded, frame, buf_length(&b), from, &err) == 0)
        assert_same(&decoded, m);
    free(frame);
    buf_free(&b);
    return err.text;
}

static struct span zeros(size_t n)
{
    static const unsigned char bytes[FRAME_MAX];
    assert_true(n <= sizeof bytes);
    return (struct span){bytes, n};
}

static struct span letters(size_t n)
{
    static char text[DATA_MAX + 2];
    memset(text, 'x', sizeof text);
    assert_true(n <= sizeof text);
    return (struct span){text, n};
}

/* --- tests --- */

static void golden_frames_are_encoded_byte_for_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(golden); i++)
        for (unsigned from = FROM_SENDER; from <= FROM_AGENT; from <<= 1) {
            struct buf b = {0}, wanted = {0};
            if (!(golden[i].from & from))
                continue;
            add_hex(&wanted, golden[i].hex);
            buf_add_text(&b, "before"); /* a frame is added to what is there */
            message_encode(&b, &golden[i].m, (enum message_party)from);
            buf_consume(&b, 6);
            assert_int_equal(buf_length(&b), buf_length(&wanted));
            assert_memory_equal(buf_data(&b), buf_data(&wanted), buf_length(&wanted));
            buf_free(&b);
            buf_free(&wanted);
        }
}

static void golden_frames_are_decoded_to_what_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(golden); i++)
        for (unsigned from = FROM_SENDER; from <= FROM_AGENT; from <<= 1) {
            struct buf b = {0};
            struct message m;
            struct ssx_error err = {0};
            if (!(golden[i].from & from))
                continue;
            add_hex(&b, golden[i].hex);
            long length = frame_length(buf_data(&b), buf_length(&b), FRAME_MAX, &err);
            assert_int_equal(length, buf_length(&b));
            assert_int_equal(message_decode(&m, buf_data(&b), (size_t)length, (enum message_party)from, &err), 0);
            assert_same(&m, &golden[i].m);
            buf_free(&b);
        }
}

static void every_kind_has_a_golden_frame_in_each_of_its_directions(void **state)
{
    (void)state;
    unsigned seen[MESSAGE_KINDS] = {0};
    for (size_t i = 0; i < COUNT(golden); i++)
        seen[golden[i].m.kind] |= golden[i].from;
    for (unsigned kind = 1; kind < MESSAGE_KINDS; kind++)
        for (unsigned from = FROM_SENDER; from <= FROM_AGENT; from <<= 1) {
            char hex[16];
            snprintf(hex, sizeof hex, "92%02x01", kind);
            bool legal = !strstr(judge((enum message_party)from, hex), "may not send");
            assert_int_equal(legal, (seen[kind] & from) != 0);
        }
}

static void a_frame_is_waited_for_until_it_is_whole(void **state)
{
    (void)state;
    const unsigned char frame[] = "\0\0\0\3\x92\5\1\0\0";
    for (size_t n = 0; n < 7; n++)
        assert_int_equal(frame_length(frame, n, FRAME_MAX, NULL), 0);
    assert_int_equal(frame_length(frame, 7, FRAME_MAX, NULL), 7);
    assert_int_equal(frame_length(frame, 9, FRAME_MAX, NULL), 7);
}

/* The cap is judged on the header alone: nobody waits for a gigabyte. */
static void the_length_is_judged_against_its_cap_first(void **state)
{
    (void)state;
    static const struct { const char *header; size_t cap; bool good;
    } cases[] = {
        {"\0\0\0\0", FRAME_MAX, false},
        {"\0\0\0\1", FRAME_MAX, true},
        {"\0\x10\0\0", FRAME_MAX, true},
        {"\0\x10\0\1", FRAME_MAX, false},
        {"\xff\xff\xff\xff", FRAME_MAX, false},
        {"\0\0\x10\0", FRAME_MAX_BEFORE_HELLO, true},
        {"\0\0\x10\1", FRAME_MAX_BEFORE_HELLO, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ssx_error err = {0};
        assert_int_equal(frame_length(cases[i].header, 4, cases[i].cap, &err), cases[i].good ? 0 : -1);
        assert_int_equal(err.code, cases[i].good ? SSX_ERROR_NONE : SSX_ERROR_PROTOCOL);
    }
}

/* Each frame is wrong in two ways, and the earlier judgement is the one that speaks. */
static void frames_are_judged_in_the_order_of_the_protocol(void **state)
{
    (void)state;
    assert_judged(FROM_SENDER, "81", "doesn't start with");                 /* no array */
    assert_judged(FROM_SENDER, "91" "05", "doesn't start with");            /* too short for an id */
    assert_judged(FROM_SENDER, "92" "a0" "01", "doesn't start with");       /* a kind that is no number */
    assert_judged(FROM_SENDER, "92" "05" "ff", "doesn't start with");       /* a negative id */
    assert_judged(FROM_SENDER, "92" "05" "cf0000000100000000", "doesn't start with"); /* an id of 33 bits */
    assert_judged(FROM_SENDER, "93" "63" "00" "c1", "kind 99, which the sender may not send");
    assert_judged(FROM_SENDER, "93" "00" "00" "c1", "kind 0, which");
    assert_judged(FROM_SENDER, "93" "09" "00" "c1", "kind 9, which the sender may not send"); /* OUTPUT, with id 0, not msgpack */
    assert_judged(FROM_AGENT, "93" "02" "00" "c1", "kind 2, which the agent may not send");
    assert_judged(FROM_SENDER, "93" "05" "00" "c1", "CANCEL with id 0");
    assert_judged(FROM_SENDER, "93" "07" "01" "c1", "PING with id 1");
    assert_judged(FROM_AGENT, "93" "01" "01" "c1", "HELLO with id 1");
    assert_judged(FROM_AGENT, "93" "15" "07" "c1", "BYE with id 7");
    assert_judged(FROM_SENDER, "93" "03" "01" "c1", "INPUT: not a msgpack value"); /* the scan, then the fields */
    assert_judged(FROM_SENDER, "93" "03" "01" "01" "00", "INPUT: 1 bytes too many");
    assert_judged(FROM_SENDER, "93" "03" "01" "01", "INPUT with a missing or malformed element");
    assert_judged(FROM_SENDER, "92" "03" "01", "INPUT with a missing or malformed element");
    assert_judged(FROM_SENDER, "93" "03" "01" "dcffff", "INPUT: not a msgpack value"); /* a count above the bytes left */
}

static void numbers_of_any_width_are_taken(void **state)
{
    (void)state;
    assert_taken(FROM_SENDER, "dc0003" "cd0007" "cf0000000000000000" "d37fffffffffffffff");
    assert_taken(FROM_SENDER, "dd00000002" "d005" "d20000ffff");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    char hex[200] = "930301";
    for (int depth = 2; depth <= 28; depth++)
        strcat(hex, "91");
    strcat(hex, "c0");
    assert_judged(FROM_SENDER, hex, "malformed element");
    strcat(strcpy(strrchr(hex, 'c'), "91"), "c0");
    assert_judged(FROM_SENDER, hex, "nested deeper than 28");
}

static void more_elements_and_unknown_keys_are_ignored(void **state)
{
    (void)state;
    assert_taken(FROM_SENDER, "94" "05" "01" "c0" "81a161c3");
    assert_taken(FROM_SENDER, "94" "03" "01" "c400" "920102");
    assert_taken(FROM_AGENT, "96" "0d" "01" "c401c0" "c2" "c0" "c0");
    assert_taken(FROM_SENDER, "93" "01" "00" "82" "a36e6577" "93010203" "a36d696e" "01");
    assert_taken(FROM_AGENT, "94" "0f" "01" "00" "81" "a36e6577" "81a17891c0");
    assert_taken(FROM_SENDER, "98" "02" "01" "a161" "94" DIGEST_BIN "01" "c3" "920101" "00" "c400" "81" "a36e6577" "c0" "c0");
    assert_taken(FROM_SENDER, "93" "10" "01" "91" "93" DIGEST_BIN "01" "81c0c0");
    assert_taken(FROM_AGENT, "93" "13" "01" "81" "a36e6577" "c0");
    assert_judged(FROM_SENDER, "93" "01" "00" "81" "01" "01", "malformed element"); /* but a key is text */
}

static void elements_of_the_wrong_kind_are_refused(void **state)
{
    (void)state;
    static const struct { enum message_party from; const char *hex;
    } cases[] = {
        {FROM_SENDER, "930301"
                      "a161"},
        {FROM_SENDER, "930401"
                      "ff"},
        {FROM_SENDER, "930401"
                      "cf0000000100000000"},
        {FROM_SENDER, "930601"
                      "c0"},
        {FROM_SENDER, "930601"
                      "a3610062"},
        {FROM_SENDER, "930700"
                      "c3"},
        {FROM_AGENT, "94090100c400"},
        {FROM_AGENT, "94090103c400"},
        {FROM_AGENT, "940a0104a0"},
        {FROM_AGENT, "940a0101c400"},
        {FROM_AGENT, "940b010101"},
        {FROM_AGENT, "950b0101c0a0"},
        {FROM_AGENT, "940c01c40001"},
        {FROM_AGENT, "940f0106"
                     "80"},
        {FROM_AGENT, "940f0107"
                     "80"},
        {FROM_AGENT, "940f0100"
                     "90"},
        {FROM_AGENT, "940f0102"
                     "81a67369676e616ccc80"},
        {FROM_AGENT, "940f0100"
                     "81a6646967657374c40100"},
        {FROM_AGENT, "940f0100"
                     "81a97472756e636174656401"},
        {FROM_AGENT, "931101"
                     "c0"},
        {FROM_AGENT, "931101"
                     "91c40100"},
        {FROM_AGENT, "931101"
                     "9101"},
        {FROM_SENDER, "931001"
                      "91" DIGEST_BIN},
        {FROM_SENDER, "931001"
                      "9191" DIGEST_BIN},
        {FROM_SENDER, "931001"
                      "9192" DIGEST_BIN "ce10000001"},
        {FROM_SENDER, "951201"
                      "c40100"
                      "c400"
                      "c2"},
        {FROM_SENDER, "931301"
                      "01"},
        {FROM_AGENT, "931301"
                     "c0"},
        {FROM_AGENT, "930100"
                     "c0"},
        {FROM_SENDER, "970201"
                      "c0"
                      "c0"
                      "00"
                      "c400"
                      "80"},
        {FROM_SENDER, "970201"
                      "a161"
                      "c2"
                      "00"
                      "c400"
                      "80"},
        {FROM_SENDER, "970201"
                      "a161"
                      "92" DIGEST_BIN "01"
                      "00"
                      "c400"
                      "80"},
        {FROM_SENDER, "970201"
                      "a161"
                      "93" DIGEST_BIN "ce10000001"
                      "c3"
                      "00"
                      "c400"
                      "80"},
        {FROM_SENDER, "970201"
                      "a161"
                      "c0"
                      "00"
                      "c400"
                      "c0"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_judged(cases[i].from, cases[i].hex, "with a missing or malformed element");
}

static void data_is_limited(void **state)
{
    (void)state;
    static const struct { enum message_kind kind; enum message_party from;
    } data[] = {
        {MESSAGE_INPUT, FROM_SENDER}, {MESSAGE_OUTPUT, FROM_AGENT}, {MESSAGE_ITEM, FROM_AGENT},
        {MESSAGE_RESULT, FROM_AGENT}, {MESSAGE_STATE, FROM_SENDER}, {MESSAGE_STATE, FROM_AGENT},
    };
    for (size_t i = 0; i < COUNT(data); i++) {
        struct message m = {.kind = data[i].kind, .id = 1, .data = {.bytes = zeros(DATA_MAX), .stream = data[i].kind == MESSAGE_OUTPUT}};
        assert_string_equal(judge_message(&m, data[i].from), "");
        assert_int_equal(message_cost(&m), DATA_MAX);
        m.data.bytes = zeros(DATA_MAX + 1);
        assert_non_null(strstr(judge_message(&m, data[i].from), "malformed element"));
    }
    struct message log = {.kind = MESSAGE_LOG, .id = 1, .log.text = letters(DATA_MAX)};
    assert_string_equal(judge_message(&log, FROM_AGENT), "");
    assert_int_equal(message_cost(&log), DATA_MAX);
    log.log.text = letters(DATA_MAX + 1);
    assert_non_null(strstr(judge_message(&log, FROM_AGENT), "LOG with"));
    struct message progress = {.kind = MESSAGE_PROGRESS, .id = 1, .progress = {UINT64_MAX, UINT64_MAX, letters(DATA_MAX)}};
    assert_string_equal(judge_message(&progress, FROM_AGENT), "");
    assert_int_equal(message_cost(&progress), DATA_MAX);
    progress.progress.text = letters(DATA_MAX + 1);
    assert_non_null(strstr(judge_message(&progress, FROM_AGENT), "PROGRESS with"));
}

static void chunks_are_limited_and_cost_nothing(void **state)
{
    (void)state;
    struct message m = {.kind = MESSAGE_CHUNK, .id = 1, .chunk.bytes = zeros(CHUNK_MAX)};
    assert_string_equal(judge_message(&m, FROM_SENDER), "");
    assert_int_equal(message_cost(&m), 0);
    m.chunk.bytes = zeros(CHUNK_MAX + 1);
    assert_non_null(strstr(judge_message(&m, FROM_SENDER), "CHUNK with"));
}

static void calls_are_limited(void **state)
{
    (void)state;
    struct message m = {.kind = MESSAGE_CALL, .id = 1};
    m.call = (struct message_call){.type = SPAN("a"),
                                   .has_object = true,
                                   .object_size = OBJECT_MAX,
                                   .state_size = VALUE_SIZE_MAX,
                                   .state = zeros(DATA_MAX),
                                   .timeout_ms = TIMEOUT_MS_MAX,
                                   .grace_ms = GRACE_MS_MAX};
    assert_string_equal(judge_message(&m, FROM_SENDER), "");
    struct message over[5] = {m, m, m, m, m};
    over[0].call.object_size++;
    over[1].call.state_size++;
    over[2].call.timeout_ms++;
    over[3].call.grace_ms++;
    over[4].call.state_size = DATA_MAX - 1; /* less than is there */
    for (size_t i = 0; i < COUNT(over); i++)
        assert_non_null(strstr(judge_message(&over[i], FROM_SENDER), "CALL with"));
}

static void grace_is_said_only_where_it_is_not_the_default(void **state)
{
    (void)state;
    struct message m = {.kind = MESSAGE_CALL, .id = 1, .call = {.type = SPAN("a"), .grace_ms = 0}};
    assert_string_equal(judge_message(&m, FROM_SENDER), "");
    m.call.grace_ms = GRACE_MS_DEFAULT;
    assert_string_equal(judge_message(&m, FROM_SENDER), "");
}

static void lists_of_objects_are_limited(void **state)
{
    (void)state;
    static struct message_object many[OBJECTS_MAX + 1];
    struct message m = {.kind = MESSAGE_NEED, .id = 1, .objects = {.count = OBJECTS_MAX, .list = many}};
    assert_string_equal(judge_message(&m, FROM_AGENT), "");
    m.objects.count = 0;
    assert_string_equal(judge_message(&m, FROM_AGENT), "");
    m.objects.count = OBJECTS_MAX + 1;
    assert_non_null(strstr(judge_message(&m, FROM_AGENT), "NEED with"));
    m.kind = MESSAGE_OFFER;
    assert_non_null(strstr(judge_message(&m, FROM_SENDER), "OFFER with"));
}

/* A hostile frame is refused or makes a message whose parts lie inside it; never more. */
static void assert_inside(struct span s, const unsigned char *frame, size_t n)
{
    const unsigned char *at = s.at;
    if (s.n)
        assert_true(at >= frame && at <= frame + n && s.n <= (size_t)(frame + n - at));
}

static void assert_parts_inside(struct message *m, const unsigned char *frame, size_t n)
{
    struct message_object object;
    size_t objects = 0;
    switch (m->kind) {
    case MESSAGE_HELLO: assert_inside(m->hello.build, frame, n); assert_inside(m->hello.libc, frame, n); break;
    case MESSAGE_CALL: assert_inside(m->call.type, frame, n); assert_inside(m->call.state, frame, n); break;
    case MESSAGE_END: assert_inside(m->end.message, frame, n); assert_inside(m->end.sandbox, frame, n); break;
    case MESSAGE_DESCRIBE: assert_inside(m->describe.note, frame, n); assert_inside(m->describe.where, frame, n); break;
    case MESSAGE_CHUNK: assert_inside(m->chunk.bytes, frame, n); break;
    case MESSAGE_LOG: assert_inside(m->log.text, frame, n); break;
    case MESSAGE_PROGRESS: assert_inside(m->progress.text, frame, n); break;
    case MESSAGE_SIGNAL: case MESSAGE_ATTACH: case MESSAGE_BYE: assert_inside(m->text, frame, n); break;
    case MESSAGE_INPUT:
    case MESSAGE_OUTPUT:
    case MESSAGE_ITEM:
    case MESSAGE_RESULT:
    case MESSAGE_STATE: assert_inside(m->data.bytes, frame, n); break;
    case MESSAGE_OFFER: case MESSAGE_NEED:
        while (message_next_object(m, &object))
            objects++;
        assert_int_equal(objects, m->objects.count);
        break;
    default: break;
    }
}

static void damaged_frames_are_refused_or_harmless(void **state)
{
    (void)state;
    uint64_t seed = 6;
    size_t refused = 0, taken = 0;
    for (int round = 0; round < 40000; round++) {
        const struct golden *g = &golden[random_below(&seed, COUNT(golden))];
        enum message_party from = random_below(&seed, 2) ? FROM_AGENT : FROM_SENDER;
        struct buf body = {0};
        struct message m;
        struct ssx_error err = {0};
        add_hex(&body, g->hex + 2 * FRAME_HEADER);
        random_mutation(&body, &seed);
        unsigned char *frame = framed(buf_length(&body) ? buf_data(&body) : (const void *)"", buf_length(&body));
        size_t n = FRAME_HEADER + buf_length(&body);
        if (message_decode(&m, frame, n, g->from & from ? from : (enum message_party)g->from, &err)) {
            assert_true(err.code == SSX_ERROR_PROTOCOL && err.text[0]);
            refused++;
        } else {
            assert_parts_inside(&m, frame, n);
            taken++;
        }
        free(frame);
        buf_free(&body);
    }
    assert_true(refused > 10000 && taken > 1000);
}

static void names_of_kinds_and_copies_of_text(void **state)
{
    (void)state;
    char text[4];
    assert_string_equal(message_name(MESSAGE_HELLO), "HELLO");
    assert_string_equal(message_name(MESSAGE_BYE), "BYE");
    assert_string_equal(message_name(MESSAGE_KINDS), "unknown");
    assert_string_equal(message_name((enum message_kind)0), "unknown");
    assert_string_equal(span_copy(text, sizeof text, span_text("abcdef")), "abc");
    assert_string_equal(span_copy(text, sizeof text, (struct span){NULL, 0}), "");
    assert_true(span_is(span_text("ab"), "ab"));
    assert_false(span_is(span_text("ab"), "abc"));
    assert_false(span_is((struct span){NULL, 0}, "a"));
}

static void exit_codes_are_those_of_the_table(void **state)
{
    (void)state;
    static const struct { enum ssx_outcome outcome; unsigned code, signal; const char *reason; int exit;
    } calls[] = {
        {SSX_OUTCOME_OK, 0, 0, "", 0},
        {SSX_OUTCOME_FAILED, 1, 0, "", 1},
        {SSX_OUTCOME_FAILED, 7, 0, "", 7},
        {SSX_OUTCOME_FAILED, 123, 0, "", 123},
        {SSX_OUTCOME_FAILED, 124, 0, "", 123},
        {SSX_OUTCOME_FAILED, 255, 0, "", 123},
        {SSX_OUTCOME_FAILED, INT32_MAX, 0, "", 123},
        {SSX_OUTCOME_FAILED, 0, 0, "", 1}, /* failed is never 0 */
        {SSX_OUTCOME_CRASHED, 0, 11, "", 139},
        {SSX_OUTCOME_CRASHED, 0, 9, "", 137},
        {SSX_OUTCOME_CRASHED, 0, 127, "", 255},
        {SSX_OUTCOME_CRASHED, 3, 0, "", 128},
        {SSX_OUTCOME_TIMEOUT, 0, 15, "", 124},
        {SSX_OUTCOME_CANCELLED, 0, 15, "", 130},
        {SSX_OUTCOME_REFUSED, 0, 0, "policy", 126},
        {SSX_OUTCOME_REFUSED, 0, 0, "state", 126},
        {SSX_OUTCOME_REFUSED, 0, 0, "", 126},
        {SSX_OUTCOME_REFUSED, 0, 0, "unknown-type", 127},
        {SSX_OUTCOME_UNREACHABLE, 0, 0, "", 255},
        {SSX_OUTCOME_LOST, 0, 0, "", 255},
    };
    static const struct { enum ssx_error_code code; int exit; } errors[] = {
        {SSX_ERROR_NONE, 0}, {SSX_ERROR_SYSTEM, 125}, {SSX_ERROR_USAGE, 125}, {SSX_ERROR_REFUSED, 126}, {SSX_ERROR_UNKNOWN_TYPE, 127},
        {SSX_ERROR_UNREACHABLE, 255}, {SSX_ERROR_PROTOCOL, 255}, {SSX_ERROR_INTERRUPTED, 130},
    };
    for (size_t i = 0; i < COUNT(calls); i++)
        assert_int_equal(outcome_exit_code(calls[i].outcome, calls[i].code, calls[i].signal, calls[i].reason), calls[i].exit);
    for (size_t i = 0; i < COUNT(errors); i++)
        assert_int_equal(error_exit_code(errors[i].code), errors[i].exit);
}

static void outcomes_have_the_names_of_the_design(void **state)
{
    (void)state;
    static const char *const names[SSX_OUTCOMES] = {"ok", "failed", "crashed", "timeout", "cancelled", "refused", "unreachable", "lost"};
    for (unsigned i = 0; i < SSX_OUTCOMES; i++)
        assert_string_equal(outcome_name((enum ssx_outcome)i), names[i]);
    assert_string_equal(outcome_name((enum ssx_outcome)SSX_OUTCOMES), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_frames_are_encoded_byte_for_byte),
        cmocka_unit_test(golden_frames_are_decoded_to_what_they_were),
        cmocka_unit_test(every_kind_has_a_golden_frame_in_each_of_its_directions),
        cmocka_unit_test(a_frame_is_waited_for_until_it_is_whole),
        cmocka_unit_test(the_length_is_judged_against_its_cap_first),
        cmocka_unit_test(frames_are_judged_in_the_order_of_the_protocol),
        cmocka_unit_test(numbers_of_any_width_are_taken),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(more_elements_and_unknown_keys_are_ignored),
        cmocka_unit_test(elements_of_the_wrong_kind_are_refused),
        cmocka_unit_test(data_is_limited),
        cmocka_unit_test(chunks_are_limited_and_cost_nothing),
        cmocka_unit_test(calls_are_limited),
        cmocka_unit_test(grace_is_said_only_where_it_is_not_the_default),
        cmocka_unit_test(lists_of_objects_are_limited),
        cmocka_unit_test(damaged_frames_are_refused_or_harmless),
        cmocka_unit_test(names_of_kinds_and_copies_of_text),
        cmocka_unit_test(exit_codes_are_those_of_the_table),
        cmocka_unit_test(outcomes_have_the_names_of_the_design),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
