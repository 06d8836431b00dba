#include "transport/host_key.h"

#include "base/error.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FINGERPRINT 64 /* "SHA256:" and 43 digits */

static int load_index(struct host_keys *out, const char *const *files, size_t n, struct common *common, struct ssx_error *err)
{
    if (common)
        return common_known_hosts(common, &out->index, files, n, err);
    int rc = known_hosts_load(&out->own, files, n, err);
    out->index = out->own;
    return rc;
}

int host_keys_load(struct host_keys *out, const struct ssh_config *config, struct common *common, struct ssx_error *err)
{
    const struct words *lists[] = {&config->user_known_hosts, &config->global_known_hosts};
    const char *files[64];
    size_t n = 0;
    *out = (struct host_keys){0};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < lists[i]->n && n < sizeof files / sizeof *files; j++)
            if (strcmp(lists[i]->at[j], "none"))
                files[n++] = lists[i]->at[j];
    if (known_hosts_name(out->name, sizeof out->name, config->hostname, config->port) >= sizeof out->name)
        return error_set(err, SSX_ERROR_USAGE, "can't reach %s: the name is too long", config->hostname);
    if (load_index(out, files, n, common, err))
        return -1;
    out->count = known_hosts_find(out->index, out->name, out->keys, HOST_KEYS_MAX);
    if (config->port != 22) {
        char plain[sizeof out->name];
        known_hosts_name(plain, sizeof plain, config->hostname, 22);
        out->plain_count = known_hosts_find(out->index, plain, out->plain, HOST_KEYS_MAX);
    }
    if (out->count > HOST_KEYS_MAX || out->plain_count > HOST_KEYS_MAX) /* a @revoked line could be among those left out */
        return error_set(err, SSX_ERROR_REFUSED, "%s has more than %d lines in known_hosts: remove some (ssh-keygen -R '%s')",
                         out->name, HOST_KEYS_MAX, out->name);
    return 0;
}

void host_keys_dispose(struct host_keys *k)
{
    known_hosts_free(k->own);
    k->own = NULL;
    k->index = NULL;
    k->count = k->plain_count = 0;
}

const struct known_key *host_keys_authority(const struct host_keys *k)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->keys[i].mark == KNOWN_AUTHORITY)
            return &k->keys[i];
    for (size_t i = 0; i < k->plain_count; i++)
        if (k->plain[i].mark == KNOWN_AUTHORITY)
            return &k->plain[i];
    return NULL;
}

static bool type_is(const struct known_key *key, const char *type, size_t n)
{
    return key->type_length == n && !memcmp(key->type, type, n);
}

/* Whether a key that this algorithm signs with is on file: an RSA key, of type ssh-rsa, signs as rsa-sha2-256 and -512
 * too. */
static bool on_file(const struct known_key *keys, size_t count, const char *algorithm, size_t n)
{
    bool rsa = n >= 8 && !memcmp(algorithm, "rsa-sha2", 8);
    for (size_t i = 0; i < count; i++)
        if (keys[i].mark == KNOWN_KEY && (rsa ? type_is(&keys[i], "ssh-rsa", 7) : type_is(&keys[i], algorithm, n)))
            return true;
    return false;
}

static bool is_certificate(const char *algorithm, size_t n) { return n > 13 && memmem(algorithm, n, "-cert-v", 7); }

int host_keys_order(const struct host_keys *k, const char *wanted, char *out, size_t size)
{
    size_t used = 0;
    if (!size)
        return -1;
    out[0] = 0;
    for (int known = 1; known >= 0; known--) {
        for (const char *at = wanted; *at;) {
            size_t n = strcspn(at, ",");
            bool here = on_file(k->keys, k->count, at, n) || on_file(k->plain, k->plain_count, at, n);
            if (n && here == known && !is_certificate(at, n)) {
                if (used + n + 2 > size)
                    return -1;
                used += (size_t)sprintf(out + used, "%s%.*s", used ? "," : "", (int)n, at);
            }
            at += n + (at[n] == ',');
        }
    }
    return 0;
}

/* --- the verdict --- */

/* "ED25519", as ssh writes it for people. */
static const char *kind_of(const char *type)
{
    if (!strcmp(type, "ssh-ed25519"))
        return "ED25519";
    if (!strcmp(type, "ssh-rsa"))
        return "RSA";
    return !strncmp(type, "ecdsa-", 6) ? "ECDSA" : type;
}

static void fingerprint(char *out, const void *blob, size_t n)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, blob, n);
    memcpy(out, "SHA256:", 7);
    sodium_bin2base64(out + 7, FINGERPRINT - 7, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

static const struct known_key *find_key(const struct known_key *keys, size_t count, enum known_mark mark, const void *blob,
                                        size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].mark == mark && known_key_is(&keys[i], blob, n))
            return &keys[i];
    return NULL;
}

/* A line with another key of the same type: the server's has changed. */
static const struct known_key *find_other(const struct host_keys *k, const char *type)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->keys[i].mark == KNOWN_KEY && type_is(&k->keys[i], type, strlen(type)))
            return &k->keys[i];
    return NULL;
}

static const char *first_file(const struct ssh_config *config)
{
    return config->user_known_hosts.n && strcmp(config->user_known_hosts.at[0], "none") ? config->user_known_hosts.at[0] : NULL;
}

/* Not being able to write it down is no reason to stop; ssh warns and goes on, too. */
static void remember(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                     const char *type, const void *blob, size_t n)
{
    struct ssx_error problem = {0};
    const char *file = first_file(config);
    if (!file)
        return;
    if (known_hosts_append(file, k->name, config->hash_known_hosts, type, blob, n, &problem))
        target_log(target, 1, "%s", problem.text);
    else
        target_log(target, 1, "added the %s host key of %s to %s", kind_of(type), k->name, file);
}

/* As ssh asks: yes, no, or the fingerprint itself. Returns 0 for a yes. */
static int ask_user(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                    const char *type, const char *print)
{
    char prompt[1024], answer[256];
    if (!target->ask || config->batch_mode)
        return -1;
    snprintf(prompt, sizeof prompt, "The authenticity of host '%s' can't be established.\n%s key fingerprint is %s.\n%s"
             "Are you sure you want to continue connecting (yes/no/[fingerprint])? ", k->name, kind_of(type), print,
             k->count ? "This host is known by a key of another type.\n" : "");
    for (int i = 0; i < 3; i++) {
        if (target->ask(target->ask_ctx, prompt, true, answer, sizeof answer))
            return -1;
        if (!strcasecmp(answer, "yes") || !strcmp(answer, print))
            return 0;
        if (!strcasecmp(answer, "no"))
            return -1;
        snprintf(prompt, sizeof prompt, "Please type 'yes', 'no' or the fingerprint: ");
    }
    return -1;
}

static int judge_unknown(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                         const char *type, const void *blob, size_t n, const char *print, struct ssx_error *err)
{
    bool accept = config->host_keys_checked == HOST_KEY_ACCEPT_NEW || config->host_keys_checked == HOST_KEY_OFF;
    if (!accept && config->host_keys_checked == HOST_KEY_ASK)
        accept = !ask_user(k, config, target, type, print);
    if (accept) {
        remember(k, config, target, type, blob, n);
        return 0;
    }
    return error_set(err, SSX_ERROR_UNREACHABLE,
                     "won't connect to %s: its %s host key %s is not in %s%s; check the fingerprint, then accept it with "
                     "`ssh` once or with -o StrictHostKeyChecking=accept-new",
                     k->name, kind_of(type), print, first_file(config) ? first_file(config) : "any known_hosts file",
                     k->count ? " (keys of other types are)" : "");
}

static int judge_changed(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                         const char *type, const struct known_key *other, const char *print, struct ssx_error *err)
{
    if (config->host_keys_checked == HOST_KEY_OFF) {
        target_log(target, 1,
                   "warning: the %s host key of %s has changed to %s (%s:%u holds another), and StrictHostKeyChecking is off",
                   kind_of(type), k->name, print, other->file, other->line);
        return 0;
    }
    return error_set(err, SSX_ERROR_UNREACHABLE,
                     "won't connect to %s: its %s host key has CHANGED to %s, %s:%u holds another; someone may be in between; "
                     "if the host was set up anew, remove the old key with `ssh-keygen -f '%s' -R '%s'`",
                     k->name, kind_of(type), print, other->file, other->line, other->file, k->name);
}

int host_key_judge(const struct host_keys *k, const struct ssh_config *config, const struct transport_target *target,
                   const char *type, const void *blob, size_t n, struct ssx_error *err)
{
    char print[FINGERPRINT];
    fingerprint(print, blob, n);
    const struct known_key *revoked = find_key(k->keys, k->count, KNOWN_REVOKED, blob, n);
    if (!revoked)
        revoked = find_key(k->plain, k->plain_count, KNOWN_REVOKED, blob, n);
    if (revoked) /* whatever the policy: nobody who marks a key as revoked wants it to work */
        return error_set(err, SSX_ERROR_UNREACHABLE, "won't connect to %s: its %s host key %s is revoked by %s:%u", k->name,
                         kind_of(type), print, revoked->file, revoked->line);
    if (find_key(k->keys, k->count, KNOWN_KEY, blob, n))
        return 0;
    const struct known_key *other = find_other(k, type);
    if (other)
        return judge_changed(k, config, target, type, other, print, err);
    if (find_key(k->plain, k->plain_count, KNOWN_KEY, blob, n))
        return 0;
    return judge_unknown(k, config, target, type, blob, n, print, err);
}
