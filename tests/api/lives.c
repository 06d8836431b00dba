/* Sessions: how they begin, break and are closed, and what they leave alone in the program. */
#include "api.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static void never(void *context, struct ssx_run *run)
{
    (void)context, (void)run;
    CHECK(!"a callback after the session was closed");
}

static void closed_under_its_runs(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    struct ssx_error err = {0};
    char byte;
    o.on_end = never;
    o.input = true;
    o.pull = SSX_PULL_STDOUT;
    struct ssx_run *first = run_json(s, "sleep", "{\"ms\":60000}", &o), *second = run_json(s, "hello", NULL, &o);
    ssx_session_close(s);
    CHECK(ssx_run_outcome(first) == SSX_OUTCOME_LOST && ssx_run_exit_code(second) == 255 && strstr(ssx_run_ending(first)->text, "closed"));
    CHECK(!ssx_run_session(first) && ssx_run_wait(first, -1, &err) == 0 && ssx_run_read(first, SSX_STDOUT, &byte, 1, -1, &err) == 0);
    CHECK(ssx_run_write(first, "x", 1, -1, &err) == -1 && err.code == SSX_ERROR_USAGE);
    ssx_run_write_end(first);
    ssx_run_cancel(first);
    ssx_run_free(first);
    ssx_run_free(second);
    ssx_run_free(NULL);
    ssx_session_close(NULL);
}

static int ends;
static void count_loss(void *context, struct ssx_run *run)
{
    (void)context;
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_LOST);
    ends++;
}

static const char kill_agent[] = "p=$PPID; for i in 1 2; do p=$(sed -n 's/^PPid:.//p' /proc/$p/status); done; kill -9 $p; sleep 60";

/* The agent dies under two runs: both are lost, the session says why, nothing more can be started, and no SIGPIPE
 * comes. */
static void a_broken_link_loses_its_runs(void)
{
    struct ssx_session *s = session_here();
    struct ssx_run_options o = ssx_run_defaults();
    struct ssx_error err = {0};
    struct ssx_run *none;
    static const char block[100000];
    o.on_end = count_loss;
    o.input = true;
    struct ssx_run *first = run_json(s, "sleep", "{\"ms\":60000}", &o), *second = run_shell(s, kill_agent, &o);
    while (ends < 2) {
        ssx_run_write(second, block, sizeof block, 0, NULL);
        ssx_session_step(s, 1000, NULL);
    }
    CHECK(ssx_run_exit_code(first) == 255 && ssx_session_wait(s, -1, &err) == 0);
    CHECK(ssx_session_step(s, -1, &err) == -1 && (err.code == SSX_ERROR_UNREACHABLE || err.code == SSX_ERROR_PROTOCOL) && *err.text);
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_run_start(&none, s, "hello", NULL, 0, NULL, &err) == -1 && err.code == SSX_ERROR_UNREACHABLE && !none);
    ssx_run_free(first);
    ssx_session_close(s);
    ssx_run_free(second);
}

static void an_unreachable_host(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    o.port = 1;
    CHECK(ssx_session_open(&s, "127.0.0.1", &o, &err) == -1 && !s && err.code == SSX_ERROR_UNREACHABLE &&
          ssx_error_exit_code(err.code) == 255);
}

static void options_are_checked(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct { struct ssx_session_options known; char more[16]; } newer = {place.options, ""};
    struct ssx_session_options none, wrong = place.options;
    memset(&none, 0, sizeof none);
    CHECK(ssx_session_open(&s, place.host, &none, &err) == -1 && err.code == SSX_ERROR_USAGE && strstr(err.text, "ssx_session_defaults"));
    err.code = SSX_ERROR_NONE;
    wrong.transport = "carrier-pigeon";
    CHECK(ssx_session_open(&s, place.host, &wrong, &err) == -1 && err.code == SSX_ERROR_USAGE && strstr(err.text, "carrier-pigeon"));
    err.code = SSX_ERROR_NONE;
    newer.known.size = sizeof newer;
    newer.more[3] = 1;
    CHECK(ssx_session_open(&s, place.host, &newer.known, &err) == -1 && err.code == SSX_ERROR_USAGE && strstr(err.text, "newer"));
    err.code = SSX_ERROR_NONE;
    newer.more[3] = 0; /* a newer header whose new fields are not used */
    MUST(ssx_session_open(&s, place.host, &newer.known, &err));
    ssx_session_close(s);
}

static void a_program_gives_up(void)
{
    int interrupt[2];
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    CHECK(pipe2(interrupt, O_CLOEXEC) == 0);
    o.interrupt_fd = interrupt[0];
    MUST(ssx_session_open(&s, place.host, &o, &err));
    struct ssx_run *run = run_json(s, "sleep", "{\"ms\":60000}", NULL);
    CHECK(write(interrupt[1], "", 1) == 1);
    CHECK(ssx_run_wait(run, -1, &err) == -1 && err.code == SSX_ERROR_INTERRUPTED && ssx_run_outcome(run) == -1);
    ssx_run_free(run);
    ssx_session_close(s);
    err.code = SSX_ERROR_NONE;
    CHECK(ssx_session_open(&s, place.host, &o, &err) == -1 && err.code == SSX_ERROR_INTERRUPTED && !s);
    close(interrupt[0]);
    close(interrupt[1]);
}

static int give_up_fd;
static void give_up_on_output(void *context, struct ssx_run *run, int stream, const void *bytes, size_t n)
{
    (void)context, (void)run, (void)stream, (void)bytes, (void)n;
    const struct timespec slower_than_the_host = {0, 2000000};
    CHECK(write(give_up_fd, "", 1) == 1);
    nanosleep(&slower_than_the_host, NULL);
}

/* Nothing has to be waited for there: there is always more. */
static void a_program_gives_up_under_a_flood(void)
{
    int interrupt[2];
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    struct ssx_run_options how = ssx_run_defaults();
    CHECK(pipe2(interrupt, O_CLOEXEC | O_NONBLOCK) == 0);
    o.interrupt_fd = interrupt[0];
    give_up_fd = interrupt[1];
    how.on_output = give_up_on_output;
    MUST(ssx_session_open(&s, place.host, &o, &err));
    struct ssx_run *run = run_json(s, "flood", "{\"bytes\":300000000}", &how);
    CHECK(ssx_run_wait(run, -1, &err) == -1 && err.code == SSX_ERROR_INTERRUPTED && ssx_run_outcome(run) == -1);
    ssx_run_free(run);
    ssx_session_close(s);
    close(interrupt[0]);
    close(interrupt[1]);
}

/* Any command that gives a byte pipe; here the agent itself, named by its path. */
static void a_command_as_transport(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    o.transport = NULL;
    o.transport_command = "env SSX_NOTHING=1 %c";
    MUST(ssx_session_open(&s, "anything", &o, &err));
    CHECK(!strcmp(ssx_session_transport(s), "command"));
    struct ssx_run *run = run_json(s, "hello", NULL, NULL);
    await(run);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(s);
}

static size_t said;
static void hear_stderr(void *context, const void *bytes, size_t n)
{
    CHECK(context == &said);
    said += n;
    (void)bytes;
}

static int levels;
static void hear_log(void *context, int level, const char *text)
{
    CHECK(context == &said && *text);
    levels += level;
}

static void a_host_that_talks_beside_the_protocol(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    o.context = &said;
    o.on_stderr = hear_stderr;
    o.on_log = hear_log;
    o.transport = NULL;
    o.transport_command = "/bin/sh -c 'echo warning >&2; exec \"$@\"' sh %c";
    MUST(ssx_session_open(&s, "anything", &o, &err));
    CHECK(said == 8 && levels > 0);
    ssx_session_close(s);
    o.transport_command = "/bin/sh -c \"echo this way is closed >&2\" sh %c";
    CHECK(ssx_session_open(&s, "anything", &o, &err) == -1 && strstr(err.text, "this way is closed"));
}

/* Two at once is all that this agent takes: the others wait here, in order, and can be cancelled and freed there. */
static int told;
static void count_told(void *context, struct ssx_run *run)
{
    told += ssx_run_outcome(run) == *(int *)context;
}

static struct ssx_session *session_of_two(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    static char command[4200];
    snprintf(command, sizeof command, "/bin/sh -c 'exec %s --max-calls 2' sh %%c", place.options.agent_file);
    o.transport = NULL;
    o.transport_command = command;
    MUST(ssx_session_open(&s, "anything", &o, &err));
    return s;
}

static void runs_wait_their_turn(void)
{
    int ok = SSX_OUTCOME_OK, cancelled = SSX_OUTCOME_CANCELLED;
    struct ssx_session *s = session_of_two();
    struct ssx_run_options o = ssx_run_defaults(), gone = ssx_run_defaults();
    struct ssx_run *runs[6];
    char text[8] = "";
    struct pollfd p = {ssx_session_fd(s), POLLIN, 0};
    o.context = &ok;
    o.on_end = count_told;
    o.input = true;
    o.pull = SSX_PULL_STDOUT;
    gone = o;
    gone.context = &cancelled;
    for (int i = 0; i < 6; i++)
        runs[i] = run_shell(s, "cat", i == 3 ? &gone : &o);
    while (ssx_session_step(s, 100, NULL) == 0)
        ;
    CHECK(ssx_session_running(s) == 6 && ssx_run_write(runs[5], "early", 5, 100, NULL) == SSX_AGAIN);
    ssx_run_cancel(runs[3]);
    CHECK(poll(&p, 1, 0) == 1 && told == 0); /* told by the next step, not from within the cancel */
    CHECK(ssx_session_step(s, 0, NULL) == 0 && told == 1 && ssx_run_outcome(runs[3]) == SSX_OUTCOME_CANCELLED);
    ssx_run_free(runs[4]);
    CHECK(ssx_session_running(s) == 4);
    ssx_run_write_end(runs[2]); /* before it has begun */
    CHECK(ssx_run_wait(runs[2], 100, NULL) == SSX_AGAIN);
    ssx_run_write_end(runs[0]);
    await(runs[2]);
    CHECK(ssx_run_write(runs[5], "late", 4, 30000, NULL) == 4);
    ssx_run_write_end(runs[5]);
    ssx_run_write_end(runs[1]);
    CHECK(ssx_session_wait(s, 30000, NULL) == 0 && told == 5 &&
          ssx_run_read(runs[5], SSX_STDOUT, text, 8, 0, NULL) == 4 && !strcmp(text, "late"));
    for (int i = 0; i < 6; i++)
        if (i != 4)
            ssx_run_free(runs[i]);
    ssx_session_close(s);
}

static void start_again(void *context, struct ssx_run *run)
{
    struct ssx_error err = {0};
    struct ssx_run *none;
    (void)context;
    told += ssx_run_outcome(run) == SSX_OUTCOME_UNREACHABLE;
    CHECK(ssx_run_start(&none, ssx_run_session(run), "hello", NULL, 0, NULL, &err) == -1 && err.code == SSX_ERROR_UNREACHABLE);
}

/* What was never sent is `unreachable`, not `lost`: it may be tried elsewhere. */
static void runs_that_wait_when_the_link_breaks(void)
{
    struct ssx_session *s = session_of_two();
    struct ssx_run_options o = ssx_run_defaults();
    struct ssx_run *runs[6];
    o.on_end = start_again;
    for (int i = 0; i < 6; i++)
        runs[i] = i ? run_json(s, "sleep", "{\"ms\":60000}", &o) : run_shell(s, kill_agent, &o);
    CHECK(ssx_session_wait(s, 30000, NULL) == 0 && told == 4);
    CHECK(ssx_run_outcome(runs[1]) == SSX_OUTCOME_LOST && ssx_run_outcome(runs[2]) == SSX_OUTCOME_UNREACHABLE);
    for (int i = 0; i < 6; i++)
        ssx_run_free(runs[i]);
    ssx_session_close(s);
}

/* --- the host's part --- */

static int asked;
static int answer(void *context, const char *prompt, bool echo, char *out, size_t size)
{
    CHECK(context == &asked && strstr(prompt, "passphrase") && !echo);
    asked++;
    snprintf(out, size, "secret");
    return 0;
}

static void a_question_is_answered(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    const char *keys[] = {place.key, NULL}, *options[] = {"IdentitiesOnly=yes", NULL};
    o.identities = keys;
    o.options = options;
    CHECK(ssx_session_open(&s, place.host, &o, &err) == -1 && err.code == SSX_ERROR_UNREACHABLE); /* nobody to ask */
    err.code = SSX_ERROR_NONE;
    o.context = &asked;
    o.on_question = answer;
    MUST(ssx_session_open(&s, place.host, &o, &err));
    CHECK(asked == 1);
    ssx_session_close(s);
}

static void nothing_is_left_or_nothing_brought(void)
{
    struct ssx_session *s;
    struct ssx_error err = {0};
    struct ssx_session_options o = place.options;
    o.bootstrap = SSX_BOOTSTRAP_EPHEMERAL;
    MUST(ssx_session_open(&s, place.host, &o, &err));
    struct ssx_run *run = run_json(s, "hello", NULL, NULL);
    await(run);
    CHECK(ssx_run_outcome(run) == SSX_OUTCOME_OK);
    ssx_run_free(run);
    ssx_session_close(s);
    o.bootstrap = SSX_BOOTSTRAP_NEVER;
    CHECK(ssx_session_open(&s, place.host, &o, &err) == -1 && err.code == SSX_ERROR_UNREACHABLE && strstr(err.text, "no-bootstrap"));
}

/* --- the program's own --- */

struct own { struct sigaction actions[32]; sigset_t mask; bool fds[256]; };

/* Those that are open; any that was not open before must close on exec. */
static void list_fds(bool out[256], const bool before[256])
{
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        int fd = atoi(e->d_name);
        if (e->d_name[0] == '.')
            continue;
        CHECK(fd < 256);
        out[fd] = true;
        CHECK(!before || before[fd] || fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    closedir(dir);
}

static void look(struct own *out, const struct own *before)
{
    memset(out, 0, sizeof *out);
    for (int i = 1; i < 32; i++)
        if (i != SIGKILL && i != SIGSTOP)
            sigaction(i, NULL, &out->actions[i]);
    sigprocmask(SIG_BLOCK, NULL, &out->mask);
    list_fds(out->fds, before ? before->fds : NULL);
}

static void nothing_of_the_program_changes(void)
{
    struct own before, during, after;
    for (int i = 0; i < 2; i++) { /* libraries below may set up their own once */
        struct ssx_session *first = session_here();
        ssx_session_close(first);
        look(&before, NULL);
    }
    struct ssx_session *s = session_here();
    struct ssx_run *run = run_json(s, "hello", NULL, NULL);
    CHECK(ssx_session_fd(s) >= 0);
    await(run);
    look(&during, &before);
    ssx_run_free(run);
    ssx_session_close(s);
    look(&after, &before);
    CHECK(!memcmp(after.fds, before.fds, sizeof before.fds));
    for (int i = 1; i < 32; i++)
        CHECK(before.actions[i].sa_handler == during.actions[i].sa_handler && before.actions[i].sa_handler == after.actions[i].sa_handler);
    CHECK(!memcmp(&before.mask, &during.mask, sizeof before.mask) && !memcmp(&before.mask, &after.mask, sizeof before.mask));
}

const struct api_case life_cases[] = {
    {"closed_under_its_runs", closed_under_its_runs},
    {"a_broken_link_loses_its_runs", a_broken_link_loses_its_runs},
    {"an_unreachable_host", an_unreachable_host},
    {"options_are_checked", options_are_checked},
    {"a_program_gives_up", a_program_gives_up},
    {"a_program_gives_up_under_a_flood", a_program_gives_up_under_a_flood},
    {"a_command_as_transport", a_command_as_transport},
    {"runs_wait_their_turn", runs_wait_their_turn},
    {"runs_that_wait_when_the_link_breaks", runs_that_wait_when_the_link_breaks},
    {"a_question_is_answered", a_question_is_answered},
    {"nothing_is_left_or_nothing_brought", nothing_is_left_or_nothing_brought},
    {"a_host_that_talks_beside_the_protocol", a_host_that_talks_beside_the_protocol},
    {"nothing_of_the_program_changes", nothing_of_the_program_changes},
    {NULL, NULL},
};
