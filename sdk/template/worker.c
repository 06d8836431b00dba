/* @NAME@: counts the lines, words and bytes of a file, and given words one by one. */
#include "@NAME@.h"

#include <ctype.h>
#include <errno.h>

#define WORD_MAX 63 /* the longest that `find` can hold; a longer word in the file is counted, and is none of those */

static void count_word(struct @IDENT@_result *out, const char *word, size_t n)
{
    out->words++;
    for (size_t i = 0; i < out->found.n; i++)
        if (n <= WORD_MAX && strlen(out->found.at[i].word) == n && memcmp(out->found.at[i].word, word, n) == 0)
            out->found.at[i].count++;
}

static void count_file(struct @IDENT@_result *out, FILE *file)
{
    char word[WORD_MAX];
    size_t n = 0;
    for (int c; (c = getc(file)) != EOF; out->bytes++) {
        out->lines += c == '\n';
        if (!isspace(c)) {
            if (n < WORD_MAX)
                word[n] = (char)c;
            n++;
        } else if (n) {
            count_word(out, word, n);
            n = 0;
        }
    }
    if (n)
        count_word(out, word, n);
}

static int @IDENT@_work(struct ssx_call *call, const struct @IDENT@_state *in, struct @IDENT@_result *out)
{
    FILE *file = fopen(in->path, "re");
    if (!file)
        return ssx_fail(call, 2, "can't read %s: %s", in->path, strerror(errno));
    for (size_t i = 0; i < in->find.n; i++)
        ssx_list_add(call, &out->found, struct(@IDENT@_found), 1)->word = in->find.at[i];
    count_file(out, file);
    int failed = ferror(file);
    fclose(file);
    return failed ? ssx_fail(call, 2, "can't read all of %s", in->path) : 0;
}
SSX_WORKER("@NAME@", "0.1", "counts lines, words and bytes of a file", @IDENT@_state, @IDENT@_result, SSX_IDEMPOTENT | SSX_SHOWS_RESULT, @IDENT@_work)
