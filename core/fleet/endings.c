#include "fleet/endings.h"

#include "wire/ending.h"
#include "wire/outcome.h"

static size_t add_text(struct buf *out, struct span text)
{
    size_t at = buf_length(out);
    buf_add(out, text.at, text.n);
    buf_add(out, "", 1);
    return at;
}

static void make_texts(struct ssx_ending *out, char **texts, const struct message_end *e)
{
    struct buf all = {0};
    char text[SSX_ERROR_TEXT + 64], digest[DIGEST_HEX + 1] = "";
    if (e->has_digest)
        digest_hex(digest, &e->digest);
    size_t reason = add_text(&all, e->reason), message = add_text(&all, e->message), sandbox = add_text(&all, e->sandbox);
    size_t line = add_text(&all, span_text(ending_describe(text, sizeof text, e))), sum = add_text(&all, span_text(digest));
    out->reason = out->message = out->sandbox = out->text = out->digest = "";
    *texts = NULL;
    if (all.failed) {
        buf_free(&all);
        return;
    }
    const char *at = *texts = (char *)all.at; /* nothing was consumed: it is the start of the memory */
    out->reason = at + reason;
    out->message = at + message;
    out->sandbox = at + sandbox;
    out->text = at + line;
    out->digest = at + sum;
}

void endings_make(struct ssx_ending *out, char **texts, const struct message_end *e)
{
    char reason[32];
    *out = (struct ssx_ending){
        .outcome = e->outcome,
        .code = (unsigned)e->code,
        .signal = (unsigned)e->signal,
        .wall_us = e->wall_us,
        .user_us = e->user_us,
        .sys_us = e->sys_us,
        .rss_kb = e->rss_kb,
        .out = e->out,
        .err = e->err,
        .truncated = e->truncated,
        .exit_code = outcome_exit_code(e->outcome, (unsigned)e->code, (unsigned)e->signal,
                                       span_copy(reason, sizeof reason, e->reason)),
    };
    make_texts(out, texts, e);
}
