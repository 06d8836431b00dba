/* sshexec bundle create: plugin files into one bundle. The same files and words give the same bytes. */
#include "bundle.h"

#include "interrupt.h"

#include "base/error.h"
#include "base/new_file.h"
#include "bundle/inspect.h"
#include "worker/plugin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the object of a digest is. */
struct source { struct digest digest; const char *path; };

struct creation {
    const struct bundle_words *words;
    struct manifest manifest;
    struct source *sources;              /* one a file */
};

static int add_plugin(struct creation *c, const char *path, struct source *source, struct ssx_error *err)
{
    struct buf image = {0};
    struct manifest_type type;
    struct variant variant;
    int rc = bundle_read_file(&image, path, PLUGIN_SIZE_MAX, err) ||
        bundle_inspect(&type, &variant, path, buf_data(&image), buf_length(&image), err) ? -1 : 0;
    if (rc == 0 && manifest_add(&c->manifest, &type, &variant, err))
        rc = error_prefix(err, "%s", path);
    *source = (struct source){variant.digest, path};
    buf_free(&image);
    return rc;
}

/* "web-1.4" of "dir/web-1.4.ssx" into name and version, where the user gave none: cut before the first "-" that a digit
 * follows. */
static int name_it(struct creation *c, struct ssx_error *err)
{
    const struct bundle_words *w = c->words;
    const char *slash = strrchr(w->output, '/'), *base = slash ? slash + 1 : w->output, *dash = base;
    size_t n = strlen(base);
    if (n > 4 && strcmp(base + n - 4, ".ssx") == 0)
        n -= 4;
    while ((dash = strchr(dash, '-')) && !(dash[1] >= '0' && dash[1] <= '9'))
        dash++;
    size_t name = dash && dash < base + n ? (size_t)(dash - base) : n;
    if (!w->version && name == n)
        return error_set(err, SSX_ERROR_USAGE, "which version? give --version, or an output such as web-1.4.ssx");
    if (w->name ? (size_t)snprintf(c->manifest.name, sizeof c->manifest.name, "%s", w->name) >= sizeof c->manifest.name
                : (size_t)snprintf(c->manifest.name, sizeof c->manifest.name, "%.*s", (int)name, base) >= sizeof c->manifest.name)
        return error_set(err, SSX_ERROR_USAGE, "the bundle's name is too long (%d characters at most)", TYPE_NAME_MAX);
    if (w->version ? (size_t)snprintf(c->manifest.version, sizeof c->manifest.version, "%s", w->version) >= sizeof c->manifest.version
                   : (size_t)snprintf(c->manifest.version, sizeof c->manifest.version, "%.*s", (int)(n - name - 1),
                                      base + name + 1) >= sizeof c->manifest.version)
        return error_set(err, SSX_ERROR_USAGE, "the bundle's version is too long (%d characters at most)", MANIFEST_VERSION_MAX);
    return 0;
}

static int take_serial(struct creation *c, struct ssx_error *err)
{
    const char *text = c->words->serial;
    char *end;
    if (!text)
        return 0;
    errno = 0;
    c->manifest.serial = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || c->manifest.serial > MANIFEST_SERIAL_MAX)
        return error_set(err, SSX_ERROR_USAGE, "--serial: \"%s\" is not a number from 0 to %" PRId64, text, MANIFEST_SERIAL_MAX);
    return 0;
}

/* Lines, without blank ones at the end. */
static int take_changelog(struct creation *c, struct ssx_error *err)
{
    struct buf *text = &c->manifest.changelog;
    if (!c->words->changelog)
        return 0;
    if (bundle_read_file(text, c->words->changelog, MANIFEST_CHANGELOG_MAX, err))
        return -1;
    while (buf_length(text) && strchr(" \t\r\n", buf_data(text)[buf_length(text) - 1]))
        text->end--;
    return buf_length(text) && buf_add(text, "\n", 1) ? error_set(err, SSX_ERROR_SYSTEM, "out of memory") : 0;
}

static const char *path_of(const struct creation *c, const struct digest *digest)
{
    const struct source *s = c->sources;
    while (!digest_equal(&s->digest, digest))
        s++;
    return s->path;
}

static int add_objects(const struct creation *c, struct bundle_writer *w, struct ssx_error *err)
{
    for (size_t i = 0; i < c->manifest.variant_count; i++) {
        const char *path = path_of(c, &c->manifest.variants[i].digest);
        struct buf image = {0};
        int rc = bundle_read_file(&image, path, PLUGIN_SIZE_MAX, err) || bundle_writer_add(w, buf_data(&image), buf_length(&image), err)
            ? -1 : 0;
        buf_free(&image);
        if (rc)
            return err->code == SSX_ERROR_REFUSED ? error_prefix(err, "%s has changed meanwhile", path) : -1;
        if (interrupt_signal())
            return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
    }
    return 0;
}

static int write_it(const struct creation *c, const struct buf *text, struct ssx_error *err)
{
    struct new_file file;
    struct bundle_writer *writer;
    if (new_file_open(&file, c->words->output, err))
        return -1;
    int rc = bundle_writer_open(&writer, file.fd, &c->manifest, text, &(struct buf){0}, err);
    if (rc == 0) {
        rc = add_objects(c, writer, err) || bundle_writer_end(writer, err) ? -1 : 0;
        bundle_writer_close(writer);
    }
    if (rc == 0)
        return new_file_keep(&file, 0644, err);
    new_file_drop(&file);
    return error_prefix(err, "can't make %s", c->words->output);
}

static int create(struct creation *c, struct ssx_error *err)
{
    struct buf text = {0};
    int rc = name_it(c, err) || take_serial(c, err) || take_changelog(c, err) ? -1 : 0;
    for (int i = 0; i < c->words->count && rc == 0; i++)
        rc = add_plugin(c, c->words->files[i], &c->sources[i], err);
    if (rc == 0 && manifest_format(&text, &c->manifest, err))
        rc = error_prefix(err, "can't make %s", c->words->output);
    if (rc == 0)
        rc = write_it(c, &text, err);
    buf_free(&text);
    return rc;
}

int bundle_create(const struct bundle_words *w, struct ssx_error *err)
{
    struct creation c = {.words = w, .sources = calloc((size_t)w->count, sizeof *c.sources)};
    if (!w->output)
        error_set(err, SSX_ERROR_USAGE, "bundle create needs -o FILE.ssx, the bundle to write");
    else if (!c.sources)
        error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    else if (create(&c, err) == 0)
        printf("%s: %s %s, %zu type%s, %zu variant%s\n", w->output, c.manifest.name, c.manifest.version, c.manifest.type_count,
               c.manifest.type_count == 1 ? "" : "s",
               c.manifest.variant_count, c.manifest.variant_count == 1 ? "" : "s");
    manifest_dispose(&c.manifest);
    free(c.sources);
    return err->code ? -1 : 0;
}
