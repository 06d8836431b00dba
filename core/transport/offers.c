#include "transport/offers.h"

#include "base/error.h"

#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int key_blob(struct buf *out, const ssh_key key)
{
    char *base64 = NULL;
    size_t n = 0;
    if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
        return -1;
    size_t size = strlen(base64);
    unsigned char *at = buf_reserve(out, size);
    int rc = at && !sodium_base642bin(at, size, base64, size, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) ? 0 : -1;
    if (!rc)
        out->end += n;
    ssh_string_free_char(base64);
    return rc;
}

static bool exists(const char *path, const char *suffix)
{
    char full[PATH_MAX];
    return (size_t)snprintf(full, sizeof full, "%s%s", path, suffix) < sizeof full && !access(full, F_OK);
}

/* The public part of an IdentityFile: an OpenSSH private key shows it, for others there is the .pub beside. */
static ssh_key read_public(const char *path)
{
    char beside[PATH_MAX];
    ssh_key key = NULL;
    if (ssh_pki_import_pubkey_file(path, &key) == SSH_OK)
        return key;
    if ((size_t)snprintf(beside, sizeof beside, "%s.pub", path) < sizeof beside &&
        ssh_pki_import_pubkey_file(beside, &key) == SSH_OK)
        return key;
    return NULL;
}

static size_t find_in_agent(const struct keyagent *agent, const ssh_key key)
{
    struct buf blob = {0};
    size_t found = OFFER_NOT_IN_AGENT;
    if (key && agent->count && !key_blob(&blob, key))
        for (size_t i = 0; i < agent->count && found == OFFER_NOT_IN_AGENT; i++)
            if (agent->keys[i].size == buf_length(&blob) && !memcmp(agent->keys[i].blob, buf_data(&blob), buf_length(&blob)))
                found = i;
    buf_free(&blob);
    return found;
}

static void add(struct offers *out, const struct offer *offer, const struct keyagent *agent)
{
    struct offer *o = &out->at[out->n++];
    *o = *offer;
    if (o->path)
        snprintf(o->label, sizeof o->label, "%s%s", o->path, o->agent_key != OFFER_NOT_IN_AGENT ? " (agent)" : "");
    else
        snprintf(o->label, sizeof o->label, "the agent's %.200s", agent->keys[o->agent_key].comment);
}

/* The files of the configuration, those that the agent holds or those that it does not. */
static void add_files(struct offers *out, const struct offer *files, size_t count, bool in_agent, const struct keyagent *agent)
{
    for (size_t i = 0; i < count; i++)
        if ((files[i].agent_key != OFFER_NOT_IN_AGENT) == in_agent)
            add(out, &files[i], agent);
}

/* NULL for a type that libssh does not know. */
static ssh_key import_blob(const struct keyagent_key *from)
{
    ssh_key key = NULL;
    size_t size = sodium_base64_encoded_len(from->size, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = malloc(size);
    if (!base64)
        return NULL;
    sodium_bin2base64(base64, size, from->blob, from->size, sodium_base64_VARIANT_ORIGINAL);
    if (ssh_pki_import_pubkey_base64(base64, ssh_key_type_from_name(from->type), &key) != SSH_OK)
        key = NULL;
    free(base64);
    return key;
}

static void add_agent_rest(struct offers *out, const struct offer *files, size_t count, const struct keyagent *agent)
{
    for (size_t i = 0; i < agent->count; i++) {
        struct offer o = {.agent_key = i};
        bool listed = false;
        for (size_t j = 0; j < count; j++)
            listed |= files[j].agent_key == i;
        if (listed)
            continue;
        o.public = import_blob(&agent->keys[i]);
        add(out, &o, agent);
    }
}

int offers_load(struct offers *out, const struct ssh_config *config, const struct keyagent *agent, struct ssx_error *err)
{
    struct offer *files = calloc(config->identities.n + 1, sizeof *files);
    size_t count = 0;
    *out = (struct offers){calloc(config->identities.n + agent->count + 1, sizeof *out->at), 0};
    if (!files || !out->at) {
        free(files);
        offers_dispose(out);
        return error_set(err, SSX_ERROR_SYSTEM, "can't read the keys: out of memory");
    }
    for (size_t i = 0; i < config->identities.n; i++) {
        const char *path = config->identities.at[i];
        if (!exists(path, "") && !exists(path, ".pub"))
            continue;
        files[count].path = path;
        files[count].public = read_public(path);
        files[count].agent_key = find_in_agent(agent, files[count].public);
        count++;
    }
    add_files(out, files, count, true, agent);
    if (config->identities_count)
        add_files(out, files, count, false, agent);
    if (!config->identities_only)
        add_agent_rest(out, files, count, agent);
    if (!config->identities_count)
        add_files(out, files, count, false, agent);
    free(files);
    return 0;
}

void offers_dispose(struct offers *o)
{
    for (size_t i = 0; i < o->n; i++)
        ssh_key_free(o->at[i].public);
    free(o->at);
    *o = (struct offers){0};
}

/* --- what libssh can't offer --- */

static bool is_beyond(const char *type) { return !strncmp(type, "sk-", 3) || strstr(type, "-cert-v"); }

/* The first word of a .pub, read by ourselves: libssh may not know the type. */
static bool pub_is_beyond(const char *path)
{
    char full[PATH_MAX], text[128];
    if ((size_t)snprintf(full, sizeof full, "%s.pub", path) >= sizeof full)
        return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    text[strcspn(text, " \n")] = 0;
    return is_beyond(text);
}

bool offers_need_ssh(const struct offers *o, const struct ssh_config *config, const struct keyagent *agent, char *reason,
                     size_t size)
{
    for (size_t i = 0; i < config->identities.n; i++) {
        if (exists(config->identities.at[i], "-cert.pub")) {
            snprintf(reason, size, "%s-cert.pub exists", config->identities.at[i]);
            return true;
        }
    }
    for (size_t i = 0; i < o->n; i++) {
        const struct offer *offer = &o->at[i];
        const char *type = offer->agent_key != OFFER_NOT_IN_AGENT ? agent->keys[offer->agent_key].type
                           : offer->public ? ssh_key_type_to_char(ssh_key_type(offer->public)) : NULL;
        if ((type && is_beyond(type)) || (offer->path && pub_is_beyond(offer->path))) {
            snprintf(reason, size, "%s is a %s", offer->label, type && strstr(type, "-cert-v") ? "certificate" : "security key");
            return true;
        }
    }
    return false;
}
