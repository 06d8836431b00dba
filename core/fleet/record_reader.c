#include "fleet/record_reader.h"

#include "base/error.h"
#include "base/io.h"
#include "fleet/record.h"
#include "wire/value.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HOSTS_MAX 4000000 /* HOSTSET_MAX */
#define ITEMS_MAX 100000000

struct record_reader {
    const char *path;
    unsigned char *file;             /* mapped: records only grow */
    size_t size, at;
    struct record_head head;
    struct ssx_ending ending;
    struct ssx_fleet_timing timing;
    bool full;
};

const struct record_head *record_reader_head(const struct record_reader *r) { return &r->head; }
bool record_reader_full(const struct record_reader *r) { return r->full; }

static int damaged(const struct record_reader *r, struct ssx_error *err)
{
    return error_set(err, SSX_ERROR_PROTOCOL, "the record is damaged before byte %zu: what follows can't be read", r->at);
}

/* --- pieces of a frame --- */

/* The next whole frame. Returns 1, or 0 where there is none any more: zeros are what a file system puts where a machine
 * crashed. */
static int next_frame(struct record_reader *r, struct value_reader *out, uint64_t *kind, struct ssx_error *err)
{
    size_t left = r->size - r->at;
    const unsigned char *at = r->file + r->at;
    size_t elements, n = left < 4 ? 0 : (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    if (!n || n > left - 4)
        return 0;
    r->at += 4 + n;
    *out = value_reader(at + 4, n);
    if (value_scan(at + 4, n, NULL) || value_take_array(out, &elements) || value_take_uint(out, UINT16_MAX, kind))
        return damaged(r, err);
    return 1;
}

static bool take_text(struct value_reader *v, const char **out)
{
    const unsigned char *at;
    size_t n;
    if (value_take_bin(v, &at, &n) || !n || memchr(at, 0, n) != at + n - 1)
        return false;
    *out = (const char *)at;
    return true;
}

static bool take_bytes(struct value_reader *v, const void **out, size_t *n)
{
    const unsigned char *at;
    if (value_take_bin(v, &at, n))
        return false;
    *out = at;
    return true;
}

static bool take_number(struct value_reader *v, uint64_t max, uint64_t *out) { return value_take_uint(v, max, out) == 0; }

/* --- the run --- */

static int read_hosts(struct record_reader *r, uint64_t count, struct ssx_error *err)
{
    struct value_reader v;
    uint64_t kind;
    const char *name;
    r->head.hosts = calloc(count + 1, sizeof *r->head.hosts);
    if (!r->head.hosts)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for host names");
    for (; r->head.count < count; r->head.count++) {
        int rc = next_frame(r, &v, &kind, err);
        if (rc <= 0)
            return rc ? -1 : error_set(err, SSX_ERROR_USAGE, "the run was ended before it had begun");
        if (kind != RECORD_HOST || !take_text(&v, &name))
            return damaged(r, err);
        r->head.hosts[r->head.count] = (char *)(uintptr_t)name;
    }
    return 0;
}

static int read_items(struct record_reader *r, struct ssx_error *err)
{
    struct value_reader v;
    uint64_t kind;
    if (r->head.item_count > r->size) /* each takes a byte at least */
        return damaged(r, err);
    r->head.texts = calloc(r->head.item_count + 1, sizeof *r->head.texts);
    if (!r->head.texts)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for items");
    for (size_t i = 0; i < r->head.item_count; i++) {
        int rc = next_frame(r, &v, &kind, err);
        if (rc <= 0)
            return rc ? -1 : error_set(err, SSX_ERROR_USAGE, "the run was ended before it had begun");
        if (kind != RECORD_ITEM || !take_bytes(&v, &r->head.texts[i].at, &r->head.texts[i].n))
            return damaged(r, err);
    }
    return 0;
}

/* What version 2 has beside hosts. */
static bool take_dealt(struct record_reader *r, struct value_reader *v, bool *texts)
{
    uint64_t items, here, per_host;
    if (!take_number(v, ITEMS_MAX, &items) || !items || !take_number(v, 1, &here) ||
        !take_number(v, SSX_FLEET_PER_HOST_MAX, &per_host) || !per_host)
        return false;
    r->head.item_count = items;
    r->head.per_host = per_host;
    *texts = here;
    return true;
}

static int read_run(struct record_reader *r, struct ssx_error *err)
{
    struct value_reader v;
    const void *note;
    size_t n;
    uint64_t kind, version, began, count;
    bool texts = false;
    int rc = next_frame(r, &v, &kind, NULL);
    if (rc <= 0 || kind != RECORD_RUN || !take_number(&v, UINT64_MAX, &version))
        return error_set(err, SSX_ERROR_USAGE, "that is no record of a run");
    if (version < RECORD_VERSION || version > RECORD_VERSION_ITEMS)
        return error_set(err, SSX_ERROR_USAGE, "the record has version %llu, this sshexec reads %d and %d",
                         (unsigned long long)version, RECORD_VERSION, RECORD_VERSION_ITEMS);
    if (!take_number(&v, INT64_MAX, &began) || !take_text(&v, &r->head.type) || !take_bytes(&v, &note, &n) ||
        !take_bytes(&v, &r->head.state, &r->head.state_size) || !take_number(&v, HOSTS_MAX, &count) ||
        (version == RECORD_VERSION_ITEMS && !take_dealt(r, &v, &texts)))
        return damaged(r, err);
    r->head.began_ms = (int64_t)began;
    if (r->head.state_size && value_scan(r->head.state, r->head.state_size, err))
        return -1;
    if (descriptor_parse(&r->head.descriptor, note, n, err) || read_hosts(r, count, err))
        return -1;
    return texts ? read_items(r, err) : 0;
}

static int map_file(struct record_reader *r, struct ssx_error *err)
{
    struct stat st;
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st)) {
        error_system(err, "can't read the record");
        fd_close(&fd);
        return -1;
    }
    if (S_ISREG(st.st_mode) && st.st_size) {
        void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        r->file = file == MAP_FAILED ? NULL : file;
        r->size = r->file ? (size_t)st.st_size : 0;
    }
    fd_close(&fd);
    return r->file ? 0 : error_set(err, SSX_ERROR_USAGE, "that is no record of a run");
}

int record_reader_open(struct record_reader **out, const char *path, struct ssx_error *err)
{
    struct record_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a record");
    r->path = path;
    if (map_file(r, err) || read_run(r, err)) {
        record_reader_close(r);
        error_prefix(err, "%s", path);
        if (err && err->code != SSX_ERROR_SYSTEM)
            err->code = SSX_ERROR_USAGE;
        return -1;
    }
    *out = r;
    return 0;
}

void record_reader_close(struct record_reader *r)
{
    if (!r)
        return;
    if (r->file)
        munmap(r->file, r->size);
    descriptor_dispose(&r->head.descriptor);
    free(r->head.hosts);
    free(r->head.texts);
    free(r);
}

/* --- events --- */

static bool read_ending(struct record_reader *r, struct value_reader *v)
{
    struct ssx_ending *x = &r->ending;
    struct ssx_fleet_timing *t = &r->timing;
    uint64_t outcome, exit_code, code, sig, truncated, tries;
    const char **const texts[] = {&x->reason, &x->message, &x->text, &x->digest, &x->sandbox};
    uint64_t *const numbers[] = {
        &x->wall_us,   &x->user_us, &x->sys_us,     &x->rss_kb,     &x->out,         &x->err,     &truncated,
        &t->wait_us,   &t->look_us, &t->resolve_us, &t->connect_us, &t->exchange_us, &t->auth_us, &t->agent_us,
        &t->upload_us, &t->load_us, &t->run_us,     &t->drain_us,   &t->total_us,    &tries,
    };
    if (!take_number(v, SSX_OUTCOMES - 1, &outcome) || !take_number(v, 255, &exit_code) || !take_number(v, UINT32_MAX, &code) ||
        !take_number(v, UINT32_MAX, &sig))
        return false;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!take_text(v, texts[i]))
            return false;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!take_number(v, UINT64_MAX, numbers[i]))
            return false;
    x->outcome = (enum ssx_outcome)outcome;
    x->exit_code = (int)exit_code;
    x->code = (unsigned)code;
    x->signal = (unsigned)sig;
    x->truncated = truncated != 0;
    t->tries = (unsigned)tries;
    return true;
}

static bool is_value(enum ssx_fleet_event_kind kind)
{
    return kind == SSX_FLEET_ITEM || kind == SSX_FLEET_RESULT || kind == SSX_FLEET_STATE;
}

static bool read_said(struct ssx_fleet_event *e, struct value_reader *v)
{
    uint64_t detail;
    if (e->kind == SSX_FLEET_PROGRESS || e->kind == SSX_FLEET_NOTE || !take_number(v, 3, &detail)) /* 3: SSX_LOG_ERROR */
        return false;
    if (e->kind == SSX_FLEET_LOG || e->kind == SSX_FLEET_RETURNED) {
        e->level = (int)detail;
        return take_text(v, &e->text);
    }
    e->stream = (int)detail;
    return take_bytes(v, &e->bytes, &e->n) && (!is_value(e->kind) || value_scan(e->bytes, e->n, NULL) == 0);
}

/* Whether there is such a host and such an item, and both where it takes both. */
static bool fits_there(const struct record_reader *r, const struct ssx_fleet_event *e)
{
    bool no_host = e->host == SSX_FLEET_NONE, no_item = e->item == SSX_FLEET_NONE;
    if ((!no_host && e->host >= r->head.count) || (!no_item && e->item >= r->head.item_count))
        return false;
    switch (e->kind) {
    case SSX_FLEET_DEALT: return !no_item;
    case SSX_FLEET_RETURNED: return !no_item && !no_host;
    case SSX_FLEET_END: return no_item && !no_host;
    default: return !no_host;
    }
}

static bool read_event(struct record_reader *r, struct ssx_fleet_event *e, struct value_reader *v)
{
    uint64_t host, item = RECORD_NONE;
    bool dealt = r->head.item_count > 0;
    if (!take_number(v, UINT64_MAX, &host) || (dealt && !take_number(v, UINT64_MAX, &item)))
        return false;
    e->host = host == RECORD_NONE ? SSX_FLEET_NONE : (size_t)host;
    e->item = item == RECORD_NONE ? SSX_FLEET_NONE : (size_t)item;
    if (!fits_there(r, e))
        return false;
    e->name = e->host == SSX_FLEET_NONE ? NULL : r->head.hosts[e->host];
    if (e->kind != SSX_FLEET_END && e->kind != SSX_FLEET_DEALT)
        return read_said(e, v);
    e->ending = &r->ending;
    e->timing = &r->timing;
    return read_ending(r, v);
}

int record_reader_next(struct record_reader *r, struct ssx_fleet_event *e, struct ssx_error *err)
{
    struct value_reader v;
    uint64_t kind;
    int rc;
    while ((rc = next_frame(r, &v, &kind, err)) == 1 && kind == RECORD_FULL)
        r->full = true;
    if (rc <= 0)
        return rc;
    *e = (struct ssx_fleet_event){.kind = (enum ssx_fleet_event_kind)(kind - RECORD_EVENT)};
    if (kind < RECORD_EVENT + SSX_FLEET_OUTPUT || kind > RECORD_EVENT + SSX_FLEET_RETURNED || !read_event(r, e, &v))
        return damaged(r, err);
    return 1;
}
