/* A program for the tests: the engine, on the hosts that stand on stdin, one a line, each with a state of its own
 * behind a blank where it has one; one JSON event a line on stdout.
 *
 *     fleet_probe [OPTION=VALUE ...] AGENT PLUGIN TYPE [JSON]
 *
 *     config=FILE fanout=N connect=MS timeout=MS deadline=MS mode=auto|libssh|ssh template=TEXT pumps=N input=FILE
 *     cancel=MS         cancels after so long
 *     slow=MS           takes so long over each output
 *     quiet=1           only ends and the summary */
#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "fleet/engine.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static struct engine *engine;
static struct engine_options options = {.input_fd = -1};
static const char *agent_path, *plugin_path, *state_json = "{}";
static long cancel_ms, slow_ms;
static bool quiet;
static int64_t began_us, first_us;
static size_t outputs, ended;

static _Noreturn void die(const char *what, const struct ssx_error *err)
{
    fprintf(stderr, "fleet_probe: %s: %s\n", what, err->text);
    exit(2);
}

static void print_text(const char *key, const void *at, size_t n)
{
    struct buf out = {0};
    json_add_string(&out, at ? at : "", n);
    printf(",\"%s\":%.*s", key, (int)buf_length(&out), (const char *)buf_data(&out));
    buf_free(&out);
}

static void begin_line(const char *event, size_t host)
{
    printf("{\"event\":\"%s\",\"at\":%.3f", event, (double)(clock_us() - began_us) / 1e6);
    print_text("host", engine_host(engine, host), strlen(engine_host(engine, host)));
}

static void on_message(void *user, size_t host, const struct message *m)
{
    (void)user;
    if (m->kind != MESSAGE_OUTPUT && m->kind != MESSAGE_RESULT && m->kind != MESSAGE_ITEM)
        return;
    if (!first_us)
        first_us = clock_us() - began_us;
    outputs++;
    if (slow_ms)
        usleep((useconds_t)slow_ms * 1000);
    if (quiet)
        return;
    begin_line(m->kind == MESSAGE_OUTPUT ? "output" : m->kind == MESSAGE_RESULT ? "result" : "item", host);
    if (m->kind == MESSAGE_OUTPUT)
        print_text("text", m->data.bytes.at, m->data.bytes.n);
    puts("}");
}

static void on_end(void *user, size_t host, struct message_end *e, const struct timing *t)
{
    (void)user;
    ended++;
    begin_line("end", host);
    printf(",\"outcome\":\"%s\",\"out\":%llu", outcome_name(e->outcome), (unsigned long long)e->out);
    print_text("message", e->message.at, e->message.n);
    printf(
        ",\"tries\":%u,\"wait\":%lld,\"look\":%lld,\"resolve\":%lld,\"connect\":%lld,\"exchange\":%lld,\"auth\":%lld,\"agent\":%lld,\"upload\":%lld,\"load\":%lld,\"run\":%lld,"
        "\"drain\":%lld,\"total\":%lld}\n",
        t->tries, (long long)t->wait_us, (long long)t->look_us, (long long)t->resolve_us, (long long)t->connect_us,
        (long long)t->exchange_us, (long long)t->auth_us, (long long)t->agent_us, (long long)t->upload_us,
        (long long)t->load_us, (long long)t->run_us, (long long)t->drain_us, (long long)t->total_us);
}

static void take_option(const char *key, char *value)
{
    static const struct {
        const char *name;
        enum transport_mode mode;
    } modes[] = {{"auto", TRANSPORT_AUTO}, {"libssh", TRANSPORT_LIBSSH}, {"ssh", TRANSPORT_SSH}};
    long n = strtol(value, NULL, 10);
    if (!strcmp(key, "config"))
        options.target.config_file = value;
    else if (!strcmp(key, "fanout"))
        options.fanout = (size_t)n;
    else if (!strcmp(key, "pumps"))
        options.pumps = (size_t)n;
    else if (!strcmp(key, "connect"))
        options.target.connect_timeout_ms = (int)n;
    else if (!strcmp(key, "timeout"))
        options.call.timeout_ms = (uint64_t)n;
    else if (!strcmp(key, "deadline"))
        options.deadline_ms = n;
    else if (!strcmp(key, "cancel"))
        cancel_ms = n;
    else if (!strcmp(key, "slow"))
        slow_ms = n;
    else if (!strcmp(key, "quiet"))
        quiet = n;
    else if (!strcmp(key, "input"))
        options.input_fd = open(value, O_RDONLY | O_CLOEXEC);
    else if (!strcmp(key, "template")) {
        options.target.mode = TRANSPORT_TEMPLATE;
        options.target.template_name = "template";
        options.target.template_text = value;
    }
    for (size_t i = 0; i < 3 && !strcmp(key, "mode"); i++)
        if (!strcmp(value, modes[i].name))
            options.target.mode = modes[i].mode;
}

static void take_words(int argc, char **argv)
{
    int i = 1;
    for (char *equals; i < argc && (equals = strchr(argv[i], '=')) && !strchr(argv[i], '{'); i++) {
        *equals = 0;
        take_option(argv[i], equals + 1);
    }
    if (argc - i < 3) {
        fputs("usage: fleet_probe [OPTION=VALUE ...] AGENT PLUGIN TYPE [JSON]\n", stderr);
        exit(2);
    }
    agent_path = argv[i];
    plugin_path = argv[i + 1];
    options.call.type = argv[i + 2];
    if (i + 3 < argc)
        state_json = argv[i + 3];
}

static void read_agent(struct agent_image *out)
{
    static struct buf plain, packed;
    static struct utsname uts;
    char path[4096];
    struct ssx_error err = {0};
    struct digest digest;
    snprintf(path, sizeof path, "%s.gz", agent_path);
    if (file_read(&plain, agent_path, 64u << 20, &err) || file_read(&packed, path, 64u << 20, &err))
        die("agent", &err);
    uname(&uts);
    digest_of(&digest, buf_data(&plain), buf_length(&plain));
    *out = (struct agent_image){.bytes = buf_data(&plain),
                                .size = buf_length(&plain),
                                .packed = buf_data(&packed),
                                .packed_size = buf_length(&packed)};
    snprintf(out->machine, sizeof out->machine, "%.31s", uts.machine);
    digest_hex(out->digest, &digest);
}

static void read_call(struct client_request *call)
{
    static struct buf plugin, state;
    static struct digest digest;
    struct ssx_error err = {0};
    if (file_read(&plugin, plugin_path, 64u << 20, &err))
        die("plugin", &err);
    digest_of(&digest, buf_data(&plugin), buf_length(&plugin));
    call->digest = &digest;
    call->object = buf_data(&plugin);
    call->object_size = buf_length(&plugin);
    if (json_to_msgpack(&state, state_json, strlen(state_json), &err))
        die("state", &err);
    call->state = buf_data(&state);
    call->state_size = buf_length(&state);
}

/* The engine borrows states to the end. */
static struct owned { struct owned *next; struct buf buf; } *states;

static struct buf *new_state(void)
{
    struct owned *o = calloc(1, sizeof *o);
    if (!o)
        die("state", &(struct ssx_error){SSX_ERROR_SYSTEM, "out of memory"});
    o->next = states;
    states = o;
    return &o->buf;
}

static void free_states(void)
{
    for (struct owned *next; states; states = next) {
        next = states->next;
        buf_free(&states->buf);
        free(states);
    }
}

static void add_hosts(void)
{
    char line[1024];
    struct ssx_error err = {0};
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *json = strchr(line, ' ');
        struct buf *state = json ? new_state() : NULL;
        if (json)
            *json++ = 0;
        if (json && json_to_msgpack(state, json, strlen(json), &err))
            die("state", &err);
        if (*line && engine_add(engine, line, json ? buf_data(state) : NULL, json ? buf_length(state) : 0, &err))
            die("host", &err);
    }
}

static void work(void)
{
    size_t left = 1;
    while (left) {
        int64_t passed = (clock_us() - began_us) / 1000;
        left = engine_work(engine, cancel_ms ? (cancel_ms > passed ? (int)(cancel_ms - passed) : 100) : -1);
        if (cancel_ms && (clock_us() - began_us) / 1000 >= cancel_ms)
            engine_cancel(engine);
    }
}

/* The most that this program ever had resident. Not ru_maxrss: that goes on from whoever forked us. */
static long peak_kb(void)
{
    char line[256];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %ld", &kb) != 1)
        ;
    if (f)
        fclose(f);
    return kb;
}

int main(int argc, char **argv)
{
    static struct agent_image agent;
    struct ssx_error err = {0};
    struct rusage own, children;
    size_t fanout = 0;
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    take_words(argc, argv);
    read_agent(&agent);
    read_call(&options.call);
    options.agent = &agent;
    options.listener = (struct engine_listener){.on_message = on_message, .on_end = on_end};
    began_us = clock_us();
    if (engine_new(&engine, &options, &err))
        die("engine", &err);
    add_hosts();
    if (engine_start(engine, &fanout, &err))
        die("start", &err);
    work();
    int64_t took = clock_us() - began_us;
    engine_free(engine);
    free_states();
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    printf(
        "{\"event\":\"summary\",\"ended\":%zu,\"outputs\":%zu,\"fanout\":%zu,\"seconds\":%.3f,\"closed\":%.3f,\"first\":%.3f,\"cpu\":%.3f,\"rss_kb\":%ld}\n",
        ended, outputs, fanout, (double)took / 1e6, (double)(clock_us() - began_us) / 1e6, (double)first_us / 1e6,
        (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
            (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec +
                     children.ru_stime.tv_usec) /
                1e6,
        peak_kb());
    return 0;
}
