#include "fleet/items.h"

#include "base/error.h"
#include "wire/pack.h"
#include "wire/value.h"

#include <stdlib.h>

static int no_memory(struct ssx_error *err) { return error_set(err, SSX_ERROR_SYSTEM, "out of memory for items"); }

static int check_map(const void *value, size_t n, struct ssx_error *err)
{
    struct value_reader r = value_reader(value, n);
    size_t pairs;
    if (value_scan(value, n, err)) {
        if (err)
            err->code = SSX_ERROR_REFUSED;
        return -1;
    }
    return value_take_map(&r, &pairs) ? error_set(err, SSX_ERROR_REFUSED, "not a map of fields") : 0;
}

int items_add(struct items *items, const void *fields, size_t n, struct ssx_error *err)
{
    if (check_map(fields, n, err))
        return error_prefix(err, "item %zu", items->count);
    if (items->count == items->capacity) {
        size_t more = items->capacity ? 2 * items->capacity : 64;
        size_t *ends = realloc(items->ends, more * sizeof *ends);
        if (!ends)
            return no_memory(err);
        items->ends = ends;
        items->capacity = more;
    }
    if (buf_add(&items->bytes, fields, n))
        return no_memory(err);
    items->ends[items->count++] = buf_length(&items->bytes);
    return 0;
}

void items_free(struct items *items)
{
    buf_free(&items->bytes);
    free(items->ends);
    *items = (struct items){0};
}

/* Whether the map that r is in has this key. */
static bool has_key(struct value_reader r, size_t pairs, const struct value *key)
{
    struct value v;
    for (; pairs; pairs--) {
        if (value_next(&r, &v) == 0 && v.kind == VALUE_STR && key->kind == VALUE_STR && v.n == key->n && memcmp(v.at, key->at, v.n) == 0)
            return true;
        if (value_skip(&r))
            return false;
    }
    return false;
}

/* Adds the pairs of a map that the other lacks. Returns how many. */
static size_t add_others(struct buf *out, struct value_reader r, size_t pairs, struct value_reader other, size_t other_pairs)
{
    size_t added = 0;
    for (; pairs; pairs--) {
        const unsigned char *at = r.at;
        struct value key;
        if (value_next(&r, &key) || value_skip(&r))
            break;
        if (has_key(other, other_pairs, &key))
            continue;
        buf_add(out, at, (size_t)(r.at - at));
        added++;
    }
    return added;
}

int items_state(struct buf *out, const struct items *items, size_t item, const void *state, size_t n, struct ssx_error *err)
{
    size_t start = item ? items->ends[item - 1] : 0, pairs, own_pairs;
    struct value_reader own = value_reader(buf_data(&items->bytes) + start, items->ends[item] - start), host = value_reader(state, n);
    struct buf kept = {0};
    if (value_take_map(&own, &own_pairs) || value_take_map(&host, &pairs))
        return error_set(err, SSX_ERROR_REFUSED, "the state is not a map of fields");
    size_t count = add_others(&kept, host, pairs, own, own_pairs);
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, count + own_pairs);
    buf_add(out, buf_data(&kept), buf_length(&kept));
    buf_add(out, own.at, (size_t)(own.end - own.at));
    int rc = kept.failed || out->failed ? no_memory(err) : 0;
    buf_free(&kept);
    return rc;
}
