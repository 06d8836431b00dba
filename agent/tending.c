#include "tending.h"

#include "base/error.h"
#include "base/io.h"
#include "bundle/tend.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACES_MAX 6   /* the agent's own store, and what client/bootstrap.c calls PLACES */
#define WORDS_MAX 64

struct tending {
    uint32_t id;
    struct plugins *plugins;
    struct buf *out;
    char words[WORDS_MAX];
    char (*places)[PATH_MAX];       /* stores to look at */
    size_t place_count, next_place;
    struct tend *tend;              /* of the place before the next; NULL: done */
    int64_t retry_ms;               /* when to try that place again, whose generations were being changed; 0: now */
    struct buf stores, objects;     /* packed; those of the store that is looked at */
    size_t store_count, object_count;
    bool telling;                   /* all places were looked at: */
    struct buf value;               /* what is left of the answer */
    size_t credit;
};

/* --- the places --- */

static void add_place(struct tending *t, const char *dir, const char *below)
{
    char path[PATH_MAX];
    if (!dir || *dir != '/' || (size_t)snprintf(path, sizeof path, "%s%s", dir, below) >= sizeof path)
        return;
    for (size_t i = 0; i < t->place_count; i++)
        if (strcmp(t->places[i], path) == 0)
            return;
    strcpy(t->places[t->place_count++], path);
}

/* An agent that was brought looks at each place in which one of its kind may have kept things; one that is installed,
 * at its own alone. */
static int find_places(struct tending *t)
{
    char user[256], below[sizeof user + 16];
    const char *name = getenv("LOGNAME");
    t->places = calloc(PLACES_MAX, sizeof *t->places);
    if (!t->places)
        return -1;
    add_place(t, t->plugins->store.dir, "");
    if (!t->plugins->brought)
        return 0;
    if (!name || !*name)
        name = getenv("USER");
    snprintf(user, sizeof user, "%s", name ? name : "");
    if (!*user)
        snprintf(user, sizeof user, "%u", (unsigned)geteuid());
    snprintf(below, sizeof below, "/sshexec-%s", user);
    add_place(t, getenv("XDG_CACHE_HOME"), "/sshexec");
    add_place(t, getenv("HOME"), "/.cache/sshexec");
    add_place(t, getenv("XDG_RUNTIME_DIR"), "/sshexec");
    add_place(t, "/dev/shm", below);
    add_place(t, "/tmp", below);
    return 0;
}

/* --- the answer --- */

static void end(struct tending *t, enum ssx_outcome outcome, const char *reason, const char *text)
{
    message_encode(t->out, &(struct message){.kind = MESSAGE_END, .id = t->id,
                                             .end = {.outcome = outcome, .reason = span_text(reason), .message = span_text(text)}},
                   FROM_AGENT);
}

static void pack_object(struct tending *t, const struct tend_object *o)
{
    msgpack_packer p = packer(&t->objects);
    msgpack_pack_array(&p, 7);
    pack_text(&p, o->state);
    msgpack_pack_bin_with_body(&p, o->digest.bytes, DIGEST_SIZE);
    msgpack_pack_uint64(&p, o->size);
    msgpack_pack_uint64(&p, o->idle_s);
    pack_text(&p, o->use);
    pack_text(&p, o->type);
    pack_text(&p, o->version);
    t->object_count++;
}

/* [path, problem, objects] */
static void pack_store(struct tending *t, const char *path, const char *problem)
{
    msgpack_packer p = packer(&t->stores);
    msgpack_pack_array(&p, 3);
    pack_text(&p, path);
    pack_text(&p, problem);
    msgpack_pack_array(&p, t->object_count);
    buf_add(&t->stores, buf_data(&t->objects), buf_length(&t->objects));
    buf_free(&t->objects);
    t->object_count = 0;
    t->store_count++;
}

/* Returns 0, or -1 with err: a sender would not take it. */
static int make_value(struct tending *t, struct ssx_error *err)
{
    msgpack_packer p = packer(&t->value);
    msgpack_pack_map(&p, 1);
    pack_text(&p, "stores");
    msgpack_pack_array(&p, t->store_count);
    buf_add(&t->value, buf_data(&t->stores), buf_length(&t->stores));
    if (t->value.failed || t->stores.failed || t->objects.failed)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the store's objects");
    return value_scan(buf_data(&t->value), buf_length(&t->value), NULL) || buf_length(&t->value) > VALUE_SIZE_MAX
               ? error_set(err, SSX_ERROR_REFUSED, "the store holds too many objects to tell of all of them") : 0;
}

static void put_piece(struct tending *t)
{
    size_t n = buf_length(&t->value), piece = n < DATA_MAX ? n : DATA_MAX;
    message_encode(t->out, &(struct message){.kind = MESSAGE_RESULT, .id = t->id,
                                             .data = {.bytes = {buf_data(&t->value), piece}, .more = piece < n}}, FROM_AGENT);
    buf_consume(&t->value, piece);
    t->credit -= piece;
}

/* --- the stores --- */

/* Looks into the next place; into one whose generations another session changes, a little later. Returns 0, or -1 with
 * err. */
static int next_place(struct tending *t, struct ssx_error *err)
{
    const char *path = t->places[t->next_place++];
    char objects[PATH_MAX + 16];
    struct stat st;
    if (lstat(path, &st))
        return 0;
    if (S_ISLNK(st.st_mode) || (S_ISDIR(st.st_mode) && st.st_uid != geteuid())) {
        pack_store(t, path, "it is a link, or belongs to another user");
        return 0;
    }
    snprintf(objects, sizeof objects, "%s/objects", path);
    int rc = lstat(objects, &st) ? 0 : tend_begin(&t->tend, path, t->words, err);
    t->retry_ms = rc > 0 ? clock_ms() + STORE_RETRY_MS : 0;
    t->next_place -= rc > 0;
    return rc < 0 ? -1 : 0;
}

static int next_object(struct tending *t, struct ssx_error *err)
{
    struct tend_object object;
    int rc = tend_next(t->tend, &object, err);
    if (rc > 0)
        pack_object(t, &object);
    if (rc == 0) {
        pack_store(t, t->places[t->next_place - 1], "");
        tend_end(t->tend);
        t->tend = NULL;
    }
    return rc < 0 ? -1 : 0;
}

/* Returns 1 once all places were looked at, 0 for more, -1 with err. */
static int look(struct tending *t, struct ssx_error *err)
{
    if (t->tend)
        return next_object(t, err);
    if (t->next_place < t->place_count)
        return next_place(t, err);
    return make_value(t, err) ? -1 : 1;
}

bool tending_is_busy(const struct tending *t)
{
    size_t left = t ? buf_length(&t->value) : 0;
    return t && t->credit >= (left < DATA_MAX ? left : DATA_MAX) && clock_ms() >= t->retry_ms;
}

int64_t tending_next_ms(const struct tending *t) { return t && t->retry_ms ? t->retry_ms : INT64_MAX; }

void tending_step(struct tending **t)
{
    struct ssx_error err = {0};
    if ((*t)->telling) {
        put_piece(*t);
        if (buf_length(&(*t)->value))
            return;
        end(*t, SSX_OUTCOME_OK, "", "");
        tending_clear(t);
        return;
    }
    int rc = look(*t, &err);
    (*t)->telling = rc > 0;
    if (rc < 0) {
        end(*t, SSX_OUTCOME_REFUSED, "store", err.text);
        tending_clear(t);
    }
}

/* --- an OFFER --- */

static int begin(struct tending *t, const struct message_order *o, const char **reason, struct ssx_error *err)
{
    *reason = "store";
    span_copy(t->words, sizeof t->words, o->words);
    if (!t->plugins->store.dir[0] && !t->plugins->brought)
        return error_set(err, SSX_ERROR_REFUSED, "this node keeps nothing");
    *reason = "policy";
    if (tend_removes(t->words) && policy_check_bundle(t->plugins->policy, "what removes objects", err))
        return -1;
    *reason = "store";
    return find_places(t) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for the places of stores") : 0;
}

void tending_add(struct tending **t, struct plugins *plugins, const struct message *m, size_t window, struct buf *out)
{
    struct ssx_error err = {0};
    const char *reason = "busy";
    struct tending failed = {.id = m->id, .out = out}, *it = calloc(1, sizeof *it);
    int rc = it ? 0 : error_set(&err, SSX_ERROR_SYSTEM, "out of memory for the store's objects");
    if (it) {
        *it = (struct tending){.id = m->id, .plugins = plugins, .out = out, .credit = window};
        *t = it;
        rc = begin(it, &m->objects.order, &reason, &err);
    }
    if (rc == 0)
        return;
    end(&failed, SSX_OUTCOME_REFUSED, reason, err.text);
    tending_clear(t);
}

void tending_take(struct tending **t, const struct message *m)
{
    if (!*t || (*t)->id != m->id)
        return;
    if (m->kind == MESSAGE_CREDIT)
        (*t)->credit += (size_t)m->credit;
    if (m->kind != MESSAGE_CANCEL)
        return;
    end(*t, SSX_OUTCOME_CANCELLED, "", "");
    tending_clear(t);
}

void tending_clear(struct tending **t)
{
    struct tending *it = *t;
    *t = NULL;
    if (!it)
        return;
    tend_end(it->tend);
    buf_free(&it->stores);
    buf_free(&it->objects);
    buf_free(&it->value);
    free(it->places);
    free(it);
}
