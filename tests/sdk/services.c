/* Asks its host for one service and says what it got. */
#include <sshexec/worker.h>

#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK(V) V(ask, log) V(ask, progress) V(ask, time) V(ask, temp) V(ask, memory) V(ask, too_much)
SSX_ENUM(ask, ASK)
#define SERVICES(F) F(enum(ask), ask, empty, "for what")
SSX_STRUCT(services, SERVICES)
#define SERVICES_RESULT(F)                                          \
    F(i64,  left_ms, default(-2), "time left")                      \
    F(str,  temp,    empty,       "the call's own directory")       \
    F(bool, right,   empty,       "whether it was as the header says")
SSX_STRUCT(services_result, SERVICES_RESULT)

static void log_lines(struct ssx_call *call)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    ssx_log(call, SSX_LOG_DEBUG, "a debug line");
    ssx_log(call, SSX_LOG_INFO, "an info line");
    ssx_log(call, SSX_LOG_WARNING, "two\nlines");
    ssx_log(call, SSX_LOG_ERROR, "%s", text);
}

/* Leaves what a careless worker leaves: directories and files that their owner may not read. */
static bool use_temp(struct ssx_call *call, struct services_result *out)
{
    const char *temp = ssx_temp_dir(call), *given = getenv("TMPDIR");
    if (!temp || !given || strcmp(temp, given))
        return false;
    out->temp = temp;
    char *sub = ssx_sprintf(call, "%s/sub", temp);
    int fd = mkdir(sub, 0700) ? -1 : open(ssx_sprintf(call, "%s/file", sub), O_WRONLY | O_CREAT, 0);
    return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 && chmod(sub, 0) == 0;
}

static bool use_memory(struct ssx_call *call)
{
    for (size_t n = 1; n < 1u << 22; n = 3 * n + 1) {
        unsigned char *at = ssx_alloc(call, n);
        if ((uintptr_t)at % alignof(max_align_t))
            return false;
        for (size_t i = 0; i < n; i++)
            if (at[i])
                return false;
        memset(at, 0xff, n);
    }
    return true;
}

static int services_run(struct ssx_call *call, const struct services *in, struct services_result *out)
{
    switch (in->ask) {
    case ask_log: log_lines(call); break;
    case ask_progress:
        for (uint64_t i = 1; i <= 200000; i++)
            ssx_progress(call, i, 200000, NULL);
        break;
    case ask_time: out->left_ms = ssx_time_left_ms(call); break;
    case ask_temp: out->right = use_temp(call, out); break;
    case ask_memory: out->right = use_memory(call); break;
    case ask_too_much:
        printf("said before");
        out->right = ssx_alloc(call, SIZE_MAX);
    }
    return 0;
}
SSX_WORKER("services", "1.0", "uses what a host gives", services, services_result, 0, services_run)
