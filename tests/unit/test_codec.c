/* The codec: what a list's defaults are, round trips, each refusal's words, limits, and hostile bytes. */
#define SSX_NO_NOTES
#include "worker/codec.h"

#include "wire/pack.h"
#include "wire/value.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#define FSTYPE(V) V(fstype, ext4) V(fstype, xfs) V(fstype, other)
SSX_ENUM(fstype, FSTYPE)

#define DISK(F)                                             \
    F(str,          mount, required,              "where")  \
    F(u64,          size,  default(7),            "bytes")  \
    F(enum(fstype), type,  member(fstype, xfs),   "kind")
SSX_STRUCT(disk, DISK)

#define ALL(F)                                                     \
    F(bool,                 on,      default(true),   "")          \
    F(i32,                  a,       default(-3),     "")          \
    F(i64,                  b,       empty,           "")          \
    F(u32,                  c,       default(4000000000), "")      \
    F(u64,                  d,       empty,           "")          \
    F(i32_in(-5, 5),        times,   default(1),      "")          \
    F(i64_in(-5, 5),        e,       empty,           "")          \
    F(u32_in(1, 9),         f,       default(1),      "")          \
    F(u64_in(1, 9),         g,       default(9),      "")          \
    F(f64,                  h,       default(0.5),    "")          \
    F(f64_in(0, 1),         share,   empty,           "")          \
    F(str,                  text,    empty,           "")          \
    F(str_max(8),           name,    default("world"), "")         \
    F(bin_max(4),           bytes,   empty,           "")          \
    F(any,                  value,   empty,           "")          \
    F(enum(fstype),         type,    member(fstype, other), "")    \
    F(struct(disk),         disk,    empty,           "")          \
    F(list(struct(disk)),   disks,   empty,           "")          \
    F(rest(list(str)),      also,    empty,           "")          \
    F(list(bool),           flags,   empty,           "")          \
    F(opt(i64),             maybe,   empty,           "")          \
    F(opt(bool),            perhaps, empty,           "")          \
    F(list(opt(u32)),       holes,   empty,           "")          \
    F(opt(list(struct(disk))), deep, empty,           "")          \
    F(secret(str_max(8)),   token,   empty,           "")          \
    F(list(secret(i32_in(0, 9))), pins, empty,        "")          \
    F(secret(enum(fstype)), hidden,  empty,           "")
SSX_STRUCT(all, ALL)

SSX_NOTHING(nothing)

/* A struct can reach itself through a list in C (a descriptor can't say so): the codec must bound it all the same. */
struct tree;
static inline const struct ssx_schema *tree_ssx(void);
static inline void tree_ssx_defaults(void *at);
#define TREE(F) F(list(struct(tree)), kids, empty, "")
SSX_STRUCT(tree, TREE)

/* ---- memory that the address sanitizer can watch: each piece a malloc of its exact size ---- */

static void *pieces[1 << 16];
static size_t piece_count, bytes_left;

static void *piece(void *user, size_t n)
{
    (void)user;
    assert_in_range(n, 1, VALUE_SIZE_MAX * 2048ull);
    if (n > bytes_left || piece_count == sizeof pieces / sizeof *pieces)
        return NULL;
    bytes_left -= n;
    void *p = malloc(n);
    if (p)
        memset(p, 0xa5, n); /* nothing may rely on zeroes */
    return pieces[piece_count++] = p;
}

static void memory_reset(size_t limit)
{
    while (piece_count)
        free(pieces[--piece_count]);
    bytes_left = limit;
}

static int set_up(void **state) { (void)state; memory_reset(1 << 24); return 0; }
static int tear_down(void **state) { (void)state; memory_reset(0); return 0; }

static void decode_ok(const struct ssx_schema *s, void *out, const void *bytes, size_t n)
{
    struct ssx_error err = {0};
    memset(out, 0xa5, s->size);
    if (codec_decode(s, out, bytes, n, piece, NULL, &err))
        fail_msg("%s", err.text);
}
#define DECODE(t, out, text) decode_ok(t##_ssx(), out, text, sizeof(text) - 1)

static void encode_ok(const struct ssx_schema *s, const void *in, bool omit, struct buf *out)
{
    struct ssx_error err = {0};
    if (codec_encode(s, in, out, omit, &err))
        fail_msg("%s", err.text);
    assert_int_equal(value_scan(buf_data(out), buf_length(out), &err), 0);
}

static void assert_bytes(struct buf *b, const void *bytes, size_t n)
{
    assert_int_equal(buf_length(b), n);
    assert_memory_equal(buf_data(b), bytes, n);
    buf_free(b);
}
#define ASSERT_BYTES(b, text) assert_bytes(b, text, sizeof(text) - 1)

/* ---- defaults ---- */

static void assert_all_defaults(const struct all *a)
{
    assert_true(a->on);
    assert_int_equal(a->a, -3);
    assert_int_equal(a->c, 4000000000u);
    assert_int_equal(a->times, 1);
    assert_int_equal(a->b + a->e, 0);
    assert_int_equal(a->f, 1);
    assert_int_equal(a->g, 9);
    assert_true(a->h == 0.5 && a->share == 0.0);
    assert_string_equal(a->text, "");
    assert_string_equal(a->name, "world");
    assert_int_equal(a->bytes.n + a->value.n, 0);
    assert_int_equal(a->type, fstype_other);
    assert_string_equal(a->disk.mount, "");
    assert_int_equal(a->disk.size, 7);
    assert_int_equal(a->disk.type, fstype_xfs);
    assert_int_equal(a->disks.n + a->also.n + a->flags.n + a->holes.n + a->pins.n, 0);
    assert_false(a->maybe.set || a->perhaps.set || a->deep.set);
    assert_string_equal(a->token, "");
}

static void an_empty_map_gives_the_defaults(void **state)
{
    struct all a;
    struct nothing none;
    (void)state;
    DECODE(all, &a, "\x80");
    assert_all_defaults(&a);
    DECODE(nothing, &none, "\x80");
}

static void defaults_are_omitted_at_every_level(void **state)
{
    struct all a;
    struct buf out = {0};
    (void)state;
    all_ssx_defaults(&a);
    encode_ok(all_ssx(), &a, true, &out);
    ASSERT_BYTES(&out, "\x80");

    a.name = "Ada";
    a.disk.size = 8; /* of a struct that is sent: its required field and what differs */
    a.maybe.set = true;
    encode_ok(all_ssx(), &a, true, &out);
    ASSERT_BYTES(&out, "\x83\xa4name\xa3" "Ada" "\xa4" "disk\x82\xa5mount\xa0\xa4size\x08\xa5maybe\x00");
}

static void a_default_by_value_is_omitted_wherever_it_is_stored(void **state)
{
    char world[] = "world";
    struct all a;
    struct buf out = {0};
    (void)state;
    all_ssx_defaults(&a);
    a.name = world;
    a.text = NULL;
    encode_ok(all_ssx(), &a, true, &out);
    ASSERT_BYTES(&out, "\x80");
}

/* ---- round trips ---- */

static void a_struct_is_a_map_in_the_order_of_its_list(void **state)
{
    struct disk d = {"/", 300, fstype_ext4}, back;
    struct nothing none = {0};
    struct buf out = {0};
    (void)state;
    encode_ok(disk_ssx(), &d, false, &out);
    DECODE(disk, &back, "\x83\xa5mount\xa1/\xa4size\xcd\x01\x2c\xa4type\xa4" "ext4");
    assert_string_equal(back.mount, "/");
    assert_int_equal(back.size, 300);
    assert_int_equal(back.type, fstype_ext4);
    ASSERT_BYTES(&out, "\x83\xa5mount\xa1/\xa4size\xcd\x01\x2c\xa4type\xa4" "ext4");
    encode_ok(nothing_ssx(), &none, false, &out);
    ASSERT_BYTES(&out, "\x80");
}

static struct disk two_disks[] = {{"/", 1, fstype_ext4}, {"/home", UINT64_MAX, fstype_other}};
static const char *three_texts[] = {"", "-x", "\xff not UTF-8"};
static bool two_flags[] = {true, false};
static int32_t two_pins[] = {0, 9};

static void fill(struct all *a)
{
    all_ssx_defaults(a);
    a->on = false;
    a->a = INT32_MIN;
    a->b = INT64_MIN;
    a->c = UINT32_MAX;
    a->d = UINT64_MAX;
    a->times = -5;
    a->e = 5;
    a->h = -0.0;
    a->share = 1;
    a->text = "text";
    a->name = "12345678";
    a->bytes = (struct ssx_bin){"\0\1\2\3", 4};
    a->value = (struct ssx_any){"\x82\xa1x\xca\x3f\x80\x00\x00\x01\xd6\xff\x00\x00\x00\x01", 15};
    a->type = fstype_ext4;
    a->disks.at = two_disks;
    a->disks.n = 2;
    a->also.at = three_texts;
    a->also.n = 3;
    a->flags.at = two_flags;
    a->flags.n = 2;
    a->maybe.set = true;
    a->maybe.value = INT64_MAX;
    a->perhaps.set = true;
    a->deep.set = true;
    a->deep.value.at = two_disks;
    a->deep.value.n = 2;
    a->holes.n = 2;
    a->holes.at = piece(NULL, 2 * sizeof *a->holes.at);
    a->holes.at[0].set = false;
    a->holes.at[1].set = true;
    a->holes.at[1].value = 77;
    a->token = "hush";
    a->pins.at = two_pins;
    a->pins.n = 2;
}

static void every_kind_survives_the_round_trip(void **state)
{
    struct all a, back;
    struct buf first = {0}, second = {0};
    (void)state;
    fill(&a);
    encode_ok(all_ssx(), &a, false, &first);
    decode_ok(all_ssx(), &back, buf_data(&first), buf_length(&first));
    assert_int_equal(back.a, INT32_MIN);
    assert_true(back.b == INT64_MIN && back.d == UINT64_MAX && back.maybe.value == INT64_MAX);
    assert_true(signbit(back.h) && back.share == 1.0);
    assert_string_equal(back.name, "12345678");
    assert_memory_equal(back.bytes.at, "\0\1\2\3", 4);
    assert_int_equal(back.value.n, 15);
    assert_memory_equal(back.value.at, a.value.at, 15);
    assert_string_equal(back.disks.at[1].mount, "/home");
    assert_string_equal(back.also.at[2], three_texts[2]);
    assert_true(back.flags.at[0] && !back.flags.at[1]);
    assert_true(back.perhaps.set && !back.perhaps.value);
    assert_false(back.holes.at[0].set);
    assert_int_equal(back.holes.at[1].value, 77);
    assert_true(back.deep.set && back.deep.value.at[1].size == UINT64_MAX);
    assert_string_equal(back.token, "hush");
    assert_int_equal(back.pins.at[1], 9);
    encode_ok(all_ssx(), &back, false, &second);
    assert_bytes(&second, buf_data(&first), buf_length(&first));
    encode_ok(all_ssx(), &back, true, &second);
    assert_in_range(buf_length(&second), 1, buf_length(&first) - 1);
    decode_ok(all_ssx(), &back, buf_data(&second), buf_length(&second));
    buf_free(&second);
    encode_ok(all_ssx(), &back, false, &second);
    assert_bytes(&second, buf_data(&first), buf_length(&first));
    buf_free(&first);
}

static void what_is_decoded_does_not_point_into_the_input(void **state)
{
    char bytes[] = "\x83\xa4text\xa3" "abc\xa5" "bytes\xc4\x02xy\xa5value\xa1z";
    struct all a;
    (void)state;
    decode_ok(all_ssx(), &a, bytes, sizeof bytes - 1);
    memset(bytes, '?', sizeof bytes);
    assert_string_equal(a.text, "abc");
    assert_memory_equal(a.bytes.at, "xy", 2);
    assert_memory_equal(a.value.at, "\xa1z", 2);
}

static void other_encodings_of_a_value_are_taken(void **state)
{
    struct all a;
    (void)state;
    DECODE(all, &a,
           "\x85\xa1h\x03\xa5share\xca\x3f\x00\x00\x00\xa5"
           "bytes\xa2xy\xa1"
           "a\xd3\xff\xff\xff\xff\xff\xff\xff\xfe\xa1"
           "d\xce\x00\x00\x00\x05");
    assert_true(a.h == 3.0 && a.share == 0.5);
    assert_memory_equal(a.bytes.at, "xy", 2);
    assert_int_equal(a.a, -2);
    assert_int_equal(a.d, 5);
    DECODE(all, &a, "\x81\xa1h\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00");
    assert_true(isnan(a.h));
}

static void of_a_key_given_twice_the_last_counts(void **state)
{
    struct all a;
    (void)state;
    DECODE(all, &a, "\x82\xa1" "a\x01\xa1" "a\x02");
    assert_int_equal(a.a, 2);
    DECODE(all, &a, "\x82\xa4" "also\x92\xa1x\xa1y\xa4" "also\x91\xa1z");
    assert_int_equal(a.also.n, 1);
    assert_string_equal(a.also.at[0], "z");
    DECODE(all, &a, "\x82\xa4" "also\x91\xa1x\xa4" "also\x90");
    assert_int_equal(a.also.n, 0);
    DECODE(all, &a, "\x82\xa4" "disk\x82\xa5mount\xa1/\xa4size\x01\xa4" "disk\x81\xa5mount\xa1z"); /* not merged */
    assert_string_equal(a.disk.mount, "z");
    assert_int_equal(a.disk.size, 7);
    DECODE(all, &a, "\x82\xa5maybe\x05\xa5maybe\xc0");
    assert_false(a.maybe.set);
}

/* ---- refusals ---- */

static void assert_refused(const struct ssx_schema *s, const void *bytes, size_t n, const char *message)
{
    struct all out; /* the largest */
    struct ssx_error err = {0};
    assert_true(s->size <= sizeof out);
    assert_int_equal(codec_decode(s, &out, bytes, n, piece, NULL, &err), -1);
    assert_string_equal(err.text, message);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    assert_int_equal(codec_decode(s, &out, bytes, n, piece, NULL, NULL), -1);
}
#define REFUSED(t, text, message) assert_refused(t##_ssx(), text, sizeof(text) - 1, message)

static void a_refusal_names_the_field_and_what_is_wanted(void **state)
{
    (void)state;
    REFUSED(all, "\x81\xa5times\x06", "field times: 6 is not in -5..5");
    REFUSED(all, "\x81\xa5times\xfa", "field times: -6 is not in -5..5");
    REFUSED(all, "\x81\xa5times\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "field times: 18446744073709551615 is not in -5..5");
    REFUSED(all, "\x81\xa1" "a\xce\x80\x00\x00\x00", "field a: 2147483648 is not in -2147483648..2147483647");
    REFUSED(all, "\x81\xa1" "f\x00", "field f: 0 is not in 1..9");
    REFUSED(all, "\x81\xa1" "f\xff", "field f: -1 is not in 1..9");
    REFUSED(all, "\x81\xa1g\x0a", "field g: 10 is not in 1..9");
    REFUSED(all, "\x81\xa1" "c\xcf\x00\x00\x00\x01\x00\x00\x00\x00", "field c: 4294967296 is not in 0..4294967295");
    REFUSED(all, "\x81\xa5share\x02", "field share: 2 is not in 0..1");
    REFUSED(all, "\x81\xa5share\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "field share: nan is not in 0..1");
    REFUSED(all, "\x81\xa4name\xa9" "123456789", "field name: 9 bytes are too long, at most 8 are allowed");
    REFUSED(all, "\x81\xa4name\xa3" "a\0b", "field name: text must not hold a NUL byte");
    REFUSED(all, "\x81\xa5" "bytes\xc4\x05" "12345", "field bytes: 5 bytes are too long, at most 4 are allowed");
    REFUSED(all, "\x81\xa4type\xa3zfs", "field type: \"zfs\" is none of ext4, xfs, other");
    REFUSED(all, "\x81\xa4type\x01", "field type: wanted text, got an integer");
    REFUSED(all, "\x81\xa4text\x01", "field text: wanted text, got an integer");
    REFUSED(all, "\x81\xa4text\xc0", "field text: wanted text, got nil");
    REFUSED(all, "\x81\xa2on\x01", "field on: wanted true or false, got an integer");
    REFUSED(all, "\x81\xa1" "a\xa1" "1", "field a: wanted an integer, got text");
    REFUSED(all, "\x81\xa1" "d\xca\x3f\x80\x00\x00", "field d: wanted an integer, got a float");
    REFUSED(all, "\x81\xa1h\xa1" "1", "field h: wanted a number, got text");
    REFUSED(all, "\x81\xa5" "bytes\x90", "field bytes: wanted binary data, got a list");
    REFUSED(all, "\x81\xa4" "also\xa1x", "field also: wanted a list, got text");
    REFUSED(all, "\x81\xa4" "also\x93\xa1x\xa1y\x01", "field also[2]: wanted text, got an integer");
    REFUSED(all, "\x81\xa4" "disk\x90", "field disk: wanted a map of fields, got a list");
    REFUSED(all, "\x81\xa4" "disk\x82\xa5mount\xa1/\xa4size\xff", "field disk.size: -1 is not in 0..18446744073709551615");
    REFUSED(all, "\x81\xa4" "disk\x80", "field disk.mount: required, but missing");
    REFUSED(all, "\x81\xa4" "deep\x92\x81\xa5mount\xa1/\x81\xa3" "bad\x01", "field deep[1].bad: disk has no such field");
    REFUSED(all, "\x81\xa5holes\x91\xa1x", "field holes[0]: wanted an integer, got text");
    REFUSED(all, "\x81\xa6" "colour\x01", "field colour: all has no such field");
    REFUSED(all, "\x81\xa3\x1b[m\x01", "field \\x1b[m: all has no such field");
    REFUSED(all, "\x81\x01\x01", "all: wanted the name of a field, got an integer");
    REFUSED(all, "\x90", "all: wanted a map of fields, got a list");
    REFUSED(disk, "\x80", "field mount: required, but missing");
    REFUSED(nothing, "\x81\xa1x\x01", "field x: nothing has no such field");
    REFUSED(all, "", "all: cut off or not msgpack");
    REFUSED(all, "\x81\xa1" "a", "field a: cut off or not msgpack");
    REFUSED(all, "\x82\xa1" "a\x01", "all: cut off or not msgpack");
    REFUSED(all, "\x81\xa5value\x91\xc1", "field value: cut off, not msgpack, or over the limits of a value");
    REFUSED(all, "\x80\xc0", "all: 1 bytes too many behind the map");
}

static void a_secret_is_not_shown(void **state)
{
    (void)state;
    REFUSED(all, "\x81\xa5token\xa9hushhush!", "field token: 9 bytes are too long, at most 8 are allowed");
    REFUSED(all, "\x81\xa4pins\x92\x01\x2a", "field pins[1]: the value is not in 0..9");
    REFUSED(all, "\x81\xa4pins\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "field pins[0]: the value is not in 0..9");
    REFUSED(all, "\x81\xa6hidden\xa4hush", "field hidden: the value is none of ext4, xfs, other");
}

static void running_out_of_memory_is_no_refusal(void **state)
{
    struct all a;
    struct ssx_error err = {0};
    (void)state;
    memory_reset(9); /* enough for the list, not for the text in it */
    assert_int_equal(codec_decode(all_ssx(), &a, "\x81\xa4" "also\x91\xa1x", 9, piece, NULL, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_SYSTEM);
    assert_string_equal(err.text, "no memory for field also[0]");
}

static void assert_unsendable(const struct all *a, const char *message)
{
    struct ssx_error err = {0};
    struct buf out = {0};
    buf_add_text(&out, "before");
    assert_int_equal(codec_encode(all_ssx(), a, &out, false, &err), -1);
    assert_string_equal(err.text, message);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    ASSERT_BYTES(&out, "before");
}

static void a_worker_can_not_send_what_its_list_forbids(void **state)
{
    struct all a;
    struct disk bad = {"/", 1, (enum fstype)3};
    (void)state;
#define WITH(change, message) (all_ssx_defaults(&a), change, assert_unsendable(&a, message))
    WITH(a.times = 6, "field times: 6 is not in -5..5");
    WITH(a.f = 0, "field f: 0 is not in 1..9");
    WITH(a.share = -0.5, "field share: -0.5 is not in 0..1");
    WITH(a.name = "123456789", "field name: 9 bytes are too long, at most 8 are allowed");
    WITH(a.bytes.n = 4, "field bytes: 4 bytes at NULL");
    WITH(a.bytes = ((struct ssx_bin){"12345", 5}), "field bytes: 5 bytes are too long, at most 4 are allowed");
    WITH(a.value = ((struct ssx_any){"\x91", 1}), "field value: not one msgpack value within the limits");
    WITH(a.value = ((struct ssx_any){"\x01\x01", 2}), "field value: not one msgpack value within the limits");
    WITH(a.also.n = 2, "field also: 2 elements at NULL");
    WITH((a.disks.at = &bad, a.disks.n = 1), "field disks[0].type: the number 3 is none of the enum's 3 values");
#undef WITH
}

/* ---- limits ---- */

static void nesting_is_bounded_in_both_directions(void **state)
{
    struct tree nodes[20] = {0}, back;
    struct ssx_error err = {0};
    struct buf out = {0};
    (void)state;
    for (size_t i = 0; i < 19; i++) {
        nodes[i].kids.at = &nodes[i + 1];
        nodes[i].kids.n = 1;
    }
    nodes[13].kids.n = 0; /* 14 maps and 14 arrays */
    encode_ok(tree_ssx(), &nodes[0], false, &out);
    decode_ok(tree_ssx(), &back, buf_data(&out), buf_length(&out));
    buf_free(&out);
    nodes[13].kids.n = 1;
    assert_int_equal(codec_encode(tree_ssx(), &nodes[0], &out, false, &err), -1);
    assert_non_null(strstr(err.text, "nested deeper than 28 levels"));
    for (int i = 0; i < 100000; i++)
        buf_add(&out, "\x81\xa4kids\x91", 7);
    err.code = SSX_ERROR_NONE;
    assert_int_equal(codec_decode(tree_ssx(), &back, buf_data(&out), buf_length(&out), piece, NULL, &err), -1);
    assert_non_null(strstr(err.text, "nested deeper than 28 levels"));
    buf_free(&out);
}

static void a_value_over_the_limits_is_not_sent(void **state)
{
    struct all a;
    static bool flags[VALUE_ELEMENTS_MAX + 1];
    char *text = malloc(VALUE_SIZE_MAX + 1u);
    (void)state;
    all_ssx_defaults(&a);
    a.flags.at = flags;
    a.flags.n = VALUE_ELEMENTS_MAX + 1;
    assert_unsendable(&a, "field flags: more than 1000000 elements in all");
    all_ssx_defaults(&a);
    assert_non_null(text);
    memset(text, 'x', VALUE_SIZE_MAX);
    text[VALUE_SIZE_MAX] = '\0';
    a.text = text;
    struct ssx_error err = {0};
    struct buf out = {0};
    assert_int_equal(codec_encode(all_ssx(), &a, &out, false, &err), -1);
    assert_non_null(strstr(err.text, "more than the 16777215 that a value may have"));
    buf_free(&out);
    free(text);
}

static void depth_counts_through_an_any(void **state)
{
    struct all a;
    char deep[VALUE_DEPTH_MAX + 1];
    (void)state;
    memset(deep, '\x91', sizeof deep);
    deep[VALUE_DEPTH_MAX] = '\0';
    all_ssx_defaults(&a);
    a.value = (struct ssx_any){deep, sizeof deep};
    assert_unsendable(&a, "all: nested deeper than 28 levels or more than 1000000 elements");
}

/* ---- hostile bytes ---- */

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t mutate(unsigned char *bytes, size_t n)
{
    for (uint64_t times = 1 + next_random() % 4; times; times--) {
        size_t at = next_random() % n;
        switch (next_random() % 4) {
        case 0: bytes[at] = (unsigned char)next_random(); break;
        case 1: bytes[at] ^= (unsigned char)(1u << next_random() % 8); break;
        case 2: memmove(bytes + at, bytes + at + 1, n - at - 1); bytes[n - 1] = (unsigned char)next_random(); break;
        default: n = 1 + next_random() % n; break;
        }
    }
    return n;
}

/* Whatever comes: no byte outside the input or the memory is touched, and what is taken can be sent again and means the
 * same. */
static void mutated_states_are_refused_or_sound(void **state)
{
    struct all a, back;
    struct buf seed = {0}, first = {0}, second = {0};
    unsigned taken = 0;
    (void)state;
    fill(&a);
    encode_ok(all_ssx(), &a, false, &seed);
    for (int i = 0; i < 20000; i++) {
        unsigned char *bytes = malloc(buf_length(&seed));
        assert_non_null(bytes);
        memcpy(bytes, buf_data(&seed), buf_length(&seed));
        size_t n = mutate(bytes, buf_length(&seed));
        bytes = realloc(bytes, n); /* so that a read past the end shows */
        memory_reset(1 << 20);
        struct ssx_error err = {0};
        if (!codec_decode(all_ssx(), &back, bytes, n, piece, NULL, &err)) {
            taken++;
            encode_ok(all_ssx(), &back, false, &first);
            decode_ok(all_ssx(), &back, buf_data(&first), buf_length(&first));
            encode_ok(all_ssx(), &back, false, &second);
            assert_bytes(&second, buf_data(&first), buf_length(&first));
            buf_consume(&first, buf_length(&first));
        } else {
            assert_true(err.code == SSX_ERROR_REFUSED || err.code == SSX_ERROR_SYSTEM);
            assert_true(err.text[0] && !strchr(err.text, '\n'));
        }
        free(bytes);
    }
    assert_in_range(taken, 100, 19900); /* else the mutations test nothing */
    buf_free(&first);
    buf_free(&seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(an_empty_map_gives_the_defaults),
        TEST(defaults_are_omitted_at_every_level),
        TEST(a_default_by_value_is_omitted_wherever_it_is_stored),
        TEST(a_struct_is_a_map_in_the_order_of_its_list),
        TEST(every_kind_survives_the_round_trip),
        TEST(what_is_decoded_does_not_point_into_the_input),
        TEST(other_encodings_of_a_value_are_taken),
        TEST(of_a_key_given_twice_the_last_counts),
        TEST(a_refusal_names_the_field_and_what_is_wanted),
        TEST(a_secret_is_not_shown),
        TEST(running_out_of_memory_is_no_refusal),
        TEST(a_worker_can_not_send_what_its_list_forbids),
        TEST(nesting_is_bounded_in_both_directions),
        TEST(a_value_over_the_limits_is_not_sent),
        TEST(depth_counts_through_an_any),
        TEST(mutated_states_are_refused_or_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
