#include "deploy.h"

#include "host.h"
#include "keygen.h"
#include "proof.h"

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

#define NEED_MAX 64             /* digests in one frame */
#define ASKED_MAX (16u << 20)   /* bytes of objects that wait in memory for their test, or are on their way */
#define LIST_MAX 60000          /* bytes of a list of generations: what any sender's window takes */

/* One object of the bundle: the variant for this node. */
struct want {
    const struct variant *variant;
    enum { TO_COME, ASKED, TO_PROVE, SOUND } state;
    struct image *came;             /* TO_PROVE: what the sender sent, held; NULL: it is in the store */
};

struct deploy {
    struct deploy *next;
    uint32_t id;
    enum { BUNDLE, SWITCH, ROLL_BACK } does; /* the last two: no more than that, and only while they wait for the lock */
    int64_t retry_ms;               /* another session had the generations locked: when to try again; 0: it did not */
    struct plugins *plugins;
    struct child **children;        /* where those are listed that it starts */
    struct buf *out;
    bool look, install, downgrade;  /* look: no more than that; install: put it in force at once */
    bool judging;                   /* its signature is being verified */
    size_t judges;                  /* files of signers that were asked */
    struct keygen keygen;
    struct proof proof;
    struct want *proving;           /* what it is about */
    struct manifest manifest;
    struct digest digest;           /* of the manifest's text */
    unsigned to;                    /* ROLL_BACK: which generation; 0: the one before */
    char signer[GENERATION_SIGNER];
    char by[GENERATION_SAID];       /* who sends it, as the sender says */
    char has[MANIFEST_VERSION_MAX + 1]; /* the version of it that is in force; "": none */
    struct want *wants;             /* as many as the manifest has types */
    size_t coming, needed;          /* objects that are still to come; that had to come at all */
    uint64_t bytes;                 /* of those */
    uint64_t asked;                 /* bytes of objects that were asked for, and are not in the store yet */
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

/* --- what is checked before anything comes --- */

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

/* Present, and as long as it has to be: that much of one that is in force, which was tested when it came and is hashed
 * each time before it runs. Any other is read. */
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

/* Asks for those that are to come, as many as memory is given to until they are tested; a large one comes alone. */
static void ask(struct deploy *d)
{
    struct message_object list[NEED_MAX];
    size_t n = 0;
    for (size_t i = 0; i < d->manifest.type_count; i++) {
        struct want *w = &d->wants[i];
        if (w->state == TO_COME && (!d->asked || d->asked + w->variant->size <= ASKED_MAX)) {
            list[n++].digest = w->variant->digest;
            w->state = ASKED;
            d->asked += w->variant->size;
        }
        if (n && (n == NEED_MAX || i + 1 == d->manifest.type_count)) {
            message_encode(d->out, &(struct message){.kind = MESSAGE_NEED, .id = d->id, .objects = {.count = n, .list = list}}, FROM_AGENT);
            n = 0;
        }
    }
}

/* --- testing them --- */

static struct want *next_to_prove(const struct deploy *d)
{
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (d->wants[i].state == TO_PROVE)
            return &d->wants[i];
    return NULL;
}

/* Whether an object is what the manifest says of it. */
static int check_object(const struct deploy *d, const struct want *w, const struct image *image, struct ssx_error *err)
{
    void *at = mmap(NULL, (size_t)w->variant->size, PROT_READ, MAP_PRIVATE, image->fd, 0);
    if (at == MAP_FAILED)
        return error_system(err, "can't read the %s of the bundle", image->type);
    int rc = bundle_check_object(&d->manifest, w->variant, at, (size_t)w->variant->size, err);
    munmap(at, (size_t)w->variant->size);
    return rc;
}

/* One that came is tested from memory: what fails isn't even stored. */
static int start_proof(struct deploy *d, struct want *w, char reason[PROOF_REASON], struct ssx_error *err)
{
    struct refusal why = {.reason = ""};
    const char *type = manifest_type_of(&d->manifest, w->variant)->name;
    struct image *image = w->came ? w->came : plugins_stored(d->plugins, type, &w->variant->digest, &why);
    snprintf(reason, PROOF_REASON, "%s", why.error.code ? why.reason : "object");
    if (!image)
        return why.error.code ? error_set(err, why.error.code, "%s", why.error.text)
                              : error_set(err, SSX_ERROR_REFUSED, "the stored %s was damaged meanwhile; deploy again", type);
    d->proving = w;
    int rc = check_object(d, w, image, err) ? -1 : proof_begin(&d->proof, d->children, image, reason, err);
    if (rc && !w->came)
        plugins_drop(d->plugins, image);
    return rc;
}

static int keep(struct deploy *d, const struct want *w, struct ssx_error *err)
{
    return plugins_check_room(d->plugins, w->variant->size, err)
               ? -1
               : store_put(&d->plugins->store, &w->variant->digest, w->came->fd, err);
}

/* Nobody needs the image of an object any more. */
static void let_go(struct deploy *d, struct want *w)
{
    if (!w->came)
        return;
    image_release(w->came);
    plugins_drop(d->plugins, w->came);
    w->came = NULL;
}

/* Ends the proof that is under way. */
static void end_proof(struct deploy *d)
{
    struct image *image = d->proof.host ? d->proof.host->image : NULL;
    proof_end(&d->proof);
    if (image && d->proving && !d->proving->came)
        plugins_drop(d->plugins, image);
}

/* The proof that is under way: -1 with err where the plugin fails, or can't be kept. */
static int follow_proof(struct deploy *d, char reason[PROOF_REASON], struct ssx_error *err)
{
    struct want *w = d->proving;
    int rc = proof_look(&d->proof, reason, err);
    if (rc == 0)
        return 0;
    end_proof(d);
    if (rc > 0 && w->came) {
        snprintf(reason, PROOF_REASON, "store");
        rc = keep(d, w, err);
        d->asked -= w->variant->size;
        d->coming--;
        let_go(d, w);
    }
    w->state = SOUND;
    if (rc >= 0)
        ask(d);
    return rc < 0 ? -1 : 0;
}

static int take_object(struct deploy *d, struct want *w, int fd, char reason[PROOF_REASON], struct ssx_error *err)
{
    struct refusal why = {.reason = ""};
    struct message_call call = {.type = span_text(manifest_type_of(&d->manifest, w->variant)->name), .digest = w->variant->digest};
    struct image *image = plugins_take(d->plugins, &call, fd, &why);
    if (!image) {
        snprintf(reason, PROOF_REASON, "%s", why.reason);
        return error_set(err, why.error.code, "%s", why.error.text);
    }
    w->came = image_hold(image);
    w->state = TO_PROVE;
    return 0;
}

/* --- those under way --- */

static void deploy_free(struct deploy *d)
{
    end_proof(d);
    keygen_close(&d->keygen);
    for (size_t i = 0; d->wants && i < d->manifest.type_count; i++)
        let_go(d, &d->wants[i]);
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

static size_t count_bundles(const struct deploy *all)
{
    size_t n = 0;
    for (; all; all = all->next)
        n += all->does == BUNDLE;
    return n;
}

void deploy_clear(struct deploy **all)
{
    while (*all)
        drop(all);
}

/* --- the end of it --- */

/* What generation_prepare and its like returned, as step returns it. */
static int is_done(struct deploy *d, int rc)
{
    if (rc > 0)
        d->retry_ms = clock_ms() + STORE_RETRY_MS;
    return rc > 0 ? 0 : rc < 0 ? -1 : 1;
}

/* All objects are here and sound. Returns as step does. */
static int finish(struct deploy *d, struct ssx_error *err)
{
    struct buf text = {0};
    struct store *s = &d->plugins->store;
    unsigned number = generation_current(s);
    int rc = make_text(&text, d) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory for a generation")
        : generation_prepare(s, &d->digest, &text, err);
    if (rc == 0 && d->install)
        rc = generation_switch(s, &d->digest, d->by, d->downgrade, &number, err);
    buf_free(&text);
    if (rc == 0)
        answer(d->out, d->id, number, true, d);
    return is_done(d, rc);
}

/* --- an OFFER --- */

/* A sender that isn't asked for all at once would not know how much is to come. */
static void tell_size(const struct deploy *d)
{
    if (d->bytes > ASKED_MAX)
        message_encode(d->out, &(struct message){.kind = MESSAGE_PROGRESS, .id = d->id, .progress = {.total = d->bytes}}, FROM_AGENT);
}

/* Looks at the node, for a bundle whose signature was judged. Returns 1 where there is nothing to do any more, 0 where
 * objects are to come or to be tested, -1 with err. */
static int settle(struct deploy *d, const char **reason, struct ssx_error *err)
{
    struct buf now = {0};
    bool same;
    *reason = "signature";
    if (check_policy(d, reason, err) || choose(d, reason, err))
        return -1;
    *reason = "generation";
    int rc = check_generation(d, &now, &same, err);
    for (size_t i = 0; rc == 0 && i < d->manifest.type_count; i++)
        look_for(d, &d->wants[i], &now);
    buf_free(&now);
    if (rc)
        return -1;
    *reason = "policy";
    if (plugins_check_room(d->plugins, d->bytes, err))
        return -1;
    d->coming = d->needed;
    if (!d->look && !(same && !d->needed)) {
        tell_size(d);
        ask(d);
        return 0;
    }
    answer(d->out, d->id, generation_current(&d->plugins->store), !same || d->needed, d);
    return 1;
}

/* Each file of signers has to know who signed, one after the other. Returns 1 once all do, 0 while one is asked, -1
 * with err. */
static int judge(struct deploy *d, struct ssx_error *err)
{
    int rc = d->judges ? keygen_look(&d->keygen, d->children, err) : 1;
    if (rc <= 0)
        return rc;
    const char *signers = policy_signers(d->plugins->policy, d->judges);
    if (signers) {
        d->judges++;
        return keygen_begin(&d->keygen, d->children, signers, err);
    }
    snprintf(d->signer, sizeof d->signer, "%s", d->keygen.signer);
    keygen_close(&d->keygen);
    return 1;
}

/* Looks at what came. Returns 1, 0, -1 as settle does. */
static int begin(struct deploy *d, const struct message_order *o, const char **reason, struct ssx_error *err)
{
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
    if (!o->signature.n || !policy_signers(d->plugins->policy, 0))
        return settle(d, reason, err);
    *reason = "signature";
    d->judging = true;
    return keygen_open(&d->keygen, o->manifest, o->signature, err) ? -1 : judge(d, err);
}

static void add_bundle(struct deploy **all, struct plugins *plugins, struct child **children, const struct message *m, struct buf *out)
{
    const struct message_order *o = &m->objects.order;
    struct ssx_error err = {0};
    const char *reason = "busy";
    struct deploy *d = count_bundles(*all) < DEPLOYS_MAX ? calloc(1, sizeof *d) : NULL;
    int rc = d ? 0 : error_set(&err, SSX_ERROR_REFUSED, "no room for one more bundle in this session");
    if (d) {
        *d = (struct deploy){.id = m->id, .plugins = plugins, .children = children, .out = out, .look = span_is(o->what, "look"),
                             .install = span_is(o->what, "install"), .downgrade = o->downgrade};
        span_copy(d->by, sizeof d->by, o->by);
        rc = begin(d, o, &reason, &err);
    }
    if (rc < 0)
        refuse(out, m->id, reason, &err);
    if (rc && d)
        deploy_free(d);
    if (rc)
        return;
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

/* A switch or a rollback. Returns as step does. */
static int change(struct deploy *d, const char **reason, struct ssx_error *err)
{
    struct store *s = &d->plugins->store;
    const struct policy *policy = d->plugins->policy;
    unsigned was = generation_current(s), number = was;
    *reason = "policy";
    if (policy_check_bundle(policy, "what is prepared", err))
        return -1;
    *reason = "generation";
    int rc = d->does == SWITCH ? generation_switch(s, &d->digest, d->by, d->downgrade, &number, err)
                               : generation_roll_back(s, d->to, &number, check_old, (void *)policy, err);
    if (rc == 0)
        answer(d->out, d->id, number, number != was, NULL);
    return is_done(d, rc);
}

/* Done at once, unless it has to wait. */
static void add_change(struct deploy **all, struct plugins *plugins, const struct message *m, struct buf *out)
{
    const struct message_order *o = &m->objects.order;
    struct ssx_error err = {0};
    const char *reason = "busy";
    struct deploy *d = calloc(1, sizeof *d);
    int rc = d ? 0 : error_set(&err, SSX_ERROR_SYSTEM, "out of memory for a change of generations");
    if (d) {
        *d = (struct deploy){.id = m->id, .plugins = plugins, .out = out, .digest = o->bundle, .to = (unsigned)o->generation,
                             .does = span_is(o->what, "switch") ? SWITCH : ROLL_BACK, .downgrade = o->downgrade};
        span_copy(d->by, sizeof d->by, o->by);
        rc = change(d, &reason, &err);
    }
    if (rc < 0)
        refuse(out, m->id, reason, &err);
    if (rc && d)
        deploy_free(d);
    if (rc)
        return;
    while (*all) /* behind those that came before */
        all = &(*all)->next;
    *all = d;
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

/* [number, made: seconds since 1970, bundles], and into another list who made it; one that can't be read has
 * neither. */
static void pack_generation(struct buf *out, struct buf *makers, const struct store *s, unsigned number)
{
    struct buf text = {0};
    struct stat st = {0};
    struct generation_by by = {.said = ""};
    char path[PATH_MAX + 32];
    msgpack_packer p = packer(out), q = packer(makers);
    bool whole = generation_load(&text, s, number, NULL) == 0;
    snprintf(path, sizeof path, "%s/generations/%u", s->dir, number);
    if (stat(path, &st) == 0 && st.st_mtime > 0)
        by.made_s = (uint64_t)st.st_mtime; /* as good as what an older one says: nothing */
    if (whole)
        generation_made_by(&text, &by);
    msgpack_pack_array(&p, 3);
    msgpack_pack_uint32(&p, number);
    msgpack_pack_uint64(&p, by.made_s);
    if (whole)
        pack_bundles(&p, &text);
    else
        msgpack_pack_array(&p, 0);
    pack_text(&q, by.said);
    buf_free(&text);
}

static void list(struct plugins *plugins, const struct message *m, struct buf *out)
{
    struct buf numbers = {0}, packed = {0}, makers = {0}, value = {0};
    struct ssx_error err = {0};
    size_t count = 0;
    if (generation_list(&numbers, &plugins->store, &err)) {
        refuse(out, m->id, "store", &err);
        return;
    }
    const unsigned *at = (const unsigned *)(const void *)buf_data(&numbers);
    for (size_t n = buf_length(&numbers) / sizeof *at; n && buf_length(&packed) < LIST_MAX / 2; count++)
        pack_generation(&packed, &makers, &plugins->store, at[--n]);
    msgpack_packer p = packer(&value);
    msgpack_pack_map(&p, 3);
    pack_text(&p, "generation");
    msgpack_pack_uint32(&p, generation_current(&plugins->store));
    pack_text(&p, "generations");
    msgpack_pack_array(&p, count);
    buf_add(&value, buf_data(&packed), buf_length(&packed));
    pack_text(&p, "makers");
    msgpack_pack_array(&p, count);
    buf_add(&value, buf_data(&makers), buf_length(&makers));
    if (buf_length(&value) < LIST_MAX)
        put_result(out, m->id, &value);
    else
        end(out, m->id, SSX_OUTCOME_REFUSED, "store", "there are too many bundles in a generation to show them");
    buf_free(&numbers);
    buf_free(&packed);
    buf_free(&makers);
    buf_free(&value);
}

void deploy_add(struct deploy **all, struct plugins *plugins, struct child **children, const struct message *m, struct buf *out)
{
    struct span what = m->objects.order.what, by = m->objects.order.by;
    if (by.n && !generation_is_name((const char *)by.at, by.n))
        end(out, m->id, SSX_OUTCOME_REFUSED, "generation",
            "who the sender says it is makes no sense: printable bytes without a blank, 127 at most");
    else if (span_is(what, "look") || span_is(what, "prepare") || span_is(what, "install"))
        add_bundle(all, plugins, children, m, out);
    else if ((span_is(what, "switch") && m->objects.order.has_bundle) || span_is(what, "rollback"))
        add_change(all, plugins, m, out);
    else if (span_is(what, "list"))
        list(plugins, m, out);
    else
        end(out, m->id, SSX_OUTCOME_REFUSED, "unsupported", "not supported: this OFFER");
}

/* --- CHUNK, CANCEL --- */

static struct want *find_want(const struct deploy *d, const struct digest *digest)
{
    for (size_t i = 0; i < d->manifest.type_count; i++)
        if (d->wants[i].state == ASKED && digest_equal(&d->wants[i].variant->digest, digest))
            return &d->wants[i];
    return NULL;
}

/* Returns 0 with *fd (-1: more is to come), or -1 with err and the reason. */
static int add_chunk(struct deploy *d, const struct want *w, const struct message *m, int *fd,
                     char reason[PROOF_REASON], struct ssx_error *err)
{
    struct upload *u = &d->upload;
    *fd = -1;
    snprintf(reason, PROOF_REASON, "busy");
    if (!u->open && plugins_make_room(d->plugins, w->variant->size, err))
        return -1;
    snprintf(reason, PROOF_REASON, "store");
    if (!u->open && upload_begin(u, &w->variant->digest, w->variant->size, &d->plugins->coming, err))
        return -1;
    if (digest_equal(&u->digest, &m->chunk.digest) && upload_add(u, m->chunk.bytes.at, m->chunk.bytes.n, err) == 0 &&
        (m->chunk.more || upload_end(u, fd, err) == 0))
        return 0;
    error_set(err, SSX_ERROR_PROTOCOL, "an object came before the one before was whole");
    if (err->code == SSX_ERROR_PROTOCOL)
        snprintf(reason, PROOF_REASON, "object");
    return -1;
}

int deploy_take(struct deploy **all, const struct message *m, struct ssx_error *err)
{
    struct ssx_error fault = {0};
    char reason[PROOF_REASON];
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
    int rc = add_chunk(d, w, m, &fd, reason, &fault);
    if (rc == 0 && fd >= 0)
        rc = take_object(d, w, fd, reason, &fault);
    if (rc) {
        refuse(d->out, d->id, reason, &fault);
        drop(all);
    }
    return 0;
}

/* --- a turn --- */

/* Whether it waits for a child. */
static bool is_waiting(const struct deploy *d) { return d->judging || d->proof.host; }

static bool has_work(const struct deploy *d)
{
    return !is_waiting(d) && (!d->coming || next_to_prove(d)) && clock_ms() >= d->retry_ms;
}

bool deploy_is_busy(const struct deploy *all)
{
    while (all && !has_work(all))
        all = all->next;
    return all != NULL;
}

int64_t deploy_next_ms(const struct deploy *all)
{
    int64_t next = INT64_MAX;
    for (; all; all = all->next) {
        int64_t then = all->judging ? all->keygen.until_ms : all->proof.host ? all->proof.until_ms
            : all->retry_ms ? all->retry_ms : INT64_MAX;
        next = then < next ? then : next;
    }
    return next;
}

size_t deploy_fds(const struct deploy *all, int out[DEPLOYS_MAX])
{
    size_t n = 0;
    for (; all; all = all->next)
        if (is_waiting(all))
            out[n++] = all->judging ? all->keygen.said_fd : all->proof.host->socket;
    return n;
}

/* Returns 1 once it is over, 0, or -1 with err. */
static int step(struct deploy *d, const char **reason, char word[PROOF_REASON], struct ssx_error *err)
{
    if (clock_ms() < d->retry_ms)
        return 0;
    if (d->does != BUNDLE)
        return change(d, reason, err);
    if (d->judging) {
        *reason = "signature";
        int rc = judge(d, err);
        d->judging = rc == 0;
        return rc > 0 ? settle(d, reason, err) : rc;
    }
    *reason = word;
    if (d->proof.host)
        return follow_proof(d, word, err);
    struct want *w = next_to_prove(d);
    if (w)
        return start_proof(d, w, word, err);
    return d->coming ? 0 : finish(d, err);
}

void deploy_step(struct deploy **all)
{
    while (*all) {
        struct ssx_error err = {0};
        char word[PROOF_REASON] = "store";
        const char *reason = word;
        int rc = step(*all, &reason, word, &err);
        if (rc < 0)
            refuse((*all)->out, (*all)->id, reason, &err);
        if (rc)
            drop(all);
        else
            all = &(*all)->next;
    }
}
