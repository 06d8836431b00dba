#include "fleet/record.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/records.h"
#include "wire/pack.h"
#include "worker/schema.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define HELD_MAX (64u << 10) /* written at once, without being asked to */

struct record {
    struct record_run run;
    int fd;
    struct buf held;
    uint64_t said;
    bool full, broken;
    int problem;                     /* errno */
};

/* --- frames --- */

/* Returns where its length goes. */
static size_t begin_frame(struct record *r, size_t elements, unsigned kind)
{
    static const char length[4];
    size_t at = buf_length(&r->held);
    buf_add(&r->held, length, sizeof length);
    msgpack_packer p = packer(&r->held);
    msgpack_pack_array(&p, elements);
    msgpack_pack_unsigned_int(&p, kind);
    return at;
}

static void write_held(struct record *r)
{
    if (!r->broken && !r->held.failed && fd_write_all(r->fd, buf_data(&r->held), buf_length(&r->held)) == 0) {
        buf_consume(&r->held, buf_length(&r->held));
        return;
    }
    r->problem = r->broken ? r->problem : r->held.failed ? ENOMEM : errno;
    r->broken = true;
    buf_free(&r->held);
}

static void end_frame(struct record *r, size_t at)
{
    if (r->held.failed || r->broken)
        return;
    uint32_t length = htonl((uint32_t)(buf_length(&r->held) - at - 4));
    memcpy(buf_data(&r->held) + at, &length, sizeof length);
    if (buf_length(&r->held) >= HELD_MAX)
        write_held(r);
}

static void put_bytes(struct record *r, const void *bytes, size_t n)
{
    msgpack_packer p = packer(&r->held);
    msgpack_pack_bin_with_body(&p, bytes, n);
}

static void put_text(struct record *r, const char *text) { put_bytes(r, text ? text : "", text ? strlen(text) + 1 : 1); }

static void put_number(struct record *r, uint64_t n)
{
    msgpack_packer p = packer(&r->held);
    msgpack_pack_uint64(&p, n);
}

/* A value without its secret fields. */
static void put_value(struct record *r, const struct schema_struct *s, const void *value, size_t n)
{
    struct buf open = {0};
    if (n && schema_fill(&open, s, NULL, value, n) == 0)
        put_bytes(r, buf_data(&open), buf_length(&open));
    else
        put_bytes(r, "", 0);
    buf_free(&open);
}

/* --- the run --- */

static void put_run(struct record *r)
{
    const struct descriptor *d = r->run.descriptor;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    bool items = r->run.item_count > 0;
    size_t at = begin_frame(r, items ? 10 : 7, RECORD_RUN);
    put_number(r, items ? RECORD_VERSION_ITEMS : RECORD_VERSION);
    put_number(r, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
    put_text(r, r->run.type);
    put_bytes(r, buf_data(&d->note), buf_length(&d->note));
    put_value(r, d->state, r->run.state, r->run.state_size);
    put_number(r, r->run.count);
    if (items) {
        put_number(r, r->run.item_count);
        put_number(r, r->run.texts != NULL);
        put_number(r, r->run.per_host);
    }
    end_frame(r, at);
    for (size_t i = 0; i < r->run.count; i++) {
        at = begin_frame(r, 2, RECORD_HOST);
        put_text(r, r->run.hosts[i]);
        end_frame(r, at);
    }
    for (size_t i = 0; r->run.texts && i < r->run.item_count; i++) {
        at = begin_frame(r, 2, RECORD_ITEM);
        put_bytes(r, r->run.texts[i].at, r->run.texts[i].n);
        end_frame(r, at);
    }
}

int record_open(struct record **out, const struct record_run *run, struct ssx_error *err)
{
    struct record *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, SSX_ERROR_SYSTEM, "can't record the run: out of memory");
    r->run = *run;
    r->fd = records_create(run->descriptor->type, err);
    if (r->fd >= 0)
        put_run(r);
    if (r->fd < 0 || record_flush(r, err)) {
        record_close(r);
        return -1;
    }
    records_prune(RECORDS_KEPT);
    *out = r;
    return 0;
}

/* --- events --- */

/* For so many elements behind it. */
static size_t begin_event(struct record *r, size_t elements, const struct ssx_fleet_event *e)
{
    bool items = r->run.item_count > 0;
    size_t at = begin_frame(r, elements + 2 + items, RECORD_EVENT + (unsigned)e->kind);
    put_number(r, e->host == SSX_FLEET_NONE ? RECORD_NONE : e->host);
    if (items)
        put_number(r, e->item == SSX_FLEET_NONE ? RECORD_NONE : e->item);
    return at;
}

static void put_end(struct record *r, const struct ssx_fleet_event *e)
{
    const struct ssx_ending *x = e->ending;
    const struct ssx_fleet_timing *t = e->timing;
    const uint64_t numbers[] = {
        x->wall_us, x->user_us, x->sys_us, x->rss_kb, x->out, x->err, x->truncated,
        t->wait_us, t->look_us, t->resolve_us, t->connect_us, t->exchange_us, t->auth_us,
        t->agent_us, t->upload_us, t->load_us, t->run_us, t->drain_us, t->total_us, t->tries,
    };
    const char *const texts[] = {x->reason, x->message, x->text, x->digest, x->sandbox};
    const size_t count = sizeof numbers / sizeof *numbers, text_count = sizeof texts / sizeof *texts;
    size_t at = begin_event(r, 4 + text_count + count, e);
    put_number(r, x->outcome);
    put_number(r, (uint64_t)x->exit_code);
    put_number(r, x->code);
    put_number(r, x->signal);
    for (size_t i = 0; i < text_count; i++)
        put_text(r, texts[i]);
    for (size_t i = 0; i < count; i++)
        put_number(r, numbers[i]);
    end_frame(r, at);
}

static void put_said(struct record *r, const struct ssx_fleet_event *e)
{
    const struct descriptor *d = r->run.descriptor;
    size_t at = begin_event(r, 2, e);
    put_number(r, (uint64_t)(e->kind == SSX_FLEET_LOG ? e->level : e->stream));
    switch (e->kind) {
    case SSX_FLEET_LOG: case SSX_FLEET_RETURNED: put_text(r, e->text); break;
    case SSX_FLEET_ITEM: put_value(r, d->items, e->bytes, e->n); break;
    case SSX_FLEET_RESULT: put_value(r, d->result, e->bytes, e->n); break;
    case SSX_FLEET_STATE: put_value(r, d->state, e->bytes, e->n); break;
    default: put_bytes(r, e->bytes, e->n); break;
    }
    end_frame(r, at);
}

void record_event(struct record *r, const struct ssx_fleet_event *e)
{
    if (r->broken || e->kind == SSX_FLEET_PROGRESS || e->kind == SSX_FLEET_NOTE)
        return;
    if (e->kind == SSX_FLEET_END || e->kind == SSX_FLEET_DEALT) {
        put_end(r, e);
        return;
    }
    r->said += e->text ? strlen(e->text) : e->n;
    if (!r->full && r->said > RECORD_SAID_MAX)
        end_frame(r, begin_frame(r, 1, RECORD_FULL));
    r->full |= r->said > RECORD_SAID_MAX;
    if (!r->full)
        put_said(r, e);
}

int record_flush(struct record *r, struct ssx_error *err)
{
    if (!r->broken && (buf_length(&r->held) || r->held.failed))
        write_held(r);
    errno = r->problem;
    if (!r->problem)
        return 0;
    r->problem = 0;
    return error_system(err, "can't go on recording this run in %s", records_place());
}

void record_close(struct record *r)
{
    if (!r)
        return;
    record_flush(r, NULL);
    fd_close(&r->fd);
    buf_free(&r->held);
    free(r);
}
