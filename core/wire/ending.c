#include "wire/ending.h"

#include "base/text.h"
#include "wire/outcome.h"

#include <stdio.h>

char *ending_describe(char *out, size_t size, const struct message_end *e)
{
    char text[SSX_ERROR_TEXT];
    text_escape(text, sizeof text, e->message.n ? e->message.at : "", e->message.n);
    if (e->outcome == SSX_OUTCOME_FAILED && !*text)
        snprintf(out, size, "failed with code %llu", (unsigned long long)e->code);
    else if (e->outcome == SSX_OUTCOME_TIMEOUT && !*text)
        snprintf(out, size, "timeout: not done after %.3g s", (double)e->wall_us / 1e6);
    else
        snprintf(out, size, "%s%s%s", outcome_name(e->outcome), *text ? ": " : "", text);
    return out;
}
