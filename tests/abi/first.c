/* A plugin of ABI 1.0, built against the first header as it was: it must load and run for as long as the major version is 1. It asks for every
 * service that there was and uses every kind of field. */
#include "worker-1.0.h"

#include <sys/stat.h>
#include <unistd.h>

#define COLOUR(V) V(colour, red) V(colour, green) V(colour, blue)
SSX_ENUM(colour, COLOUR)

#define POINT(F)                                         \
    F(i32_in(-100, 100), x,    default(-1), "across")    \
    F(str_max(16),       name, default("origin"), "its name")
SSX_STRUCT(point, POINT)

#define FIRST(F)                                                            \
    F(bool,                on,      default(true),        "a switch")       \
    F(i64,                 big,     default(-5),          "large")          \
    F(u32,                 small,   empty,                "small")          \
    F(u64_in(1, 9),        few,     default(2),           "few")            \
    F(f64_in(0, 0.5),      share,   default(0.25),        "a part")         \
    F(f64,                 ratio,   empty,                "any number")     \
    F(str,                 text,    required,             "text")           \
    F(bin_max(8),          bytes,   empty,                "bytes")          \
    F(any,                 value,   empty,                "anything")       \
    F(enum(colour),        colour,  member(colour, green), "which")         \
    F(struct(point),       point,   empty,                "where")          \
    F(list(struct(point)), points,  empty,                "more")           \
    F(opt(f64),            maybe,   empty,                "perhaps")        \
    F(secret(str),         token,   empty,                "not for logs")   \
    F(rest(list(str)),     words,   empty,                "words")
SSX_STRUCT(first, FIRST)

#define FIRST_RESULT(F)                                                     \
    F(str,                 text,    empty,                "all of it")      \
    F(enum(colour),        colour,  empty,                "the next one")   \
    F(list(struct(point)), points,  empty,                "one more")       \
    F(opt(f64),            maybe,   empty,                "twice")          \
    F(bool,                timed,   empty,                "had a deadline") \
    F(bool,                temp,    empty,                "had a directory of its own") \
    F(secret(str),         token,   empty,                "as it came")
SSX_STRUCT(first_result, FIRST_RESULT)

static int first_run(struct ssx_call *call, const struct first *in, struct first_result *out)
{
    struct stat st;
    if (in->big == 13)
        return ssx_fail(call, 13, "%s doesn't like %d", "first", 13);
    printf("%s\n", in->text);
    ssx_log(call, SSX_LOG_WARNING, "%zu points", in->points.n);
    ssx_progress(call, 1, 1, "done");
    if (ssx_item(call, point, &in->point) || ssx_item_any(call, "\xa2hi", 3) || ssx_item_any(call, "\xc1", 1) == 0 || ssx_cancelled(call))
        return 1;
    out->text = ssx_sprintf(call, "%d %lld %u %g %zu %zu %s", in->on, (long long)in->big, (unsigned)in->small, in->share, in->bytes.n, in->words.n,
                            in->words.n ? in->words.at[0] : "-");
    out->colour = in->colour == colour_blue ? colour_red : (enum colour)(in->colour + 1);
    for (size_t i = 0; i < in->points.n; i++)
        *ssx_list_add(call, &out->points, struct(point), 1) = in->points.at[i];
    ssx_list_add(call, &out->points, struct(point), 1)->x = 7;
    out->maybe.set = in->maybe.set;
    out->maybe.value = 2 * in->maybe.value;
    out->timed = ssx_time_left_ms(call) > 0;
    out->temp = ssx_temp_dir(call) && stat(ssx_temp_dir(call), &st) == 0 && S_ISDIR(st.st_mode);
    out->token = ssx_strdup(call, in->token);
    return 0;
}
SSX_WORKER("first", "1.0", "built against ABI 1.0", first, first_result, SSX_IDEMPOTENT | SSX_REUSABLE, first_run)
