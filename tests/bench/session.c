/* Our side of the comparison: a program of <sshexec/client.h> with one session, that does what a line on stdin says and
 * answers with one number.
 *
 *     session AGENT CONFIG HOST PLUGIN_DIR
 *
 *     warm TYPE COUNT PAUSE        one call after the other, with 64 bytes there and back and a pause (in microseconds)
 * before each: the median, in microseconds pipelined TYPE COUNT OPEN    as many open at once: calls a second up BYTES ·
 * down BYTES        through a call's input, its output: megabytes a second idle COUNT                   as many more
 * sessions: KiB of this process for each */
#include <sshexec/client.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD 64
#define IDLE_MAX 64
#define PIECE (64u << 10)

static struct ssx_session *session;
static struct ssx_session_options options;
static const char *host;
static unsigned char payload[1 + 6 + 2 + PAYLOAD]; /* {"value": 64 bytes} */

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "session: %s: %s\n", what, why);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct ssx_session *open_session(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s;
    if (ssx_session_open(&s, host, &options, &err))
        die("open", err.text);
    return s;
}

static struct ssx_run *start(const char *type, const void *state, size_t n, const struct ssx_run_options *how)
{
    struct ssx_error err = {0};
    struct ssx_run *run;
    if (ssx_run_start(&run, session, type, state, n, how, &err))
        die(type, err.text);
    return run;
}

static void check(const struct ssx_run *run)
{
    size_t n;
    const void *result = ssx_run_result(run, &n);
    if (ssx_run_outcome(run) != SSX_OUTCOME_OK)
        die("call", ssx_run_ending(run)->message);
    if (n == sizeof payload && memcmp(result, payload, n) != 0)
        die("call", "it gave back something else");
}

static void finish(struct ssx_run *run)
{
    struct ssx_error err = {0};
    if (ssx_run_wait(run, -1, &err))
        die("wait", err.text);
    check(run);
    ssx_run_free(run);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double warm(const char *type, size_t count, unsigned pause_us)
{
    double *took = calloc(count, sizeof *took);
    for (size_t i = 0; i < count; i++) {
        if (pause_us)
            usleep(pause_us);
        double began = now_us();
        finish(start(type, payload, sizeof payload, NULL));
        took[i] = now_us() - began;
    }
    qsort(took, count, sizeof *took, by_size);
    double median = took[count / 2];
    free(took);
    return median;
}

static void count_end(void *ended, struct ssx_run *run)
{
    check(run);
    ++*(size_t *)ended;
    ssx_run_free(run);
}

static double pipelined(const char *type, size_t count, size_t open)
{
    struct ssx_error err = {0};
    struct ssx_run_options how = ssx_run_defaults();
    size_t sent = 0, ended = 0;
    double began = now_us();
    how.context = &ended;
    how.on_end = count_end;
    while (ended < count) {
        for (; sent < count && sent - ended < open; sent++)
            start(type, payload, sizeof payload, &how);
        if (ssx_session_step(session, -1, &err) == -1)
            die("step", err.text);
    }
    return (double)count * 1e6 / (now_us() - began);
}

static double up(size_t size)
{
    const size_t whole = size;
    static unsigned char piece[PIECE];
    struct ssx_error err = {0};
    struct ssx_run_options how = ssx_run_defaults();
    how.input = true;
    double began = now_us();
    struct ssx_run *run = start("bulk", "\x80", 1, &how);
    for (size_t left = size; left;) {
        ssize_t n = ssx_run_write(run, piece, left < PIECE ? left : PIECE, -1, &err);
        if (n < 0)
            die("up", err.text);
        left -= (size_t)n;
    }
    ssx_run_write_end(run);
    if (ssx_run_wait(run, -1, &err))
        die("up", err.text);
    double took = now_us() - began;
    const unsigned char *result = ssx_run_result(run, &(size_t){0});
    for (int i = 0; result && i < 4; i++) /* {"taken": a uint of 32 bits} */
        size -= (size_t)result[8 + i] << (24 - 8 * i);
    if (size)
        die("up", "not all of it arrived");
    finish(run);
    return (double)whole / took;
}

static void count_output(void *taken, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    (void)run, (void)stream, (void)bytes;
    *(size_t *)taken += n;
}

static double down(size_t size)
{
    unsigned char state[] = {0x81, 0xa5, 'b', 'y', 't', 'e', 's', 0xcf, 0, 0, 0, 0, 0, 0, 0, 0};
    struct ssx_run_options how = ssx_run_defaults();
    size_t taken = 0;
    for (size_t i = 0; i < 8; i++)
        state[8 + i] = (unsigned char)(size >> (56 - 8 * i));
    how.context = &taken;
    how.on_output = count_output;
    double began = now_us();
    finish(start("bulk", state, sizeof state, &how));
    if (taken != size)
        die("down", "not all of it came");
    return (double)size / (now_us() - began);
}

/* Resident and private: what a session adds, and nothing of the libraries. */
static double own_kib(void)
{
    char line[256];
    double kib = 0, one;
    malloc_trim(0); /* no room that others have left counts as used, or is there to be used */
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Clean: %lf", &one) == 1 || sscanf(line, "Private_Dirty: %lf", &one) == 1)
            kib += one;
    if (!file || !kib)
        die("memory", "can't read /proc/self/smaps_rollup");
    fclose(file);
    return kib;
}

static double idle(size_t count)
{
    struct ssx_session *sessions[IDLE_MAX];
    double before = own_kib();
    count = count < IDLE_MAX ? count : IDLE_MAX;
    for (size_t i = 0; i < count; i++)
        sessions[i] = open_session();
    double after = own_kib();
    for (size_t i = 0; i < count; i++)
        ssx_session_close(sessions[i]);
    return (after - before) / (double)count;
}

static double obey(char *line)
{
    char *words[4] = {strtok(line, " \n")};
    for (size_t i = 1; i < 4; i++)
        words[i] = strtok(NULL, " \n");
    size_t first = words[1] ? strtoull(words[1], NULL, 10) : 0, second = words[2] ? strtoull(words[2], NULL, 10) : 0,
           third = words[3] ? strtoull(words[3], NULL, 10) : 0;
    if (!words[0] || !words[1])
        die("a line", "it has no words");
    if (strcmp(words[0], "warm") == 0)
        return warm(words[1], second, (unsigned)third);
    if (strcmp(words[0], "pipelined") == 0 && third)
        return pipelined(words[1], second, third);
    if (strcmp(words[0], "up") == 0)
        return up(first);
    if (strcmp(words[0], "down") == 0)
        return down(first);
    if (strcmp(words[0], "idle") == 0)
        return idle(first);
    die(words[0], "unknown");
}

int main(int argc, char **argv)
{
    char line[256];
    if (argc != 5)
        die("usage", "session AGENT CONFIG HOST PLUGIN_DIR");
    options = ssx_session_defaults();
    options.agent_file = argv[1];
    options.config_file = argv[2];
    host = argv[3];
    options.plugin_path = argv[4];
    options.transport = "libssh";
    memcpy(payload, "\x81\xa5value\xc4\x40", 9);
    memset(payload + 9, 'x', PAYLOAD);
    session = open_session();
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%.3f\n", obey(line));
        fflush(stdout);
    }
    ssx_session_close(session);
    return 0;
}
