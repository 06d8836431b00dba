#include "base/printable.h"

#include "base/text.h"

#include <stdbool.h>
#include <string.h>

#define PARAMETERS_MAX 64 /* bytes between ESC [ and the letter: a longer one is no colour */
#define COLORS_OFF "\033[0m"

/* ESC [ parameters letter. Returns its length with the letter, 0 where there is none. */
static size_t sequence(const char *at, size_t n, char *letter)
{
    size_t i = 2;
    if (n < 3 || at[0] != '\033' || at[1] != '[')
        return 0;
    while (i < n && i < 2 + PARAMETERS_MAX && at[i] && strchr("0123456789;:", at[i]))
        i++;
    if (i == n || i == 2 + PARAMETERS_MAX)
        return 0;
    *letter = at[i];
    return i + 1;
}

static bool is_reset(const char *at, size_t n) { return n == 3 || (n == 4 && at[2] == '0'); }

static size_t add_escaped(struct buf *out, const char *at, size_t n)
{
    char one[16];
    size_t take = text_utf8_length(at, n);
    take = take ? take : 1;
    buf_add(out, one, text_escape(one, sizeof one, at, take));
    return take;
}

int printable_add(struct buf *out, const void *line, size_t n)
{
    const char *text = line;
    bool colored = false;
    char letter = 0;
    if (n && text[n - 1] == '\r')
        n--;
    for (size_t i = 0, length; i < n; i += length) {
        length = 0;
        while (i + length < n && (text[i + length] == '\t' || (text[i + length] >= 0x20 && text[i + length] < 0x7f)))
            length++;
        if (length) {
            buf_add(out, text + i, length);
        } else if ((length = sequence(text + i, n - i, &letter)) && letter == 'm') {
            buf_add(out, text + i, length);
            colored = !is_reset(text + i, length);
        } else if (!length || letter != 'K') {
            length = add_escaped(out, text + i, n - i);
        }
    }
    return buf_add_text(out, colored ? COLORS_OFF : "");
}
