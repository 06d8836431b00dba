#include "answer.h"

#include "base/text.h"

int answer_take_text(char *out, size_t size, struct value_reader *r)
{
    const char *at;
    size_t n;
    if (value_take_str(r, &at, &n))
        return -1;
    text_escape(out, size, at, n);
    return 0;
}

int answer_find_array(struct value_reader *r, size_t *count, const struct rollout_host *h, const char *key)
{
    size_t pairs;
    *r = value_reader(buf_data(&h->value), buf_length(&h->value));
    *count = 0;
    if (value_take_map(r, &pairs))
        return -1;
    for (struct value is; pairs; pairs--) {
        if (value_next(r, &is))
            return -1;
        if (value_is_text(&is, key))
            return value_take_array(r, count) ? -1 : 1;
        if (value_skip(r))
            return -1;
    }
    return 0;
}
