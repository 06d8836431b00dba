/* Declares itself reusable and misbehaves as it is told, in a process that other calls are waiting for. */
#include "zoo.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ACT(V)                                                                                                  \
    V(act, nothing) V(act, crash) V(act, leave) V(act, loop) V(act, deaf) V(act, polite) V(act, sleep) V(act, raw) \
    V(act, spawn) V(act, temp) V(act, page) V(act, control) V(act, alarm)
SSX_ENUM(act, ACT)

#define REUSE(F)                                                                              \
    F(enum(act), act,  member(act, nothing), "what to do")                                   \
    F(str,       log,  empty,            "a file that gets a line with `name` as it begins")  \
    F(str,       name, empty,            "of the call")                                       \
    F(u32,       n,    default(0),       "raw: bytes to print; sleep, polite: milliseconds")
SSX_STRUCT(reuse, REUSE)

static unsigned served;

static void note(const struct reuse *in)
{
    char line[128];
    int fd = in->log[0] ? open(in->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    int n = snprintf(line, sizeof line, "%s\n", in->name);
    if (fd < 0)
        return;
    if (write(fd, line, (size_t)n) != n)
        abort();
    close(fd);
}

/* Half by stdio, which nobody flushes, half by write; n / 2 to stderr. */
static void print_raw(const struct reuse *in)
{
    for (uint32_t i = 0; i < in->n / 2; i++)
        putchar('p');
    fflush(stdout);
    for (uint32_t i = in->n / 2; i < in->n; i++)
        if (write(1, "w", 1) != 1)
            abort();
    for (uint32_t i = 0; i < in->n / 2; i++)
        fputc('e', stderr);
    printf("%s", in->name);
}

static int wait_politely(struct ssx_call *call, uint32_t ms)
{
    const struct timespec nap = { 0, 5 * 1000 * 1000 };
    for (uint32_t i = 0; i < ms; i += 5) {
        if (ssx_cancelled(call))
            return printf("%d cancelled", (int)getpid());
        nanosleep(&nap, NULL);
    }
    return 0;
}

/* One child of its own, and one that a child of it left behind; both in sessions of their own. */
static void spawn(void)
{
    pid_t pid = fork();
    if (pid)
        printf("%d", (int)pid);
    if (pid)
        return;
    signal(SIGTERM, SIG_IGN);
    setsid();
    if (fork() == 0)
        setsid();
    for (;;)
        pause();
}

/* Every page that this process shares with the agent is overwritten. */
static void scribble(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) {
        char *end;
        unsigned long long from = strtoull(line, &end, 16), to = strtoull(end + 1, NULL, 16);
        if (strstr(line, "memfd:sshexec-lane"))
            memset((void *)(uintptr_t)from, 0xff, (size_t)(to - from));
    }
    if (maps)
        fclose(maps);
}

static void use_temp(struct ssx_call *call)
{
    char path[512];
    snprintf(path, sizeof path, "%s/left", ssx_temp_dir(call));
    printf("%s", access(path, F_OK) == 0 ? "old" : "new");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        abort();
    close(fd);
}

ZOO_RUN(reuse, nothing)
{
    served++;
    note(in);
    switch (in->act) {
    case act_nothing: printf("%d %u", (int)getpid(), served); break;
    case act_crash: zoo_crash(); break;
    case act_leave: exit(0);
    case act_deaf: signal(SIGTERM, SIG_IGN); /* fall through */
    case act_loop: for (;;) pause();
    case act_polite: return wait_politely(call, in->n) ? 3 : 0;
    case act_sleep: usleep(in->n * 1000); break;
    case act_raw: print_raw(in); break;
    case act_spawn: spawn(); break;
    case act_temp: use_temp(call); break;
    case act_page: scribble(); break;
    case act_control: return write(3, "garbage!", 8) < 0;
    case act_alarm: ualarm(20000, 0); break;
    }
    return 0;
}
SSX_WORKER("reuse", "1.0", "a bad plugin", reuse, nothing, SSX_REUSABLE, zoo_run)
