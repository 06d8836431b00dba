/* Fleets that are asked which plugins they have: ssx_fleet_open_describe. */
#include "base/error.h"
#include "base/text.h"
#include "fleet/fleet_parts.h"

#include <stdlib.h>
#include <string.h>

/* The texts of a plugin, each with a NUL behind it. */
struct texts { char *type, *where, *problem, digest[DIGEST_HEX + 1]; };

static char *text_of(const struct span *s) { return strndup(s->n ? s->at : "", s->n); }

/* What its descriptor says. */
static void read_note(struct ssx_fleet_plugin *p, const struct descriptor *d, const struct message_describe *m)
{
    p->version = d->version;
    p->doc = d->doc;
    p->schema = d->schema_digest;
    p->note = m->note.at;
    p->note_size = m->note.n;
}

static void tell_plugin(struct ssx_fleet *f, size_t host, const struct message_describe *m, const struct texts *t)
{
    struct ssx_error why = {0};
    struct descriptor d;
    struct ssx_fleet_plugin plugin = {.type = t->type, .digest = t->digest, .where = t->where, .problem = t->problem,
                                      .version = "", .doc = "", .schema = ""};
    struct ssx_fleet_event event = {.kind = SSX_FLEET_DESCRIBED, .plugin = &plugin};
    bool parsed = !*t->problem && descriptor_parse(&d, m->note.n ? m->note.at : "", m->note.n, &why) == 0;
    if (parsed)
        read_note(&plugin, &d, m);
    else if (why.code)
        plugin.problem = why.text;
    fleet_tell(f, host, ENGINE_NONE, &event);
    if (parsed)
        descriptor_dispose(&d);
}

static void on_message(void *user, size_t host, const struct message *m)
{
    struct texts t;
    if (m->kind != MESSAGE_DESCRIBE)
        return;
    t = (struct texts){text_of(&m->describe.type), text_of(&m->describe.where), text_of(&m->describe.problem), ""};
    digest_hex(t.digest, &m->describe.digest);
    if (t.type && t.where && t.problem)
        tell_plugin(user, host, &m->describe, &t);
    free(t.type);
    free(t.where);
    free(t.problem);
}

static int ask_for_plugins(struct ssx_fleet *f, struct engine_options *e, const char *type, struct ssx_error *err)
{
    if (type && !text_is_type_name(type))
        return error_set(err, SSX_ERROR_UNKNOWN_TYPE, "\"%.100s\" can't be the name of a type", type);
    if (type && !(f->type_name = strdup(type)))
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    e->call.describe = true;
    e->call.type = f->type_name;
    e->listener.on_message = on_message;
    return 0;
}

int ssx_fleet_open_describe(struct ssx_fleet **out, const char *type, const struct ssx_fleet_options *options,
                            struct ssx_error *err)
{
    struct engine_options e;
    struct ssx_fleet *f = fleet_new(&e, options, err);
    return fleet_opened(out, f, f && ask_for_plugins(f, &e, type, err), &e, err);
}
