/* SHA1_Init and its like cost a tenth of EVP for many short inputs, which is felt in a file of thousands of hashed
 * lines. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "transport/known_hosts.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/io.h"
#include "base/pattern.h"
#include "base/random.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (64u << 20)
#define HASH_SIZE SHA_DIGEST_LENGTH
#define KEY_MAX 16384 /* bytes of a public key; RSA of 16,384 bits takes 2 KiB */

struct entry {
    const char *names; /* a comma list of patterns, or NULL for a hashed name */
    const char *type, *base64;
    unsigned names_length, type_length, base64_length, line;
    unsigned short file;
    unsigned char mark;
    unsigned char salt[HASH_SIZE], hash[HASH_SIZE];
};

struct source { char *path; struct buf text; };

struct known_hosts {
    struct source *sources;
    size_t source_count;
    struct entry *entries;
    size_t count, capacity;
};

/* --- reading --- */

struct word { const char *at; size_t n; };

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static struct word next_word(const char **at, const char *end)
{
    while (*at < end && is_blank(**at))
        ++*at;
    struct word w = {*at, 0};
    while (*at < end && !is_blank(**at))
        ++*at;
    w.n = (size_t)(*at - w.at);
    return w;
}

static bool word_is(struct word w, const char *text) { return w.n == strlen(text) && !memcmp(w.at, text, w.n); }

static int decode(unsigned char *out, size_t size, struct word base64)
{
    size_t n = 0;
    const char *end = NULL;
    if (sodium_base642bin(out, size, base64.at, base64.n, NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) ||
        end != base64.at + base64.n)
        return -1;
    return (int)n;
}

/* The 28 characters of 20 bytes. OpenSSL's decoder here, for a long file has ten thousand of these, and libsodium's
 * takes constant time over them. */
static int decode_hash(unsigned char *out, const char *base64)
{
    unsigned char bytes[HASH_SIZE + 1];
    if (base64[27] != '=' || base64[26] == '=' || EVP_DecodeBlock(bytes, (const unsigned char *)base64, 28) != (int)sizeof bytes)
        return -1;
    memcpy(out, bytes, HASH_SIZE);
    return 0;
}

/* |1|salt|hash */
static int parse_hashed(struct entry *e, struct word name)
{
    if (name.n != 3 + 28 + 1 + 28 || memcmp(name.at, "|1|", 3) || name.at[31] != '|')
        return -1;
    return decode_hash(e->salt, name.at + 3) || decode_hash(e->hash, name.at + 32) ? -1 : 0;
}

/* Returns 0, or -1 for a line that names no key. */
static int parse_line(struct entry *e, const char *at, const char *end)
{
    struct word w = next_word(&at, end);
    e->mark = KNOWN_KEY;
    if (w.n && w.at[0] == '@') {
        if (!word_is(w, "@revoked") && !word_is(w, "@cert-authority"))
            return -1;
        e->mark = word_is(w, "@revoked") ? KNOWN_REVOKED : KNOWN_AUTHORITY;
        w = next_word(&at, end);
    }
    struct word type = next_word(&at, end), key = next_word(&at, end);
    if (!key.n || w.at[0] == '#' || w.n > UINT_MAX || key.n > 2 * KEY_MAX)
        return -1;
    e->names = w.at;
    e->names_length = (unsigned)w.n;
    if (w.at[0] == '|') {
        e->names = NULL;
        if (parse_hashed(e, w))
            return -1;
    }
    e->type = type.at;
    e->type_length = (unsigned)type.n;
    e->base64 = key.at;
    e->base64_length = (unsigned)key.n;
    return 0;
}

static struct entry *room(struct known_hosts *k)
{
    if (k->count == k->capacity) {
        size_t capacity = k->capacity ? 2 * k->capacity : 64;
        struct entry *grown = reallocarray(k->entries, capacity, sizeof *grown);
        if (!grown)
            return NULL;
        k->entries = grown;
        k->capacity = capacity;
    }
    return &k->entries[k->count];
}

static int parse_file(struct known_hosts *k, size_t file)
{
    const struct buf *text = &k->sources[file].text;
    if (!buf_length(text))
        return 0;
    const char *at = (const char *)buf_data(text), *end = at + buf_length(text);
    for (unsigned line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = stop ? stop : end;
        struct entry *e = room(k);
        if (!e)
            return -1;
        const char *trimmed = line_end > at && line_end[-1] == '\r' ? line_end - 1 : line_end;
        if (!parse_line(e, at, trimmed)) {
            e->line = line;
            e->file = (unsigned short)file;
            k->count++;
        }
        at = line_end + 1;
    }
    return 0;
}

static int load_file(struct known_hosts *k, const char *path, struct ssx_error *err)
{
    struct source *s = &k->sources[k->source_count];
    s->path = strdup(path);
    if (!s->path)
        return error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", path);
    k->source_count++;
    if (access(path, R_OK)) /* ssh passes over it without a word as well */
        return 0;
    if (file_read(&s->text, path, FILE_MAX, err))
        return -1;
    return parse_file(k, k->source_count - 1) ? error_set(err, SSX_ERROR_SYSTEM, "can't read %s: out of memory", path) : 0;
}

int known_hosts_load(struct known_hosts **out, const char *const *files, size_t count, struct ssx_error *err)
{
    struct known_hosts *k = calloc(1, sizeof *k);
    if (k)
        k->sources = calloc(count + 1, sizeof *k->sources);
    if (!k || !k->sources || count > USHRT_MAX) {
        known_hosts_free(k);
        return error_set(err, SSX_ERROR_SYSTEM, "can't read known hosts: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        if (load_file(k, files[i], err)) {
            known_hosts_free(k);
            return -1;
        }
    }
    *out = k;
    return 0;
}

void known_hosts_free(struct known_hosts *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->source_count; i++) {
        free(k->sources[i].path);
        buf_free(&k->sources[i].text);
    }
    free(k->sources);
    free(k->entries);
    free(k);
}

/* --- finding --- */

size_t known_hosts_name(char *out, size_t size, const char *host, int port)
{
    int n = port == 22 ? snprintf(out, size, "%s", host) : snprintf(out, size, "[%s]:%d", host, port);
    for (char *p = out; size && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return n < 0 ? 0 : (size_t)n;
}

/* HMAC-SHA1 with a key of at most one block. */
static void keyed_hash(unsigned char *out, const unsigned char *key, size_t key_size, const char *text, size_t n)
{
    unsigned char inner[SHA_CBLOCK], outer[SHA_CBLOCK];
    memset(inner, 0x36, sizeof inner);
    memset(outer, 0x5c, sizeof outer);
    for (size_t i = 0; i < key_size; i++) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    SHA_CTX ctx;
    SHA1_Init(&ctx);
    SHA1_Update(&ctx, inner, sizeof inner);
    SHA1_Update(&ctx, text, n);
    SHA1_Final(out, &ctx);
    SHA1_Init(&ctx);
    SHA1_Update(&ctx, outer, sizeof outer);
    SHA1_Update(&ctx, out, HASH_SIZE);
    SHA1_Final(out, &ctx);
}

static bool matches(const struct entry *e, const char *name, size_t n)
{
    unsigned char hash[HASH_SIZE];
    if (e->names)
        return pattern_list_matches(e->names, e->names_length, name, true);
    keyed_hash(hash, e->salt, sizeof e->salt, name, n);
    return !memcmp(hash, e->hash, HASH_SIZE);
}

size_t known_hosts_find(const struct known_hosts *k, const char *name, struct known_key *out, size_t max)
{
    size_t found = 0, n = strlen(name);
    for (size_t i = 0; i < k->count; i++) {
        const struct entry *e = &k->entries[i];
        if (!matches(e, name, n))
            continue;
        if (found < max)
            out[found] = (struct known_key){(enum known_mark)e->mark, e->type, e->base64, e->type_length, e->base64_length,
                                            k->sources[e->file].path, e->line};
        found++;
    }
    return found;
}

bool known_key_is(const struct known_key *key, const void *blob, size_t n)
{
    unsigned char bytes[KEY_MAX];
    return n <= sizeof bytes && decode(bytes, sizeof bytes, (struct word){key->base64, key->base64_length}) == (int)n &&
           !memcmp(bytes, blob, n);
}

/* --- adding --- */

static void add_base64(struct buf *out, const void *bytes, size_t n)
{
    size_t size = sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);
    unsigned char *at = buf_reserve(out, size);
    if (!at)
        return;
    sodium_bin2base64((char *)at, size, bytes, n, sodium_base64_VARIANT_ORIGINAL);
    out->end += size - 1;
}

static void add_hashed(struct buf *out, const char *name)
{
    unsigned char salt[HASH_SIZE], hash[HASH_SIZE];
    random_bytes(salt, sizeof salt);
    keyed_hash(hash, salt, sizeof salt, name, strlen(name));
    buf_add_text(out, "|1|");
    add_base64(out, salt, sizeof salt);
    buf_add_text(out, "|");
    add_base64(out, hash, sizeof hash);
}

/* A file that was edited by hand may lack its last newline. */
static bool lacks_newline(int fd)
{
    char last = '\n';
    off_t end = lseek(fd, 0, SEEK_END);
    return end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n';
}

static int make_directory_of(const char *file, struct ssx_error *err)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", file);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir)
        return 0;
    *slash = 0;
    return dir_make(dir, err);
}

int known_hosts_append(const char *file, const char *name, bool hashed, const char *type, const void *blob, size_t n,
                       struct ssx_error *err)
{
    struct buf line = {0};
    if (make_directory_of(file, err))
        return -1;
    int fd = open(file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return error_system(err, "can't add a host key to %s", file);
    if (lacks_newline(fd))
        buf_add_text(&line, "\n");
    if (hashed)
        add_hashed(&line, name);
    else
        buf_add_text(&line, name);
    buf_printf(&line, " %s ", type);
    add_base64(&line, blob, n);
    buf_add_text(&line, "\n");
    int rc = 0;
    /* one write, so that lines of two who add at once don't mix */
    if (line.failed || write(fd, buf_data(&line), buf_length(&line)) != (ssize_t)buf_length(&line))
        rc = error_system(err, "can't add a host key to %s", file);
    fd_close(&fd);
    buf_free(&line);
    return rc;
}
