#include "show_type.h"

#include "base/digest.h"
#include "wire/json.h"
#include "worker/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct { uint32_t bit; const char *word, *about; } traits[] = {
    {TRAIT_IDEMPOTENT, "idempotent", "idempotent: a lost call may be tried again"},
    {TRAIT_REUSABLE, "reusable", "reusable: one process may serve many calls"},
    {TRAIT_TAKES_INPUT, "takes-input", "takes input: its stdin is the caller's"},
    {TRAIT_SHOWS_OUTPUT, "shows-output", "shows its output, not its result"},
    {TRAIT_SHOWS_RESULT, "shows-result", "shows its result, not its output"},
    {TRAIT_RETURNS_STATE, "returns-state", "returns its state: the caller gets the changed object back (--state-out, --json)"},
    {TRAIT_SANDBOX_NONE, "sandbox-none", "runs without the sandbox: whoever may call it has your shell's rights"},
};
#define TRAITS (sizeof traits / sizeof *traits)

static void field_default(struct buf *out, const struct schema_field *f)
{
    if (f->required)
        buf_add_text(out, "required");
    else if (f->default_text)
        buf_add_text(out, f->default_text);
    else
        json_from_msgpack(out, buf_data(&f->default_value), buf_length(&f->default_value), NULL);
    buf_add(out, "", 1);
}

static void show_fields(const struct schema_struct *s, const char *title, bool defaults)
{
    size_t names = 4, types = 4;
    char text[256];
    printf("\n%s\n", title);
    if (!s->count)
        puts("  (none)");
    for (size_t i = 0; i < s->count; i++) {
        size_t name = strlen(s->fields[i].name), type = strlen(schema_type_describe(&s->fields[i].type, text, sizeof text));
        names = name > names ? name : names;
        types = type > types && type <= 32 ? type : types;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct schema_field *f = &s->fields[i];
        struct buf value = {0};
        field_default(&value, f);
        printf("  %-*s  %-*s  ", (int)names, f->name, (int)types, schema_type_describe(&f->type, text, sizeof text));
        if (defaults && f->required)
            printf("(required) ");
        printf("%s", f->doc);
        if (defaults && !f->required && !value.failed && strcmp((const char *)buf_data(&value), "null") &&
            strcmp((const char *)buf_data(&value), "[]"))
            printf(" [%s]", (const char *)buf_data(&value));
        putchar('\n');
        buf_free(&value);
    }
}

/* The structs that state, result and items hold. */
static void show_nested(const struct descriptor *d)
{
    char title[128];
    for (size_t i = 0; i < d->struct_count; i++) {
        if (&d->structs[i] == d->state || &d->structs[i] == d->result || &d->structs[i] == d->items)
            continue;
        snprintf(title, sizeof title, "struct %s:", d->structs[i].name);
        show_fields(&d->structs[i], title, false);
    }
}

void show_type(const struct descriptor *d)
{
    const struct schema_field *rest = schema_field_rest(d->state);
    printf("%s %s: %s\n\nusage: sshexec run %s [HOST | -w SET]%s%s%s\n", d->type, d->version, d->doc, d->type,
           d->state->count ? " [field=value ...]" : "", rest ? " -- " : "", rest ? rest->name : "");
    show_fields(d->state, "fields (default):", true);
    show_fields(d->result, "result:", false);
    if (d->items && d->items != d->result && d->items != d->state) {
        char title[128];
        snprintf(title, sizeof title, "each item (struct %s):", d->items->name);
        show_fields(d->items, title, false);
    } else if (d->items) {
        printf("\nitems: struct %s, as the %s\n", d->items->name, d->items == d->result ? "result" : "state");
    }
    show_nested(d);
    putchar('\n');
    for (size_t i = 0; i < TRAITS; i++)
        if (d->traits & traits[i].bit)
            printf("%s\n", traits[i].about);
    printf("ABI %u.%u, schema %s\n", d->abi_major, d->abi_minor, d->schema_digest);
}

/* --- JSON: the plugin's own note lines, which are JSON already --- */

static void add_string(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "\"%s\":", key);
    json_add_string(out, value, strlen(value));
}

static void add_fields(struct buf *out, const char *key, const struct schema_struct *s)
{
    char type[512];
    buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < s->count; i++) {
        const struct schema_field *f = &s->fields[i];
        buf_add_text(out, i ? ",{" : "{");
        add_string(out, "name", f->name);
        buf_add_text(out, ",");
        add_string(out, "type", schema_type_describe(&f->type, type, sizeof type));
        buf_printf(out, ",\"required\":%s", f->required ? "true" : "false");
        if (!f->required && !f->default_text && buf_length(&f->default_value)) {
            buf_add_text(out, ",\"default\":");
            json_from_msgpack(out, buf_data(&f->default_value), buf_length(&f->default_value), NULL);
        }
        buf_add_text(out, ",");
        add_string(out, "doc", f->doc);
        buf_add_text(out, "}");
    }
    buf_add_text(out, "]");
}

int show_type_json(struct buf *out, const struct descriptor *d)
{
    bool first = true;
    buf_add_text(out, "{");
    add_string(out, "type", d->type);
    buf_add_text(out, ",");
    add_string(out, "version", d->version);
    buf_add_text(out, ",");
    add_string(out, "doc", d->doc);
    buf_printf(out, ",\"abi\":[%u,%u],\"schema\":\"%s\",\"traits\":[", d->abi_major, d->abi_minor, d->schema_digest);
    for (size_t i = 0; i < TRAITS; i++)
        if (d->traits & traits[i].bit) {
            buf_printf(out, "%s\"%s\"", first ? "" : ",", traits[i].word);
            first = false;
        }
    buf_add_text(out, "]");
    add_fields(out, "fields", d->state);
    add_fields(out, "result", d->result);
    if (d->items)
        add_fields(out, "items", d->items);
    buf_add_text(out, ",\"structs\":{");
    first = true;
    for (size_t i = 0; i < d->struct_count; i++) {
        if (&d->structs[i] == d->state || &d->structs[i] == d->result)
            continue;
        char key[128];
        struct buf fields = {0};
        snprintf(key, sizeof key, "%s", d->structs[i].name);
        add_fields(&fields, key, &d->structs[i]);
        if (buf_length(&fields))
            buf_add(out, (char *)buf_data(&fields) + first, buf_length(&fields) - first); /* the first comes without its comma */
        buf_free(&fields);
        first = false;
    }
    return buf_add_text(out, "}}");
}
