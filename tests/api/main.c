/* api --list, or api CASE [host=H config=F transport=T agent=FILE plugins=DIRS zoo=DIR key=FILE old=BUNDLE new=BUNDLE]:
 * silent and 0 where the case holds. */
#include "api.h"

#include <time.h>
#include <unistd.h>

struct place place;

void failed(const char *file, int line, const char *what, const struct ssx_error *err)
{
    printf("%s:%d: %s%s%s\n", file, line, what, err ? ": " : "", err ? err->text : "");
    fflush(stdout);
    _exit(1);
}

struct ssx_session *session_here(void)
{
    struct ssx_error err = {0};
    struct ssx_session *s;
    MUST(ssx_session_open(&s, place.host, &place.options, &err));
    return s;
}

struct ssx_run *run_json(struct ssx_session *s, const char *type, const char *json, const struct ssx_run_options *o)
{
    struct ssx_error err = {0};
    struct ssx_run *run;
    void *state;
    size_t n;
    MUST(ssx_value_from_json(&state, &n, json ? json : "{}", strlen(json ? json : "{}"), &err));
    MUST(ssx_run_start(&run, s, type, state, n, o, &err));
    ssx_value_free(state);
    return run;
}

struct ssx_run *run_shell(struct ssx_session *s, const char *command, const struct ssx_run_options *o)
{
    char json[2048];
    snprintf(json, sizeof json, "{\"cmd\":\"%s\"}", command);
    return run_json(s, "exec", json, o);
}

void await(struct ssx_run *run)
{
    struct ssx_error err = {0};
    MUST(ssx_run_wait(run, 60000, &err));
}

long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

long rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%*d %ld", &pages) == 1);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

void nap_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL); }

static const struct api_case *const all[] = {
    run_cases,  stream_cases, flow_cases,  loop_cases,  callback_cases,
    life_cases, thread_cases, fleet_cases, joint_cases, bundle_cases,
};

static void take_word(char *word)
{
    char *value = strchr(word, '=');
    CHECK(value);
    *value++ = 0;
    const struct { const char *key; const char **to;
    } known[] = {
        {"host", &place.host},
        {"config", &place.options.config_file},
        {"transport", &place.options.transport},
        {"agent", &place.options.agent_file},
        {"plugins", &place.options.plugin_path},
        {"zoo", &place.zoo},
        {"key", &place.key},
        {"old", &place.bundles[0]},
        {"new", &place.bundles[1]},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(word, known[i].key))
            *known[i].to = value;
}

int main(int argc, char **argv)
{
    place.options = ssx_session_defaults();
    for (int i = 2; i < argc; i++)
        take_word(argv[i]);
    for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++)
        for (const struct api_case *c = all[i]; c->name; c++) {
            if (!strcmp(argv[1], "--list"))
                puts(c->name);
            if (strcmp(argv[1], c->name))
                continue;
            c->run();
            return 0;
        }
    return argc > 1 && !strcmp(argv[1], "--list") ? 0 : 2;
}
