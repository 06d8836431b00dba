#include "fleet/session.h"

#include "base/error.h"
#include "wire/json.h"
#include "wire/outcome.h"
#include "wire/value.h"
#include "worker/codec.h"

#include <stdlib.h>

/* --- how it ended --- */

int ssx_run_outcome(const struct ssx_run *run) { return run->ended ? (int)run->ending.outcome : -1; }
int ssx_run_exit_code(const struct ssx_run *run) { return run->ended ? run->ending.exit_code : -1; }
const struct ssx_ending *ssx_run_ending(const struct ssx_run *run) { return run->ended ? &run->ending : NULL; }

static const void *bytes_of(const struct buf *value, size_t *n)
{
    *n = buf_length(value);
    return *n ? buf_data(value) : NULL;
}

const void *ssx_run_result(const struct ssx_run *run, size_t *n) { return bytes_of(&run->result, n); }
const void *ssx_run_state(const struct ssx_run *run, size_t *n) { return bytes_of(&run->state, n); }

/* --- as structs --- */

static void *allocate(void *arena, size_t n) { return arena_alloc(arena, n); }

static int decode(struct arena *memory, const struct ssx_schema *schema, void *out, const void *msgpack, size_t n,
                  const char *what, struct ssx_error *err)
{
    return codec_decode(schema, out, msgpack, n, allocate, memory, err) ? error_prefix(err, "the %s", what) : 0;
}

static int decode_kept(struct ssx_run *run, const struct buf *value, const struct ssx_schema *schema, void *out,
                       const char *what, struct ssx_error *err)
{
    if (!buf_length(value))
        return error_set(err, SSX_ERROR_REFUSED, "the run gave no %s%s%s", what, run->ended ? ": " : " yet",
                         run->ended ? run->ending.text : "");
    return decode(&run->memory, schema, out, buf_data(value), buf_length(value), what, err);
}

int ssx_run_result_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, struct ssx_error *err)
{
    return decode_kept(run, &run->result, schema, out, "result", err);
}

int ssx_run_state_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, struct ssx_error *err)
{
    return decode_kept(run, &run->state, schema, out, "state", err);
}

int ssx_run_item_struct(struct ssx_run *run, const struct ssx_schema *schema, void *out, const void *msgpack, size_t n,
                        struct ssx_error *err)
{
    arena_free(&run->item_memory);
    return decode(&run->item_memory, schema, out, msgpack, n, "item", err);
}

/* --- as JSON --- */

int ssx_value_from_json(void **out, size_t *n, const char *json, size_t length, struct ssx_error *err)
{
    struct buf value = {0};
    *out = NULL;
    *n = 0;
    if (json_to_msgpack(&value, json, length, err)) {
        buf_free(&value);
        return -1;
    }
    *n = buf_length(&value);
    *out = value.at;
    return 0;
}

int ssx_value_to_json(char **out, const void *msgpack, size_t n, struct ssx_error *err)
{
    struct buf text = {0};
    *out = NULL;
    if (value_scan(msgpack, n, err) || json_from_msgpack(&text, msgpack, n, err) || buf_add(&text, "", 1)) {
        buf_free(&text);
        return error_set(err, SSX_ERROR_SYSTEM, "can't write JSON: out of memory");
    }
    *out = (char *)text.at;
    return 0;
}

void ssx_value_free(void *value) { free(value); }

/* --- names --- */

const char *ssx_outcome_name(enum ssx_outcome outcome) { return outcome_name(outcome); }
int ssx_error_exit_code(enum ssx_error_code code) { return error_exit_code(code); }
