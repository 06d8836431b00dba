#include "deploy_record.h"

#include "tool.h"

#include "base/error.h"
#include "fleet/record.h"
#include "wire/outcome.h"
#include "wire/pack.h"

#include <stdio.h>
#include <stdlib.h>

/* What a plugin of that type would say of itself. */
static const char note[] =
    "{\"struct\":\"deploy\"}\0"
    "{\"field\":\"bundle\",\"type\":\"str\",\"required\":true,\"doc\":\"the bundle's file\"}\0"
    "{\"struct\":\"deploy_result\"}\0"
    "{\"field\":\"had\",\"type\":\"str\",\"required\":true,\"doc\":\"the version that was in force\"}\0"
    "{\"field\":\"changes\",\"type\":\"bool\",\"required\":true,\"doc\":\"whether another generation is in force now\"}\0"
    "{\"field\":\"generation\",\"type\":\"u64\",\"required\":true,\"doc\":\"the one in force\"}\0"
    "{\"field\":\"objects\",\"type\":\"u64\",\"required\":true,\"doc\":\"how many the node lacked\"}\0"
    "{\"field\":\"bytes\",\"type\":\"u64\",\"required\":true,\"doc\":\"their size\"}\0"
    "{\"worker\":\"deploy\",\"version\":\"1.0\",\"abi\":[1,0],\"state\":\"deploy\",\"result\":\"deploy_result\","
    "\"traits\":\"SSX_SHOWS_RESULT\",\"doc\":\"puts the plugins of a bundle in force\"}";

static void pack_result(struct buf *out, const struct rollout_host *h)
{
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, 5);
    pack_text(&p, "had");
    pack_text(&p, h->has);
    pack_text(&p, "changes");
    (void)(h->changes ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
    pack_text(&p, "generation");
    msgpack_pack_uint64(&p, h->generation);
    pack_text(&p, "objects");
    msgpack_pack_uint64(&p, h->needs);
    pack_text(&p, "bytes");
    msgpack_pack_uint64(&p, h->bytes);
}

static void note_host(struct record *record, size_t number, const struct rollout_host *h, bool held_back)
{
    bool waits = held_back && h->answered && h->changes;
    const enum ssx_outcome outcome = waits ? SSX_OUTCOME_CANCELLED : h->answered ? SSX_OUTCOME_OK : h->outcome;
    const char *message = waits ? "prepared, not switched" : h->message;
    const struct ssx_fleet_timing timing = {.tries = 1};
    char text[SSX_ERROR_TEXT + 32];
    struct buf result = {0};
    snprintf(text, sizeof text, "%s%s%s", outcome_name(outcome), *message ? ": " : "", message);
    const struct ssx_ending ending = {.outcome = outcome, .reason = h->reason, .message = message, .digest = "", .sandbox = "",
                                      .text = text, .exit_code = outcome_exit_code(outcome, 0, 0, h->reason)};
    if (h->answered && !waits) {
        pack_result(&result, h);
        record_event(record, &(struct ssx_fleet_event){.kind = SSX_FLEET_RESULT, .host = number, .name = h->name,
                                                       .bytes = buf_data(&result), .n = buf_length(&result)});
        buf_free(&result);
    }
    record_event(record, &(struct ssx_fleet_event){.kind = SSX_FLEET_END,
                                                   .host = number,
                                                   .item = SSX_FLEET_NONE,
                                                   .name = h->name,
                                                   .ending = &ending,
                                                   .timing = &timing});
}

static int write_record(const struct rollout *r, const struct record_run *run, bool held_back, struct ssx_error *err)
{
    struct record *record;
    if (record_open(&record, run, err))
        return -1;
    for (size_t i = 0; i < r->count; i++)
        note_host(record, i, &r->hosts[i], held_back);
    int rc = record_flush(record, err);
    record_close(record);
    return rc;
}

void deploy_record(const struct rollout *r, const char *bundle, bool held_back)
{
    struct ssx_error err = {0};
    struct descriptor descriptor;
    struct buf state = {0};
    char **hosts = calloc(r->count, sizeof *hosts);
    msgpack_packer p = packer(&state);
    msgpack_pack_map(&p, 1);
    pack_text(&p, "bundle");
    pack_text(&p, bundle);
    for (size_t i = 0; hosts && i < r->count; i++)
        hosts[i] = r->hosts[i].name;
    if (!hosts || state.failed) {
        error_set(&err, SSX_ERROR_SYSTEM, "can't record the deploy: out of memory");
    } else if (descriptor_parse(&descriptor, note, sizeof note, &err) == 0) {
        const struct record_run run = {.descriptor = &descriptor,
                                       .type = "deploy",
                                       .state = buf_data(&state),
                                       .state_size = buf_length(&state),
                                       .hosts = hosts,
                                       .count = r->count};
        write_record(r, &run, held_back, &err);
        descriptor_dispose(&descriptor);
    }
    if (err.code)
        tool_complain(&err);
    free(hosts);
    buf_free(&state);
}
