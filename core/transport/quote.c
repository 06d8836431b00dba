#include "transport/quote.h"

#include <string.h>

int shell_quote(struct buf *out, const char *text)
{
    buf_add(out, "'", 1);
    for (const char *quote; (quote = strchr(text, '\'')); text = quote + 1) {
        buf_add(out, text, (size_t)(quote - text));
        buf_add_text(out, "'\"'\"'");
    }
    buf_add_text(out, text);
    return buf_add(out, "'", 1);
}
