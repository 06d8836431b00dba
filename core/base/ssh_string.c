#include "base/ssh_string.h"

#include <string.h>

int ssh_u32_take(uint32_t *out, struct ssh_string *from)
{
    const unsigned char *p = from->at;
    if (from->n < 4)
        return -1;
    *out = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    from->at += 4;
    from->n -= 4;
    return 0;
}

int ssh_string_take(struct ssh_string *out, struct ssh_string *from)
{
    uint32_t n;
    if (ssh_u32_take(&n, from) || n > from->n)
        return -1;
    *out = (struct ssh_string){from->at, n};
    from->at += n;
    from->n -= n;
    return 0;
}

int ssh_u32_add(struct buf *out, uint32_t n)
{
    const unsigned char bytes[] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
    return buf_add(out, bytes, sizeof bytes);
}

int ssh_string_add(struct buf *out, const void *bytes, size_t n)
{
    return n > UINT32_MAX || ssh_u32_add(out, (uint32_t)n) ? -1 : buf_add(out, bytes, n);
}

bool ssh_string_is(const struct ssh_string *s, const char *text) { return s->n == strlen(text) && memcmp(s->at, text, s->n) == 0; }
