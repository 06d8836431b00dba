#include "fan_out.h"

#include "fan_run.h"
#include "interrupt.h"
#include "scatter.h"
#include "state_map.h"
#include "tool.h"

#include "base/error.h"
#include "base/io.h"
#include "wire/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The call in the making: its states, its items. */
struct fan {
    const struct settings *settings;
    char *const *names;
    size_t count;
    struct fan_call call;
    struct scatter scatter;
};

/* --- stdin for all --- */

/* Into a file without a name, for each host reads it at its own pace, some not before others have ended. */
static int spool(int *out, struct ssx_error *err)
{
    char piece[65536];
    const char *dir = getenv("TMPDIR");
    ssize_t n;
    *out = open(dir && *dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*out < 0)
        return error_system(err, "can't keep stdin for all hosts in a temporary file (-n: no input)");
    while ((n = read(STDIN_FILENO, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR && !interrupt_count())
            continue;
        if (n < 0 || fd_write_all(*out, piece, (size_t)n))
            return interrupt_count() ? error_set(err, SSX_ERROR_INTERRUPTED, "interrupted")
                                     : error_system(err, "can't keep stdin for all hosts in a temporary file");
    }
    return 0;
}

static int open_input(int *out, struct ssx_error *err)
{
    struct stat st;
    if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && lseek(STDIN_FILENO, 0, SEEK_CUR) == 0) {
        *out = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        return *out < 0 ? error_system(err, "can't read stdin") : 0;
    }
    return spool(out, err);
}

/* --- states --- */

static int make_host_state(struct fan *f, size_t i, const struct word_list *words, const struct state_map *map, struct ssx_error *err)
{
    struct word_host host = {.state = NULL};
    const struct transport_target target = {.host = f->names[i], .login = f->settings->login, .port = f->settings->port};
    if (target_split(&host.parts, &target, err))
        return -1;
    snprintf(host.number, sizeof host.number, "%zu", i);
    if (f->settings->state_map && !(host.state = state_map_find(map, f->names[i], &host.state_size)))
        return error_set(err, SSX_ERROR_USAGE, "--state-map %s has no state for %s", f->settings->state_map, f->names[i]);
    return words_state(&f->call.states[i], words, &host, err) ? error_prefix(err, "%s", f->names[i]) : 0;
}

/* What is dealt, with the first of it in the states that are made next, for checking: each of the others then has its
 * place there. */
static int make_items(struct fan *f, struct word_list *words, struct word *first, struct ssx_error *err)
{
    struct scatter *d = &f->scatter;
    if (!f->settings->scatter)
        return 0;
    if (scatter_read(d, f->settings, words, err) || scatter_type(d, f->settings, words, err))
        return -1;
    if (scatter_labels(&f->call.labels, d->secret ? NULL : d->texts, d->count))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu items", d->count);
    *first = (struct word){.name = d->field, .operator = d->operator, .value = d->texts[0].at, .n = d->texts[0].n};
    words->last = first;
    return 0;
}

/* All of them, before any is sent. */
static int make_states(struct fan *f, const struct word_list *words, struct ssx_error *err)
{
    struct state_map map = {0};
    if (!words->by_host && !f->settings->state_map)
        return words_state(&f->call.state, words, NULL, err);
    f->call.states = calloc(f->count, sizeof *f->call.states);
    int rc = f->call.states ? 0 : error_set(err, SSX_ERROR_SYSTEM, "out of memory for %zu states", f->count);
    if (rc == 0 && f->settings->state_map)
        rc = state_map_read(&map, f->settings->state_map, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++)
        rc = make_host_state(f, i, words, &map, err);
    state_map_free(&map);
    return rc;
}

static bool takes_input(const struct fan *f, const struct word_list *words)
{
    bool map_is_stdin = f->settings->state_map && strcmp(f->settings->state_map, "-") == 0;
    bool wanted = (f->call.type->plugin.descriptor.traits & TRAIT_TAKES_INPUT) && !f->settings->no_input;
    return wanted && !words->read_stdin && !map_is_stdin && !scatter_reads_stdin(f->settings) && !isatty(STDIN_FILENO);
}

static void dispose(struct fan *f)
{
    fd_close(&f->call.input_fd);
    buf_free(&f->call.state);
    for (size_t i = 0; f->call.states && i < f->count; i++)
        buf_free(&f->call.states[i]);
    free(f->call.states);
    scatter_labels_free(f->call.labels, f->scatter.count);
    scatter_free(&f->scatter);
}

int fan_out(const struct settings *s, const struct fan_hosts *hosts, const struct type *type, const char *name,
            const struct word_list *words)
{
    struct fan f = {.settings = s,
                    .names = hosts->names,
                    .count = hosts->count,
                    .call = {.type = type, .name = name, .input_fd = -1}};
    struct ssx_error err = {0};
    struct word_list all = *words;
    struct word first;
    int interrupt_fd = interrupt_watch();
    f.call.scatter = &f.scatter;
    int rc = make_items(&f, &all, &first, &err);
    if (rc == 0)
        rc = make_states(&f, &all, &err);
    if (rc == 0 && takes_input(&f, words))
        rc = open_input(&f.call.input_fd, &err);
    int code = rc ? (interrupt_count() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err))
                  : fan_run(s, hosts, &f.call, interrupt_fd);
    dispose(&f);
    return code;
}
