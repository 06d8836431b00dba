/* Our side of the comparison: one session, that does what a line on stdin says and answers with one number.
 *
 *     session AGENT CONFIG HOST PLUGIN_DIR
 *
 *     warm TYPE COUNT PAUSE        one call after the other, with 64 bytes there and back and a pause (in microseconds) before each: the median, in microseconds
 *     pipelined TYPE COUNT OPEN    as many open at once: calls a second
 *     up BYTES · down BYTES        through a call's input, its output: megabytes a second
 *     idle COUNT                   as many more sessions: KiB of this process for each */
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "fleet/link.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PAYLOAD 64
#define IDLE_MAX 64
#define OBJECTS 4
#define PIECE (64u << 10)

static struct object { char type[32]; struct buf bytes; struct digest digest; } objects[OBJECTS];
static struct link session;
static const char *plugin_dir;
static unsigned char payload[1 + 6 + 2 + PAYLOAD]; /* {"value": 64 bytes} */

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "session: %s: %s\n", what, why);
    exit(1);
}

static void read_agent(struct agent_image *image, const char *path)
{
    static struct buf plain, packed;
    static struct utsname uts;
    struct ssx_error err = {0};
    struct digest digest;
    char gz[4096];
    snprintf(gz, sizeof gz, "%s.gz", path);
    if (file_read(&plain, path, 64u << 20, &err) || file_read(&packed, gz, 64u << 20, &err))
        die("agent", err.text);
    uname(&uts);
    digest_of(&digest, buf_data(&plain), buf_length(&plain));
    digest_hex(image->digest, &digest);
    image->bytes = buf_data(&plain);
    image->size = buf_length(&plain);
    image->packed = buf_data(&packed);
    image->packed_size = buf_length(&packed);
    image->machine = uts.machine;
}

static const struct object *object_of(const char *type)
{
    struct ssx_error err = {0};
    char path[4096];
    size_t i = 0;
    while (objects[i].type[0] && strcmp(objects[i].type, type) != 0)
        i++;
    if (objects[i].type[0])
        return &objects[i];
    snprintf(path, sizeof path, "%s/%s.so", plugin_dir, type);
    if (file_read(&objects[i].bytes, path, 16u << 20, &err))
        die("plugin", err.text);
    digest_of(&objects[i].digest, buf_data(&objects[i].bytes), buf_length(&objects[i].bytes));
    snprintf(objects[i].type, sizeof objects[i].type, "%s", type);
    return &objects[i];
}

static uint32_t call(const char *type, const void *state, size_t n, bool input)
{
    const struct object *o = object_of(type);
    struct ssx_error err = {0};
    struct client_request request = {.type = type, .state = state, .state_size = n, .digest = &o->digest, .object = buf_data(&o->bytes),
                                     .object_size = buf_length(&o->bytes), .exact = true, .input = input};
    uint32_t id;
    if (client_call(session.client, &id, &request, &err))
        die(type, err.text);
    return id;
}

/* Moves what can be moved, or waits. */
static void move(struct link *l)
{
    struct ssx_error err = {0};
    struct pollfd fds[TRANSPORT_FDS + 1];
    int rc = link_step(l, true, &err);
    if (rc < 0)
        die("session", err.text);
    if (rc == 0 && poll(fds, link_poll(l, true, fds), -1) < 0 && errno != EINTR)
        die("poll", strerror(errno));
}

/* Takes what has come; returns how many calls have ended. */
static size_t take(size_t *bytes)
{
    struct ssx_error err = {0};
    struct message m;
    size_t ended = 0;
    for (int rc; (rc = client_next(session.client, &m, &err)) != 0;) {
        if (rc < 0)
            die("session", err.text);
        if (m.kind == MESSAGE_END && m.end.outcome != SSX_OUTCOME_OK)
            die("call", m.end.message.n ? m.end.message.at : "not ok");
        if (m.kind == MESSAGE_RESULT && m.data.bytes.n == sizeof payload && memcmp(m.data.bytes.at, payload, sizeof payload) != 0)
            die("call", "it gave back something else");
        ended += m.kind == MESSAGE_END;
        *bytes += m.kind == MESSAGE_OUTPUT ? m.data.bytes.n : 0;
        client_consumed(session.client, m.id, message_cost(&m));
    }
    return ended;
}

static size_t wait_for_ends(size_t wanted)
{
    size_t bytes = 0;
    for (size_t ended = 0; (ended += take(&bytes)) < wanted;)
        move(&session);
    return bytes;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double warm(const char *type, size_t count, unsigned pause_us)
{
    int64_t *took = calloc(count, sizeof *took);
    for (size_t i = 0; i < count; i++) {
        if (pause_us)
            usleep(pause_us);
        int64_t began = clock_us();
        call(type, payload, sizeof payload, false);
        wait_for_ends(1);
        took[i] = clock_us() - began;
    }
    qsort(took, count, sizeof *took, by_size);
    double median = (double)took[count / 2];
    free(took);
    return median;
}

static double pipelined(const char *type, size_t count, size_t open)
{
    size_t sent = 0, bytes = 0;
    int64_t began = clock_us();
    for (size_t ended = 0; ended < count; ended += take(&bytes)) {
        for (; sent < count && sent - ended < open; sent++)
            call(type, payload, sizeof payload, false);
        move(&session);
    }
    return (double)count * 1e6 / (double)(clock_us() - began);
}

static double up(size_t size)
{
    static unsigned char piece[PIECE];
    size_t bytes = 0;
    int64_t began = clock_us();
    uint32_t id = call("bulk", "\x80", 1, true);
    for (size_t left = size, n; left; move(&session)) {
        take(&bytes); /* credit comes with it */
        while ((n = client_input(session.client, id, piece, left < PIECE ? left : PIECE)))
            left -= n;
    }
    client_input_end(session.client, id);
    wait_for_ends(1);
    return (double)size / (double)(clock_us() - began);
}

static double down(size_t size)
{
    unsigned char state[] = {0x81, 0xa5, 'b', 'y', 't', 'e', 's', 0xcf, 0, 0, 0, 0, 0, 0, 0, 0};
    for (size_t i = 0; i < 8; i++)
        state[8 + i] = (unsigned char)(size >> (56 - 8 * i));
    int64_t began = clock_us();
    uint32_t id = call("bulk", state, sizeof state, true);
    client_input_end(session.client, id);
    if (wait_for_ends(1) != size)
        die("down", "not all of it came");
    return (double)size / (double)(clock_us() - began);
}

/* Resident and private: what a session adds, and nothing of the libraries. */
static double own_kib(void)
{
    char line[256];
    double kib = 0, one;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Clean: %lf", &one) == 1 || sscanf(line, "Private_Dirty: %lf", &one) == 1)
            kib += one;
    if (!file || !kib)
        die("memory", "can't read /proc/self/smaps_rollup");
    fclose(file);
    return kib;
}

static void open_link(struct link *l, const struct transport_target *target, const struct agent_image *agent)
{
    struct ssx_error err = {0};
    struct message m;
    if (link_open_host(l, target, agent, BOOTSTRAP_CACHE, &err))
        die("open", err.text);
    while (!client_is_ready(l->client)) {
        move(l);
        while (client_next(l->client, &m, &err) > 0)
            ;
    }
}

static double idle(size_t count, const struct transport_target *target, const struct agent_image *agent)
{
    static struct link links[IDLE_MAX];
    malloc_trim(0); /* so that they don't find room in what others have left */
    double before = own_kib();
    count = count < IDLE_MAX ? count : IDLE_MAX;
    for (size_t i = 0; i < count; i++)
        open_link(&links[i], target, agent);
    malloc_trim(0);
    double after = own_kib();
    for (size_t i = 0; i < count; i++)
        link_close(&links[i]);
    return (after - before) / (double)count;
}

static double obey(char *line, const struct transport_target *target, const struct agent_image *agent)
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
        return idle(first, target, agent);
    die(words[0], "unknown");
}

int main(int argc, char **argv)
{
    struct agent_image agent = {0};
    char line[256];
    if (argc != 5)
        die("usage", "session AGENT CONFIG HOST PLUGIN_DIR");
    const struct transport_target target = {.host = argv[3], .config_file = argv[2], .mode = TRANSPORT_LIBSSH};
    plugin_dir = argv[4];
    memcpy(payload, "\x81\xa5value\xc4\x40", 9);
    memset(payload + 9, 'x', PAYLOAD);
    read_agent(&agent, argv[1]);
    open_link(&session, &target, &agent);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("%.3f\n", obey(line, &target, &agent));
        fflush(stdout);
    }
    link_close(&session);
    for (size_t i = 0; i < OBJECTS; i++)
        buf_free(&objects[i].bytes);
    return 0;
}
