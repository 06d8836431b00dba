#include "fleet/session.h"

#include "base/error.h"
#include "base/text.h"
#include "fleet/options.h"
#include "fleet/own.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <limits.h>
#include <stdlib.h>

#define PULL_ALL (SSX_PULL_STDOUT | SSX_PULL_STDERR | SSX_PULL_ITEMS)
#define MEMORY_MAX (256u << 20) /* of a decoded value: a list of small maps can ask for many times its own size */

/* --- which run has that id --- */

/* Twice the chains as soon as there are more runs than chains. */
static int grow(struct ssx_session *s)
{
    size_t count = s->open ? 2 * (s->open_mask + 1) : 16;
    struct ssx_run **chains = calloc(count, sizeof *chains);
    if (!chains)
        return -1;
    for (size_t i = 0; s->open && i <= s->open_mask; i++)
        for (struct ssx_run *run = s->open[i], *next; run; run = next) {
            next = run->next_open;
            run->next_open = chains[run->id & (count - 1)];
            chains[run->id & (count - 1)] = run;
        }
    free(s->open);
    s->open = chains;
    s->open_mask = count - 1;
    return 0;
}

int session_reserve(struct ssx_session *s) { return !s->open || s->open_count > s->open_mask ? grow(s) : 0; }

void session_know(struct ssx_session *s, struct ssx_run *run)
{
    run->next_open = s->open[run->id & s->open_mask];
    s->open[run->id & s->open_mask] = run;
    s->open_count++;
}

struct ssx_run *session_run(const struct ssx_session *s, uint32_t id)
{
    struct ssx_run *run = s->open ? s->open[id & s->open_mask] : NULL;
    while (run && run->id != id)
        run = run->next_open;
    return run;
}

void session_forget(struct ssx_session *s, struct ssx_run *run)
{
    struct ssx_run **link = s->open ? &s->open[run->id & s->open_mask] : NULL;
    while (link && *link && *link != run)
        link = &(*link)->next_open;
    if (!link || !*link)
        return;
    *link = run->next_open;
    s->open_count--;
}

/* --- types --- */

/* Brought to the front: the next run is most likely of the same type. */
static struct known_type *recall(struct ssx_session *s, const char *word)
{
    for (struct known_type **link = &s->types, *t; (t = *link); link = &t->next)
        if (!strcmp(t->word, word)) {
            *link = t->next;
            t->next = s->types;
            return s->types = t;
        }
    return NULL;
}

/* What this end has of a type. One that it lacks is no error: the node may have it. */
static struct known_type *know_type(struct ssx_session *s, const char *word, struct ssx_error *err)
{
    char system[PATH_MAX];
    struct ssx_error why = {0};
    struct known_type *t = recall(s, word);
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (!t || !(t->word = strdup(word))) {
        free(t);
        error_set(err, SSX_ERROR_SYSTEM, "can't run %s: out of memory", word);
        return NULL;
    }
    t->here = type_find(&t->type, word, s->plugin_path, own_plugin_dir(system, sizeof system), &why) == 0;
    if (!t->here && !(why.code == SSX_ERROR_UNKNOWN_TYPE && text_is_type_name(word))) {
        error_set(err, why.code, "%s", why.text);
        free(t->word);
        free(t);
        return NULL;
    }
    t->next = s->types;
    return s->types = t;
}

/* --- a run's life --- */

static void join_runs(struct ssx_session *s, struct ssx_run *run)
{
    run->next = s->runs;
    if (s->runs)
        s->runs->previous = run;
    s->runs = run;
}

static void leave_runs(struct ssx_run *run)
{
    if (run->previous)
        run->previous->next = run->next;
    else
        run->session->runs = run->next;
    if (run->next)
        run->next->previous = run->previous;
}

static int check_state(const char *type, const void *state, size_t n, struct ssx_error *err)
{
    if (!state || !value_scan(state, n, err))
        return 0;
    if (err)
        err->code = SSX_ERROR_REFUSED;
    return error_prefix(err, "the state for %s", type);
}

int ssx_run_start(struct ssx_run **out, struct ssx_session *session, const char *type, const void *state, size_t n,
                  const struct ssx_run_options *options, struct ssx_error *err)
{
    static const unsigned char no_fields[] = {0x80}; /* msgpack: an empty map */
    *out = NULL;
    if (session->link.ended)
        return error_set(err, SSX_ERROR_UNREACHABLE, "the session has ended: %s", session->error.text);
    struct ssx_run *run = calloc(1, sizeof *run);
    if (!run)
        return error_set(err, SSX_ERROR_SYSTEM, "can't run %s: out of memory", type);
    run->session = session;
    run->memory.limit = run->item_memory.limit = MEMORY_MAX;
    int rc = options_take_run(&run->o, options, err);
    if (rc == 0 && run->o.pull & ~PULL_ALL)
        rc = error_set(err, SSX_ERROR_USAGE, "pull holds bits that mean nothing: 0x%x", run->o.pull & ~PULL_ALL);
    if (rc == 0 && check_state(type, state, n, err) == 0)
        run->type = know_type(session, type, err);
    if (!run->type || queue_start(run, state ? state : no_fields, state ? n : 1, err)) {
        run_destroy(run);
        return -1;
    }
    session->running++;
    join_runs(session, run);
    session_queued(session);
    *out = run;
    return 0;
}

int ssx_run_start_struct(struct ssx_run **out, struct ssx_session *session, const char *type,
                         const struct ssx_schema *schema, const void *in, const struct ssx_run_options *options,
                         struct ssx_error *err)
{
    struct buf state = {0};
    *out = NULL;
    int rc = codec_encode(schema, in, &state, true, err);
    if (rc == 0)
        rc = ssx_run_start(out, session, type, buf_data(&state), buf_length(&state), options, err);
    else
        error_prefix(err, "the state for %s", type);
    buf_free(&state);
    return rc;
}

void run_destroy(struct ssx_run *run)
{
    buf_free(&run->waiting_state);
    buf_free(&run->streams[0]);
    buf_free(&run->streams[1]);
    buf_free(&run->items);
    buf_free(&run->item);
    buf_free(&run->result);
    buf_free(&run->state);
    arena_free(&run->item_memory);
    arena_free(&run->memory);
    free(run->ending_texts);
    free(run);
}

void ssx_run_free(struct ssx_run *run)
{
    struct ssx_session *s = run ? run->session : NULL;
    if (!run || run->freed)
        return;
    if (s) {
        s->running -= !run->ended;
        ssx_run_cancel(run);
        queue_leave(run);
        session_forget(s, run);
        leave_runs(run);
    }
    run->freed = true;
    if (!s || s->calling != run) /* else when its callback has returned */
        run_destroy(run);
}

void run_consumed(struct ssx_run *run, size_t n)
{
    n = n < run->unread ? n : run->unread; /* a cancel has told of all */
    run->unread -= n;
    if (run->ended || !n)
        return;
    client_consumed(run->session->link.client, run->id, n);
    session_queued(run->session);
}

void ssx_run_cancel(struct ssx_run *run)
{
    if (run->ended || run->cancelled)
        return;
    run->cancelled = true;
    run->session->cancelled_waiting += run->waits;
    run_consumed(run, run->unread); /* or its worker might wait for room, and its end behind what it has written */
    client_cancel(run->session->link.client, run->id);
    session_queued(run->session);
}

static bool run_has_ended(const void *run) { return ((const struct ssx_run *)run)->ended; }

int ssx_run_wait(struct ssx_run *run, int timeout_ms, struct ssx_error *err)
{
    return run->ended ? 0 : session_until(run->session, run_has_ended, run, timeout_ms, err);
}

struct ssx_session *ssx_run_session(const struct ssx_run *run) { return run->session; }
void *ssx_run_context(const struct ssx_run *run) { return run->o.context; }

/* --- input --- */

static size_t input_room(const struct ssx_run *run) { return client_input_room(run->session->link.client, run->id); }
static bool takes_or_ended(const void *run) { return ((const struct ssx_run *)run)->ended || input_room(run) > 0; }

ssize_t ssx_run_write(struct ssx_run *run, const void *bytes, size_t n, int timeout_ms, struct ssx_error *err)
{
    if (!run->o.input)
        return error_set(err, SSX_ERROR_USAGE, "the run was started without input");
    if (run->input_ended)
        return error_set(err, SSX_ERROR_USAGE, "the input has been ended already");
    if (!takes_or_ended(run)) {
        int rc = timeout_ms == 0 && run->session->in_callback
                     ? SSX_AGAIN
                     : session_until(run->session, takes_or_ended, run, timeout_ms, err);
        if (rc)
            return rc;
    }
    if (run->ended)
        return error_set(err, SSX_ERROR_USAGE, "the run has ended: %s", run->ending.text);
    size_t taken = client_input(run->session->link.client, run->id, bytes, n > SSIZE_MAX ? SSIZE_MAX : n);
    session_queued(run->session);
    return (ssize_t)taken;
}

void ssx_run_write_end(struct ssx_run *run)
{
    if (run->ended || run->input_ended || !run->o.input)
        return;
    run->input_ended = true;
    client_input_end(run->session->link.client, run->id);
    session_queued(run->session);
}
