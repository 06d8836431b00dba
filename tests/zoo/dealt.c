/* Not bad: does one item of many. It notes in `dir` that it has begun, waits for as long as a file hold.ITEM or
 * hold.HOST is there, and fails for an item called bad. */
#include "zoo.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEALT(F)                                        \
    F(str, item,  default(""),  "what to do")           \
    F(str, host,  default(""),  "where")                \
    F(str, dir,   default(""),  "for notes and holds")  \
    F(u32, times, default(1),   "how often to say it")
SSX_STRUCT(dealt, DEALT)

#define DEALT_RESULT(F)                            \
    F(str, item,   required, "what was done")      \
    F(u64, length, required, "of its name")
SSX_STRUCT(dealt_result, DEALT_RESULT)

static void note(const struct dealt *in)
{
    char path[512];
    snprintf(path, sizeof path, "%s/begun.%s.%s", in->dir, in->item, in->host);
    FILE *f = in->dir[0] ? fopen(path, "we") : NULL;
    if (f) {
        fprintf(f, "%d\n", (int)getpid());
        fclose(f);
    }
}

static int is_held(const struct dealt *in, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/hold.%s", in->dir, name);
    return in->dir[0] && access(path, F_OK) == 0;
}

static int dealt_run(struct ssx_call *call, const struct dealt *in, struct dealt_result *out)
{
    const struct timespec nap = { 0, 5 * 1000 * 1000 };
    (void)call;
    note(in);
    printf("begin %s\n", in->item);
    fflush(stdout);
    while (is_held(in, in->item) || is_held(in, in->host))
        nanosleep(&nap, NULL);
    if (strncmp(in->item, "bad", 3) == 0)
        return 9;
    for (uint32_t i = 0; i < in->times; i++)
        printf("%s on %s\n", in->item, in->host);
    out->item = in->item;
    out->length = strlen(in->item);
    return 0;
}
SSX_WORKER("dealt", "1.0", "one item of many", dealt, dealt_result, SSX_IDEMPOTENT | SSX_SHOWS_OUTPUT, dealt_run)
