#include "vouch.h"

#include <string.h>

enum token { SCALAR, BYTES, ARRAY, MAP, INVALID };

/* Tokens from 0xc0 to 0xdf: how wide the length field is, and how many bytes follow beside what it counts. */
static const struct { unsigned char token, width, body; } wide[32] = {
    {SCALAR, 0, 0}, {INVALID, 0, 0}, {SCALAR, 0, 0}, {SCALAR, 0, 0}, {BYTES, 1, 0}, {BYTES, 2, 0}, {BYTES, 4, 0}, {BYTES, 1, 1},
    {BYTES, 2, 1}, {BYTES, 4, 1}, {SCALAR, 0, 4}, {SCALAR, 0, 8}, {SCALAR, 0, 1}, {SCALAR, 0, 2}, {SCALAR, 0, 4}, {SCALAR, 0, 8},
    {SCALAR, 0, 1}, {SCALAR, 0, 2}, {SCALAR, 0, 4}, {SCALAR, 0, 8}, {SCALAR, 0, 2}, {SCALAR, 0, 3}, {SCALAR, 0, 5}, {SCALAR, 0, 9},
    {SCALAR, 0, 17}, {BYTES, 1, 0}, {BYTES, 2, 0}, {BYTES, 4, 0}, {ARRAY, 2, 0}, {ARRAY, 4, 0}, {MAP, 2, 0}, {MAP, 4, 0},
};

static size_t head_length(unsigned char first) { return first >= 0xc0 && first <= 0xdf ? 1u + wide[first - 0xc0].width : 1; }

/* The token that stands in v->head: its kind, and in *count the bytes or elements that follow. */
static enum token read_head(const struct vouch *v, uint64_t *count)
{
    unsigned char first = v->head[0];
    *count = 0;
    if (first < 0x80 || first >= 0xe0)
        return SCALAR;
    if (first < 0xc0) {
        *count = first & (first < 0xa0 ? 0x0f : 0x1f);
        return first < 0x90 ? MAP : first < 0xa0 ? ARRAY : BYTES;
    }
    for (size_t i = 1; i < v->head_n; i++)
        *count = *count << 8 | v->head[i];
    *count += wide[first - 0xc0].body;
    return (enum token)wide[first - 0xc0].token;
}

static int take_token(struct vouch *v)
{
    uint64_t count;
    enum token token = read_head(v, &count);
    v->head_n = 0;
    if (token == INVALID || count > VALUE_SIZE_MAX)
        return -1;
    v->left[v->depth]--;
    if (token == ARRAY || token == MAP) {
        count *= token == MAP ? 2 : 1;
        v->seen += count;
        if (v->seen > VALUE_ELEMENTS_MAX || v->depth == VALUE_DEPTH_MAX)
            return -1;
        v->left[++v->depth] = count;
    } else {
        v->skip = count;
    }
    while (v->depth && !v->left[v->depth])
        v->depth--;
    return 0;
}

static bool is_whole(const struct vouch *v) { return !v->depth && !v->left[0] && !v->skip && !v->head_n; }

static int take_bytes(struct vouch *v, const unsigned char *at, size_t n)
{
    while (n) {
        if (is_whole(v))
            return -1;
        size_t step = v->skip < n ? (size_t)v->skip : n;
        if (step) {
            v->skip -= step;
        } else {
            step = 1;
            v->head[v->head_n++] = *at;
            if (v->head_n == head_length(v->head[0]) && take_token(v))
                return -1;
        }
        at += step;
        n -= step;
    }
    return 0;
}

int vouch_piece(struct vouch *v, const struct message *m)
{
    if (!v->kind) {
        bool result = m->kind == MESSAGE_RESULT, state = m->kind == MESSAGE_STATE;
        if ((result && v->had_result) || (state && v->had_state))
            return -1;
        *v = (struct vouch){.kind = m->kind, .had_result = v->had_result || result, .had_state = v->had_state || state, .left = {1}};
    }
    v->size += m->data.bytes.n;
    if (v->kind != m->kind || v->size > VALUE_SIZE_MAX || take_bytes(v, m->data.bytes.at, m->data.bytes.n))
        return -1;
    if (m->data.more)
        return 0;
    v->kind = 0;
    return is_whole(v) ? 0 : -1;
}
