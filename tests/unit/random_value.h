/* Random msgpack values in their shortest form, and random damage: the same at every run. */
#ifndef TEST_RANDOM_VALUE_H
#define TEST_RANDOM_VALUE_H
#include "base/buf.h"
#include "wire/pack.h"

#include <stdint.h>
#include <stdio.h>

static inline uint64_t random_next(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t random_below(uint64_t *seed, uint64_t n) { return random_next(seed) % n; }

/* Of any magnitude: small numbers are as likely as large ones. */
static inline uint64_t random_number(uint64_t *seed) { return random_next(seed) >> random_below(seed, 64); }

static inline void random_text(msgpack_packer *p, uint64_t *seed)
{
    static const char *const pieces[] = {
        "a",        "key",  "\"",   "\\", "\n", "\x1b", "\xc3\xa9",    "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xc2\x85", "\x7f", "$bin", "$",  "/",  "\xff", "\xed\xa0\x80"};
    static const char *const forms[] = {"$bin", "$str", "$f32", "$float", "$time", "$ext", "$map", "$", ""};
    char text[64] = "";
    if (random_below(seed, 8) == 0) {
        pack_text(p, forms[random_below(seed, 9)]);
        return;
    }
    size_t n = 0, count = random_below(seed, 12), kinds = random_below(seed, 4) ? 14 : 16; /* the last two are not UTF-8 */
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", pieces[random_below(seed, kinds)]);
    msgpack_pack_str_with_body(p, text, n + (count == 7)); /* sometimes its NUL too */
}

static inline void random_float(msgpack_packer *p, uint64_t *seed)
{
    uint64_t bits = random_below(seed, 3) ? random_next(seed) : UINT64_C(0x7ff) << 52 | random_number(seed);
    unsigned char bytes[9] = {0xcb};
    if (random_below(seed, 2))
        bytes[0] = 0xca;
    if (random_below(seed, 4) == 0)
        bits = (uint64_t)0xff << 55 | random_number(seed) >> 12;
    for (size_t i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
    p->callback(p->data, (char *)bytes, bytes[0] == 0xca ? 5 : 9);
}

static inline void random_ext(msgpack_packer *p, uint64_t *seed)
{
    unsigned char bytes[20];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = random_below(seed, 3) ? (unsigned char)random_next(seed) : 0;
    size_t lengths[] = {4, 8, 12, random_below(seed, sizeof bytes)};
    bool time = random_below(seed, 2);
    msgpack_pack_ext_with_body(p, bytes, lengths[random_below(seed, 4)], time ? -1 : (int8_t)random_next(seed));
}

static inline void random_pack(msgpack_packer *p, uint64_t *seed, unsigned depth)
{
    size_t count = random_below(seed, 5) ? random_below(seed, 4) : random_below(seed, 20);
    switch (random_below(seed, depth ? 13 : 9)) {
    case 0: msgpack_pack_nil(p); return;
    case 1: random_below(seed, 2) ? msgpack_pack_true(p) : msgpack_pack_false(p); return;
    case 2: msgpack_pack_uint64(p, random_number(seed)); return;
    case 3: msgpack_pack_int64(p, (int64_t)~(random_number(seed) >> 1)); return;
    case 4: random_float(p, seed); return;
    case 5: case 6: random_text(p, seed); return;
    case 7: msgpack_pack_bin_with_body(p, "\0\1\xff\x80\x7f\xfe\x10zzzzzzzzzzzz", count); return;
    case 8: random_ext(p, seed); return;
    case 9: case 10:
        msgpack_pack_array(p, count);
        for (size_t i = 0; i < count; i++)
            random_pack(p, seed, depth - 1);
        return;
    default:
        msgpack_pack_map(p, count);
        for (size_t i = 0; i < count; i++) {
            if (random_below(seed, 10))
                random_text(p, seed);
            else
                random_pack(p, seed, depth - 1);
            random_pack(p, seed, depth - 1);
        }
    }
}

/* Adds one value. */
static inline void random_value(struct buf *out, uint64_t *seed)
{
    msgpack_packer p = packer(out);
    random_pack(&p, seed, 5);
}

/* Changes, inserts, removes or repeats a few bytes, or cuts the end off. */
static inline void random_mutation(struct buf *b, uint64_t *seed)
{
    for (uint64_t times = 1 + random_below(seed, 3); times && buf_length(b); times--) {
        size_t n = buf_length(b), at = random_below(seed, n);
        unsigned char byte = (unsigned char)random_next(seed);
        switch (random_below(seed, 6)) {
        case 0: buf_data(b)[at] ^= (unsigned char)(1u << random_below(seed, 8)); break;
        case 1: buf_data(b)[at] = byte; break;
        case 2: buf_data(b)[at] = buf_data(b)[random_below(seed, n)]; break;
        case 3: b->end -= n - at; break;
        case 4:
            memmove(buf_data(b) + at, buf_data(b) + at + 1, n - at - 1);
            b->end--;
            break;
        default:
            buf_add(b, &byte, 1);
            memmove(buf_data(b) + at + 1, buf_data(b) + at, n - at);
            buf_data(b)[at] = byte;
        }
    }
}

#endif
