/* sshexec bundle show, and bundle verify: what a bundle says that it holds, and whether that is so. */
#include "bundle.h"

#include "base/error.h"
#include "bundle/inspect.h"
#include "wire/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- for people --- */

static void print_changelog(const struct manifest *m)
{
    const char *at = (const char *)buf_data(&m->changelog), *end = at + buf_length(&m->changelog);
    if (at < end)
        puts("changelog:");
    for (const char *newline; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
        printf("  %.*s\n", (int)(newline - at), at);
}

static void print_manifest(const struct manifest *m)
{
    char hex[DIGEST_HEX + 1];
    printf("%s %s, serial %" PRIu64 "\n", m->name, m->version, m->serial);
    for (const struct manifest_type *t = m->types; t < m->types + m->type_count; t++) {
        printf("%s %s (schema %s)\n", t->name, t->version, t->schema);
        for (const struct variant *v = m->variants + t->first; v < m->variants + t->first + t->count; v++) {
            digest_hex(hex, &v->digest);
            printf("  %-8s %-11s %9" PRIu64 "  %s\n", v->arch, v->libc, v->size, hex);
        }
    }
    print_changelog(m);
}

/* "signed by ada@example.org (ED25519 SHA256:...)", or as much of it as is known. */
static void signer_text(char *out, size_t size, const struct bundle_signer *s)
{
    if (!s->is_signed)
        snprintf(out, size, "not signed");
    else if (s->principals[0])
        snprintf(out, size, "signed by %s (%s %s)", s->principals, s->kind, s->key);
    else
        snprintf(out, size, "signed with %s %s (whose that is: --signers FILE)", s->kind, s->key);
}

/* --- for machines --- */

static void add_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "\"%s\":", name);
    json_add_string(out, text, strlen(text));
}

static void add_types(struct buf *out, const struct manifest *m)
{
    char hex[DIGEST_HEX + 1];
    for (const struct manifest_type *t = m->types; t < m->types + m->type_count; t++) {
        buf_printf(out, "%s{\"type\":\"%s\",\"version\":\"%s\",\"schema\":\"%s\",\"variants\":[", t > m->types ? "," : "", t->name,
                   t->version, t->schema);
        for (const struct variant *v = m->variants + t->first; v < m->variants + t->first + t->count; v++) {
            digest_hex(hex, &v->digest);
            buf_printf(out, "%s{\"arch\":\"%s\",\"libc\":\"%s\",\"size\":%" PRIu64 ",\"digest\":\"%s\"}", v > m->variants + t->first ? ","
                       : "", v->arch, v->libc, v->size, hex);
        }
        buf_add_text(out, "]}");
    }
}

static void print_json(const char *path, const struct manifest *m, const struct bundle_signer *s)
{
    struct buf out = {0};
    buf_add_text(&out, "{");
    add_text(&out, "file", path);
    buf_printf(&out, ",\"name\":\"%s\",\"version\":\"%s\",\"serial\":%" PRIu64 ",\"types\":[", m->name, m->version, m->serial);
    add_types(&out, m);
    buf_add_text(&out, "],\"changelog\":");
    json_add_string(&out, (const char *)buf_data(&m->changelog), buf_length(&m->changelog));
    buf_add_text(&out, ",\"signature\":");
    if (s->is_signed) {
        buf_printf(&out, "{\"kind\":\"%s\",\"key\":\"%s\"%s", s->kind, s->key, s->principals[0] ? "," : "");
        if (s->principals[0])
            add_text(&out, "principals", s->principals);
        buf_add_text(&out, "}");
    } else {
        buf_add_text(&out, "null");
    }
    buf_add_text(&out, "}\n");
    fwrite(buf_data(&out), 1, buf_length(&out), stdout);
    buf_free(&out);
}

/* --- the commands --- */

int bundle_show(const struct bundle_words *w, struct ssx_error *err)
{
    struct bundle *b;
    struct bundle_signer signer;
    char text[512];
    if (bundle_open(&b, w->files[0], err))
        return -1;
    int rc = bundle_judge_signature(&signer, b, w->files[0], NULL, NULL, err);
    if (rc == 0 && w->json) {
        print_json(w->files[0], bundle_manifest(b), &signer);
    } else if (rc == 0) {
        signer_text(text, sizeof text, &signer);
        print_manifest(bundle_manifest(b));
        puts(text);
    }
    bundle_close(b);
    return rc;
}

static int check_object(void *user, const struct manifest *m, const struct variant *v, const void *image, size_t n, struct ssx_error *err)
{
    (void)user;
    return bundle_check_object(m, v, image, n, err);
}

int bundle_verify(const struct bundle_words *w, struct ssx_error *err)
{
    struct bundle *b;
    struct bundle_signer signer;
    char text[512];
    const char *path = w->files[0];
    if (bundle_open(&b, path, err))
        return -1;
    const struct manifest *m = bundle_manifest(b);
    int rc = bundle_judge_signature(&signer, b, path, w->signers, w->identity, err) ||
             bundle_each(b, path, w->interrupt_fd, check_object, NULL, err) ? -1 : 0;
    if (rc == 0 && w->json) {
        print_json(path, m, &signer);
    } else if (rc == 0) {
        signer_text(text, sizeof text, &signer);
        printf("%s: %s %s, serial %" PRIu64 ", %zu sound object%s; %s\n", path, m->name, m->version, m->serial, m->variant_count,
               m->variant_count == 1 ? "" : "s", text);
    }
    bundle_close(b);
    return rc;
}
