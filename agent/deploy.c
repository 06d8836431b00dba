#include "deploy.h"

#include "host.h"
#include "keygen.h"

#include "base/error.h"
#include "base/io.h"
#include "bundle/generation.h"
#include "bundle/inspect.h"
#include "bundle/upload.h"
#include "wire/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define DEPLOYS_MAX 4           /* open at once in a session */
#define NEED_MAX 64             /* digests in one frame */
#define LIST_MAX 60000          /* bytes of a list of generations: what any sender's window takes */

/* One object of the bundle: the variant for this node. */
struct want { const struct variant *variant; enum { TO_COME, TO_PROVE, SOUND } state; };

struct deploy {
    struct deploy *next;
    uint32_t id;
    struct plugins *plugins;
    struct buf *out;
    bool install, downgrade;        /* install: put it in force at once */
    struct manifest manifest;
    struct digest digest;           /* of the manifest's text */
    char signer[GENERATION_SIGNER];
    char has[MANIFEST_VERSION_MAX + 1]; /* the version of it that is in force; "": none */
    struct want *wants;             /* as many as the manifest has types */
    size_t coming, needed;          /* objects that are still to come; that had to come at all */
    uint64_t bytes;                 /* of those */
    struct upload upload;
};

/* --- answers --- */

static void end(struct buf *out, uint32_t id, enum ssx_outcome outcome, const char *reason, const char *text)
{
    message_encode(out, &(struct message){.kind = MESSAGE_END, .id = id,
                                          .end = {.outcome = outcome, .reason = span_text(reason), .message = span_text(text)}},
                                              FROM_AGENT);
}

static void refuse(struct buf *out, uint32_t id, const char *reason, const struct ssx_error *err)
{
    end(out, id, SSX_OUTCOME_REFUSED, reason, err->text);
}

static void put_result(struct buf *out, uint32_t id, const struct buf *value)
{
    message_encode(out, &(struct message){.kind = MESSAGE_RESULT, .id = id, .data = {.bytes = {buf_data(value), buf_length(value)}}},
                   FROM_AGENT);
    end(out, id, SSX_OUTCOME_OK, "", "");
}

/* generation: the one in force now. changes: whether it is another one than before, or would be. */
static void answer(struct buf *out, uint32_t id, unsigned generation, bool changes, const struct deploy *d)
{
    struct buf value = {0};
    msgpack_packer p = packer(&value);
    msgpack_pack_map(&p, d ? 5 : 2);
    pack_text(&p, "generation");
    msgpack_pack_uint32(&p, generation);
    pack_text(&p, "changes");
    (void)(changes ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
    if (d) {
        pack_text(&p, "has");
        pack_text(&p, d->has);
        pack_text(&p, "needs");
        msgpack_pack_uint64(&p, d->needed);
        pack_text(&p, "bytes");
        msgpack_pack_uint64(&p, d->bytes);
    }
    put_result(out, id, &value);
    buf_free(&value);
}

/* --- those under way --- */

static void deploy_free(struct deploy *d)
{
    upload_abort(&d->upload);
    manifest_dispose(&d->manifest);
    free(d->wants);
    free(d);
}

static void drop(struct deploy **link)
{
    struct deploy *d = *link;
    *link = d->next;
    deploy_free(d);
}

size_t deploy_count(const struct deploy *all)
{
    size_t n = 0;
    for (; all; all = all->next)
        n++;
    return n;
}

void deploy_clear(struct deploy **all)
{
    while (*all)
        drop(all);
}

/* --- what is checked before anything comes --- */

static int check_signature(struct deploy *d, const struct message_order *o, struct ssx_error *err)
{
    const char *signers;
    for (size_t i = 0; o->signature.n && (signers = policy_signers(d->plugins->policy, i)); i++)
        if (keygen_verify(d->signer, sizeof d->signer, signers, o->manifest, o->signature, err))
            return -1;
    return 0;
}

static int check_policy(const struct deploy *d, const char **reason, struct ssx_error *err)
{
    const struct policy *p = d->plugins->policy;
    *reason = "policy";
    if (policy_check_bundle(p, d->manifest.name, err) || policy_check_signed(p, d->manifest.name, *d->signer, err))
        return -1;
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (policy_check_type(p, d->manifest.types[i].name, err))
            return -1;
    return 0;
}

static int choose(struct deploy *d, const char **reason, struct ssx_error *err)
{
    struct utsname uts;
    char libc[32], name[2 * MANIFEST_VERSION_MAX + 8];
    *reason = "arch";
    uname(&uts);
    snprintf(name, sizeof name, "%s %s", d->manifest.name, d->manifest.version);
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (!(d->wants[i].variant = manifest_choose(&d->manifest, name, d->manifest.types[i].name, uts.machine,
                                                    plugins_libc(d->plugins, libc, sizeof libc), err)))
            return -1;
    return 0;
}

/* The text of this bundle for a generation, with a NUL behind it. */
static int make_text(struct buf *out, const struct deploy *d)
{
    struct generation_bundle b = {.serial = d->manifest.serial, .manifest = d->digest};
    snprintf(b.name, sizeof b.name, "%s", d->manifest.name);
    snprintf(b.version, sizeof b.version, "%s", d->manifest.version);
    snprintf(b.signer, sizeof b.signer, "%s", d->signer);
    int rc = generation_add_bundle(out, &b);
    for (size_t i = 0; rc == 0 && i < d->manifest.type_count; i++) {
        struct generation_type t = {.object = d->wants[i].variant->digest};
        snprintf(t.name, sizeof t.name, "%s", d->manifest.types[i].name);
        snprintf(t.version, sizeof t.version, "%s", d->manifest.types[i].version);
        rc = generation_add_type(out, &t);
    }
    return rc || buf_add(out, "", 1) ? -1 : 0;
}

/* Whether what is in force would take the bundle. *same: it has it already. */
static int check_generation(struct deploy *d, struct buf *now, bool *same, struct ssx_error *err)
{
    struct buf mine = {0}, next = {0};
    struct generation_bundle b;
    int rc = generation_load(now, &d->plugins->store, generation_current(&d->plugins->store), err);
    *same = false;
    if (rc == 0 && generation_find_bundle(now, d->manifest.name, &b)) {
        *same = digest_equal(&b.manifest, &d->digest);
        snprintf(d->has, sizeof d->has, "%s", b.version);
    }
    if (rc == 0)
        rc = make_text(&mine, d) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a generation")
            : generation_compose(&next, now, &mine, d->downgrade, err);
    buf_free(&mine);
    buf_free(&next);
    return rc;
}

/* --- which objects --- */

/* Present, and as long as it has to be: that much of one that is in force, which was tested when it came and is hashed each time before
 * it runs. Any other is read. */
static void look_for(struct deploy *d, struct want *w, const struct buf *now)
{
    struct generation_bundle b;
    struct generation_type t;
    struct stat st;
    struct digest is = {{0}};
    int fd = store_object(&d->plugins->store, &w->variant->digest);
    bool there = fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == w->variant->size;
    bool in_force = there && generation_find(now, manifest_type_of(&d->manifest, w->variant)->name, &b, &t) &&
        digest_equal(&t.object, &w->variant->digest);
    if (there && !in_force)
        there = digest_of_fd(&is, fd, NULL) == 0 && digest_equal(&is, &w->variant->digest);
    if (fd >= 0 && !there)
        store_discard(&d->plugins->store, &w->variant->digest);
    fd_close(&fd);
    w->state = in_force ? SOUND : there ? TO_PROVE : TO_COME;
    d->needed += w->state == TO_COME;
    d->bytes += w->state == TO_COME ? w->variant->size : 0;
}

static void ask(const struct deploy *d)
{
    struct message_object list[NEED_MAX];
    size_t n = 0;
    for (size_t i = 0; i < d->manifest.type_count; i++) {
        if (d->wants[i].state == TO_COME)
            list[n++].digest = d->wants[i].variant->digest;
        if (n && (n == NEED_MAX || i + 1 == d->manifest.type_count)) {
            message_encode(d->out, &(struct message){.kind = MESSAGE_NEED, .id = d->id, .objects = {.count = n, .list = list}}, FROM_AGENT);
            n = 0;
        }
    }
}

/* --- testing them --- */

/* Whether an object is what the manifest says of it, loads here, and passes its own test. */
static int prove(struct deploy *d, const struct want *w, struct image *image, char reason[16], struct ssx_error *err)
{
    void *at = mmap(NULL, (size_t)w->variant->size, PROT_READ, MAP_PRIVATE, image->fd, 0);
    snprintf(reason, 16, "object");
    if (at == MAP_FAILED)
        return error_system(err, "can't read the %s of the bundle", image->type);
    int rc = bundle_check_object(&d->manifest, w->variant, at, (size_t)w->variant->size, err);
    munmap(at, (size_t)w->variant->size);
    return rc ? -1 : host_prove(image, reason, err);
}

static int prove_stored(struct deploy *d, struct want *w, char reason[16], struct ssx_error *err)
{
    struct refusal why = {.reason = ""};
    const char *type = manifest_type_of(&d->manifest, w->variant)->name;
    struct image *image = plugins_stored(d->plugins, type, &w->variant->digest, &why);
    if (!image) {
        snprintf(reason, 16, "%s", why.error.code ? why.reason : "object");
        return why.error.code ? error_set(err, why.error.code, "%s", why.error.text)
                              : error_set(err, SSX_ERROR_REFUSED, "the stored %s was damaged meanwhile; deploy again", type);
    }
    w->state = SOUND;
    int rc = prove(d, w, image, reason, err);
    plugins_drop(d->plugins, image);
    return rc;
}

static int keep(struct deploy *d, struct want *w, const struct image *image, char reason[16], struct ssx_error *err)
{
    snprintf(reason, 16, "store");
    w->state = SOUND;
    d->coming--;
    if (plugins_check_room(d->plugins, w->variant->size, err))
        return -1;
    return store_put(&d->plugins->store, &w->variant->digest, image->fd, err);
}

/* Tested first, from memory: what fails isn't even stored. */
static int take_object(struct deploy *d, struct want *w, int fd, char reason[16], struct ssx_error *err)
{
    struct refusal why = {.reason = ""};
    struct message_call call = {.type = span_text(manifest_type_of(&d->manifest, w->variant)->name), .digest = w->variant->digest};
    struct image *image = plugins_take(d->plugins, &call, fd, &why);
    if (!image) {
        snprintf(reason, 16, "%s", why.reason);
        return error_set(err, why.error.code, "%s", why.error.text);
    }
    int rc = prove(d, w, image, reason, err) || keep(d, w, image, reason, err) ? -1 : 0;
    plugins_drop(d->plugins, image);
    return rc;
}

/* --- the end of it --- */

/* All objects are here and sound. */
static int finish(struct deploy *d, struct ssx_error *err)
{
    struct buf text = {0};
    struct store *s = &d->plugins->store;
    unsigned number = generation_current(s);
    int rc = make_text(&text, d) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a generation")
        : generation_prepare(s, &d->digest, &text, err);
    if (rc == 0 && d->install)
        rc = generation_switch(s, &d->digest, d->downgrade, &number, err);
    buf_free(&text);
    if (rc == 0)
        answer(d->out, d->id, number, true, d);
    return rc;
}

static struct want *next_to_prove(const struct deploy *d)
{
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (d->wants[i].state == TO_PROVE)
            return &d->wants[i];
    return NULL;
}

static bool has_work(const struct deploy *d) { return !d->coming || next_to_prove(d); }

bool deploy_is_busy(const struct deploy *all)
{
    while (all && !has_work(all))
        all = all->next;
    return all != NULL;
}

void deploy_step(struct deploy **all)
{
    struct ssx_error err = {0};
    char reason[16] = "store";
    while (*all && !has_work(*all))
        all = &(*all)->next;
    if (!*all)
        return;
    struct want *w = next_to_prove(*all);
    int rc = w ? prove_stored(*all, w, reason, &err) : finish(*all, &err);
    if (rc)
        refuse((*all)->out, (*all)->id, reason, &err);
    if (rc || !w)
        drop(all);
}

/* --- an OFFER --- */

/* Looks at the bundle and at the node. Returns 1 where there is nothing to do any more, 0 where objects are to come or to be tested, -1
 * with err. */
static int begin(struct deploy *d, const struct message_order *o, const char **reason, struct ssx_error *err)
{
    struct buf now = {0};
    bool same, look = span_is(o->what, "look");
    *reason = "store";
    if (!d->plugins->store.dir[0])
        return error_set(err, SSX_ERROR_REFUSED, "this node keeps nothing (--ephemeral), so nothing can be deployed on it");
    *reason = "object";
    if (manifest_parse(&d->manifest, o->manifest.at, o->manifest.n, err))
        return -1;
    digest_of(&d->digest, o->manifest.at, o->manifest.n);
    d->wants = calloc(d->manifest.type_count, sizeof *d->wants);
    if (!d->wants)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for a bundle");
    *reason = "signature";
    if (check_signature(d, o, err) || check_policy(d, reason, err) || choose(d, reason, err))
        return -1;
    *reason = "generation";
    int rc = check_generation(d, &now, &same, err);
    for (size_t i = 0; rc == 0 && i < d->manifest.type_count; i++)
        look_for(d, &d->wants[i], &now);
    buf_free(&now);
    *reason = "policy";
    if (rc || plugins_check_room(d->plugins, d->bytes, err))
        return -1;
    d->coming = d->needed;
    if (!look && !(same && !d->needed))
        return 0;
    answer(d->out, d->id, generation_current(&d->plugins->store), !same || d->needed, d);
    return 1;
}

static void add_bundle(struct deploy **all, struct plugins *plugins, const struct message *m, struct buf *out)
{
    const struct message_order *o = &m->objects.order;
    struct ssx_error err = {0};
    const char *reason = "busy";
    struct deploy *d = deploy_count(*all) < DEPLOYS_MAX ? calloc(1, sizeof *d) : NULL;
    int rc = d ? 0 : error_set(&err, SSX_ERROR_REFUSED, "no room for one more bundle in this session");
    if (d) {
        *d = (struct deploy){.id = m->id, .plugins = plugins, .out = out, .install = span_is(o->what, "install"),
                             .downgrade = o->downgrade};
        rc = begin(d, o, &reason, &err);
    }
    if (rc < 0)
        refuse(out, m->id, reason, &err);
    if (rc && d)
        deploy_free(d);
    if (rc)
        return;
    ask(d);
    d->next = *all;
    *all = d;
}

/* A generation that was made under another policy. */
static int check_old(void *policy, const struct buf *text, struct ssx_error *err)
{
    const char *at = generation_begin(text);
    struct generation_bundle b;
    struct generation_type t;
    for (int kind; (kind = generation_next(&at, &b, &t)) > 0;)
        if (kind == 2 && policy_check_signed(policy, b.name, *b.signer, err))
            return -1;
    return 0;
}

static void change(struct plugins *plugins, const struct message *m, struct buf *out)
{
    const struct message_order *o = &m->objects.order;
    struct ssx_error err = {0};
    unsigned was = generation_current(&plugins->store), number = was;
    int rc = policy_check_bundle(plugins->policy, "what is prepared", &err);
    const char *reason = rc ? "policy" : "generation";
    if (rc == 0 && span_is(o->what, "switch"))
        rc = generation_switch(&plugins->store, &o->bundle, o->downgrade, &number, &err);
    else if (rc == 0)
        rc = generation_roll_back(&plugins->store, (unsigned)o->generation, &number, check_old, (void *)plugins->policy, &err);
    if (rc)
        refuse(out, m->id, reason, &err);
    else
        answer(out, m->id, number, number != was, NULL);
}

/* --- the list --- */

static void pack_bundles(msgpack_packer *p, const struct buf *text)
{
    struct generation_bundle b;
    struct generation_type t;
    size_t count = 0;
    int kind;
    for (const char *at = generation_begin(text); (kind = generation_next(&at, &b, &t)) > 0;)
        count += kind == 2;
    msgpack_pack_array(p, count);
    for (const char *at = generation_begin(text); (kind = generation_next(&at, &b, &t)) > 0;) {
        if (kind != 2)
            continue;
        msgpack_pack_array(p, 4);
        pack_text(p, b.name);
        pack_text(p, b.version);
        msgpack_pack_uint64(p, b.serial);
        pack_text(p, b.signer);
    }
}

/* [number, made: seconds since 1970, bundles]; one that can't be read has none. */
static void pack_generation(struct buf *out, const struct store *s, unsigned number)
{
    struct buf text = {0};
    struct stat st = {0};
    char path[PATH_MAX + 32];
    msgpack_packer p = packer(out);
    snprintf(path, sizeof path, "%s/generations/%u", s->dir, number);
    stat(path, &st);
    msgpack_pack_array(&p, 3);
    msgpack_pack_uint32(&p, number);
    msgpack_pack_uint64(&p, st.st_mtime > 0 ? (uint64_t)st.st_mtime : 0);
    if (generation_load(&text, s, number, NULL) == 0)
        pack_bundles(&p, &text);
    else
        msgpack_pack_array(&p, 0);
    buf_free(&text);
}

static void list(struct plugins *plugins, const struct message *m, struct buf *out)
{
    struct buf numbers = {0}, packed = {0}, value = {0};
    struct ssx_error err = {0};
    size_t count = 0;
    if (generation_list(&numbers, &plugins->store, &err)) {
        refuse(out, m->id, "store", &err);
        return;
    }
    const unsigned *at = (const unsigned *)(const void *)buf_data(&numbers);
    for (size_t n = buf_length(&numbers) / sizeof *at; n && buf_length(&packed) < LIST_MAX / 2; count++)
        pack_generation(&packed, &plugins->store, at[--n]);
    msgpack_packer p = packer(&value);
    msgpack_pack_map(&p, 2);
    pack_text(&p, "generation");
    msgpack_pack_uint32(&p, generation_current(&plugins->store));
    pack_text(&p, "generations");
    msgpack_pack_array(&p, count);
    buf_add(&value, buf_data(&packed), buf_length(&packed));
    if (buf_length(&value) < LIST_MAX)
        put_result(out, m->id, &value);
    else
        end(out, m->id, SSX_OUTCOME_REFUSED, "store", "there are too many bundles in a generation to show them");
    buf_free(&numbers);
    buf_free(&packed);
    buf_free(&value);
}

void deploy_add(struct deploy **all, struct plugins *plugins, const struct message *m, struct buf *out)
{
    struct span what = m->objects.order.what;
    if (span_is(what, "look") || span_is(what, "prepare") || span_is(what, "install"))
        add_bundle(all, plugins, m, out);
    else if ((span_is(what, "switch") && m->objects.order.has_bundle) || span_is(what, "rollback"))
        change(plugins, m, out);
    else if (span_is(what, "list"))
        list(plugins, m, out);
    else
        end(out, m->id, SSX_OUTCOME_REFUSED, "unsupported", "not supported: this OFFER");
}

/* --- CHUNK, CANCEL --- */

static struct want *find_want(const struct deploy *d, const struct digest *digest)
{
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (d->wants[i].state == TO_COME && digest_equal(&d->wants[i].variant->digest, digest))
            return &d->wants[i];
    return NULL;
}

/* Returns 0 with *fd (-1: more is to come), or -1 with err. */
static int add_chunk(struct deploy *d, const struct want *w, const struct message *m, int *fd, struct ssx_error *err)
{
    struct upload *u = &d->upload;
    *fd = -1;
    if (!u->open && upload_begin(u, &w->variant->digest, w->variant->size, err))
        return -1;
    if (!digest_equal(&u->digest, &m->chunk.digest))
        return error_set(err, SSX_ERROR_PROTOCOL, "an object came before the one before was whole");
    return upload_add(u, m->chunk.bytes.at, m->chunk.bytes.n, err) || (!m->chunk.more && upload_end(u, fd, err)) ? -1 : 0;
}

int deploy_take(struct deploy **all, const struct message *m, struct ssx_error *err)
{
    struct ssx_error fault = {0};
    char reason[16] = "store";
    int fd;
    while (*all && (*all)->id != m->id)
        all = &(*all)->next;
    struct deploy *d = *all;
    if (!d)
        return 0;
    if (m->kind == MESSAGE_CANCEL) {
        end(d->out, d->id, SSX_OUTCOME_CANCELLED, "", "");
        drop(all);
        return 0;
    }
    struct want *w = find_want(d, &m->chunk.digest);
    if (!w)
        return error_set(err, SSX_ERROR_PROTOCOL, "CHUNK of an object that was not asked for (id %u)", (unsigned)m->id);
    int rc = add_chunk(d, w, m, &fd, &fault);
    if (rc)
        snprintf(reason, sizeof reason, "%s", fault.code == SSX_ERROR_PROTOCOL ? "object" : "store");
    else if (fd >= 0)
        rc = take_object(d, w, fd, reason, &fault);
    if (rc) {
        refuse(d->out, d->id, reason, &fault);
        drop(all);
    }
    return 0;
}
