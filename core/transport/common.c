#include "transport/common.h"

#include "base/error.h"
#include "transport/words.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One list of files and its index. Hosts mostly share one; a Match block may name another. */
struct shelf {
    struct shelf *next;
    struct words files;
    struct known_hosts *index;
};

struct common {
    pthread_mutex_t lock;
    struct shelf *shelves;
    struct answer_classes *answers;
    struct bastions *bastions;
};

int common_new(struct common **out, struct ssx_error *err)
{
    struct common *c = calloc(1, sizeof *c);
    if (!c || !(c->answers = answer_classes_new()) || !(c->bastions = bastions_new())) {
        answer_classes_free(c ? c->answers : NULL);
        free(c);
        return error_set(err, SSX_ERROR_SYSTEM, "can't start a run: out of memory");
    }
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return 0;
}

void common_free(struct common *c)
{
    if (!c)
        return;
    bastions_free(c->bastions);
    for (struct shelf *s = c->shelves, *next; s; s = next) {
        next = s->next;
        words_free(&s->files);
        known_hosts_free(s->index);
        free(s);
    }
    answer_classes_free(c->answers);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct answer_classes *common_answers(struct common *c) { return c->answers; }
struct bastions *common_bastions(struct common *c) { return c->bastions; }

static bool holds(const struct shelf *s, const char *const *files, size_t count)
{
    bool same = s->files.n == count;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(s->files.at[i], files[i]) == 0;
    return same;
}

/* With the lock: those who come meanwhile would have to read the same. */
static struct shelf *make(struct common *c, const char *const *files, size_t count, struct ssx_error *err)
{
    struct shelf *s = calloc(1, sizeof *s);
    for (size_t i = 0; s && i < count; i++)
        words_add(&s->files, files[i]);
    if (!s || s->files.failed || known_hosts_load(&s->index, files, count, err)) {
        error_set(err, SSX_ERROR_SYSTEM, "can't read known_hosts: out of memory");
        if (s)
            words_free(&s->files);
        free(s);
        return NULL;
    }
    s->next = c->shelves;
    return c->shelves = s;
}

int common_known_hosts(struct common *c, const struct known_hosts **out, const char *const *files, size_t count, struct ssx_error *err)
{
    pthread_mutex_lock(&c->lock);
    struct shelf *s = c->shelves;
    while (s && !holds(s, files, count))
        s = s->next;
    if (!s)
        s = make(c, files, count, err);
    pthread_mutex_unlock(&c->lock);
    if (!s)
        return -1;
    *out = s->index;
    return 0;
}
