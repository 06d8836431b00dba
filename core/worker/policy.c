#include "worker/policy.h"

#include "base/error.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_NAME_MAX 32
#define CALLS_LIMIT 64 /* what the agent takes at most (agent/session.c) */

enum kind { TYPES, YES_NO, TIME, COUNT, SIZE, FILE_NAME };

static const struct { const char *name; enum kind kind; const char *value, *about; } keys[POLICY_KEYS] = {
    [POLICY_ALLOW] = {"allow", TYPES, " TYPE,...", "only these types may be called"},
    [POLICY_DENY] = {"deny", TYPES, " TYPE,...", "these types may not be called"},
    [POLICY_UPLOADS] = {"uploads", YES_NO, "", "whether senders may bring plugins (default: not with --allow or --deny)"},
    [POLICY_MAX_TIMEOUT] = {"max_timeout", TIME, " TIME", "the longest that a call may take (10, 1.5s, 500ms, 2m)"},
    [POLICY_MAX_CALLS] = {"max_calls", COUNT, " N", "calls that may be open at once in a session"},
    [POLICY_REQUIRE_SIGNED] = {"require_signed", YES_NO, "", "take bundles only if they are signed, and no other code"},
    [POLICY_SIGNERS] = {"signers", FILE_NAME, " FILE", "who may sign (allowed_signers, as of ssh-keygen(1))"},
    [POLICY_STORE_SIZE] = {"store_size", SIZE, " SIZE", "the most that may be stored (500M, 2G)"},
};

/* The flag's form of a key: its underscores as dashes. */
static const char *flag_name(char *out, size_t size, size_t key)
{
    snprintf(out, size, "%s", keys[key].name);
    for (char *c = out; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return out;
}

/* --- setting --- */

static int check_types(const char *list, const char *rule, struct ssx_error *err)
{
    char name[TYPE_NAME_MAX + 2];
    for (const char *at = list;; at++) {
        size_t n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : (int)sizeof name - 1, at);
        if (!text_is_type_name(name))
            return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a type name; it takes some, separated by commas", rule, name);
        at += n;
        if (!*at)
            return 0;
    }
}

static int take_types(struct policy *p, enum policy_key key, const char *value, const char *rule, struct ssx_error *err)
{
    char *joined = NULL;
    const char *had = p->set[key].value;
    if (check_types(value, rule, err))
        return -1;
    if (asprintf(&joined, "%s%s%s", had ? had : "", had ? "," : "", value) < 0)
        return error_set(err, SSX_ERROR_SYSTEM, "%s: out of memory", rule);
    free(p->set[key].value);
    p->set[key].value = joined;
    return 0;
}

/* The stricter of a number that may have been set before; 0 there: not set. */
static bool is_stricter(uint64_t had, uint64_t now) { return !had || now < had; }

/* What passes holds digits, letters and dots only: policy_add_flags writes it as it is. */
static int take_number(uint64_t *out, enum kind kind, const char *value, const char *rule, bool *keep, struct ssx_error *err)
{
    char *end = NULL;
    int64_t n = kind == TIME ? text_duration(value) : kind == SIZE ? text_size(value) : isdigit((unsigned char)*value)
        ? strtol(value, &end, 10) : -1;
    if (kind == TIME && n <= 0)
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a duration such as 10, 1.5s, 500ms or 2m", rule, value);
    if (kind == SIZE && n <= 0)
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a size such as 500M or 2G", rule, value);
    if (kind == COUNT && (n < 1 || n > CALLS_LIMIT || *end))
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not a number from 1 to %d", rule, value, CALLS_LIMIT);
    *keep = is_stricter(*out, (uint64_t)n);
    *out = *keep ? (uint64_t)n : *out;
    return 0;
}

static int take_yes_no(const struct policy *p, enum policy_key key, const char *value, const char *rule, bool *keep, struct ssx_error *err)
{
    if (strcmp(value, "yes") && strcmp(value, "no"))
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is neither yes nor no", rule, value);
    *keep = !p->set[key].value || strcmp(value, key == POLICY_UPLOADS ? "no" : "yes") == 0; /* the stricter one */
    return 0;
}

/* As it is written by policy_add_flags, with nothing that a shell would take for its own. Two files would be a question
 * of which counts. */
static int take_file(const struct policy *p, enum policy_key key, const char *value, const char *rule, struct ssx_error *err)
{
    if (*value != '/' || value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+@")])
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" is not an absolute path of letters, digits and . _ - + @", rule, value);
    if (p->set[key].value && strcmp(p->set[key].value, value))
        return error_set(err, SSX_ERROR_USAGE, "%s: \"%s\" beside %s: there can be one file only", rule, value, p->set[key].value);
    return 0;
}

static int find_key(const char *name, size_t n)
{
    for (int i = 0; i < POLICY_KEYS; i++)
        if (strlen(keys[i].name) == n && memcmp(keys[i].name, name, n) == 0)
            return i;
    return -1;
}

static int unknown_key(const char *name, struct ssx_error *err)
{
    for (size_t i = 0; i < POLICY_KEYS; i++)
        if (text_is_near(name, keys[i].name))
            return error_set(err, SSX_ERROR_USAGE, "unknown key %s; did you mean %s?", name, keys[i].name);
    return error_set(err, SSX_ERROR_USAGE, "unknown key %s", name);
}

static int replace(char **where, const char *text, struct ssx_error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return error_set(err, SSX_ERROR_SYSTEM, "out of memory for the policy");
    free(*where);
    *where = copy;
    return 0;
}

int policy_set(struct policy *p, const char *name, const char *value, const char *rule, struct ssx_error *err)
{
    bool keep = true;
    int key = find_key(name, strlen(name));
    if (key < 0)
        return unknown_key(name, err);
    uint64_t *number = key == POLICY_MAX_TIMEOUT ? &p->max_timeout_ms : key == POLICY_STORE_SIZE ? &p->store_bytes : &p->max_calls;
    switch (keys[key].kind) {
    case TYPES:
        return take_types(p, (enum policy_key)key, value, rule, err) || replace(&p->set[key].rule, rule, err) ? -1 : 0;
    case YES_NO:
        if (take_yes_no(p, (enum policy_key)key, value, rule, &keep, err))
            return -1;
        break;
    case FILE_NAME:
        if (take_file(p, (enum policy_key)key, value, rule, err))
            return -1;
        break;
    default:
        if (take_number(number, keys[key].kind, value, rule, &keep, err))
            return -1;
    }
    return keep && (replace(&p->set[key].value, value, err) || replace(&p->set[key].rule, rule, err)) ? -1 : 0;
}

/* --- flags --- */

struct flag { int key; bool no; const char *value; char rule[KEY_NAME_MAX + 8]; }; /* value: behind "=", or NULL */

static bool read_flag(struct flag *f, const char *word)
{
    char name[KEY_NAME_MAX];
    size_t n = strncmp(word, "--", 2) ? 0 : strcspn(word + 2, "=");
    if (!n || n >= sizeof name)
        return false;
    for (size_t i = 0; i < n; i++)
        name[i] = word[2 + i] == '-' ? '_' : word[2 + i] == '_' ? '-' : word[2 + i]; /* a flag is written with dashes only */
    f->no = n > 3 && memcmp(name, "no_", 3) == 0;
    f->key = f->no ? find_key(name + 3, n - 3) : find_key(name, n);
    f->value = word[2 + n] ? word + 3 + n : NULL;
    snprintf(f->rule, sizeof f->rule, "--%.*s", (int)n, word + 2);
    return f->key >= 0 && (!f->no || keys[f->key].kind == YES_NO);
}

static int take_flag(struct policy *p, struct flag *f, char **argv, int argc, int *at, struct ssx_error *err)
{
    bool yes_no = keys[f->key].kind == YES_NO;
    if (yes_no && f->value)
        return error_set(err, SSX_ERROR_USAGE, "%s takes no value", f->rule);
    if (!yes_no && !f->value && (*at + 1 >= argc || strcmp(argv[*at + 1], "--") == 0))
        return error_set(err, SSX_ERROR_USAGE, "%s needs a value", f->rule);
    if (!yes_no && !f->value)
        f->value = argv[++*at];
    return policy_set(p, keys[f->key].name, yes_no ? (f->no ? "no" : "yes") : f->value, f->rule, err);
}

int policy_take_flags(struct policy *p, int *argc, char **argv, struct ssx_error *err)
{
    int kept = 1, at = 1;
    for (; at < *argc && strcmp(argv[at], "--"); at++) {
        struct flag f;
        if (!read_flag(&f, argv[at]))
            argv[kept++] = argv[at];
        else if (take_flag(p, &f, argv, *argc, &at, err))
            return -1;
    }
    while (at < *argc)
        argv[kept++] = argv[at++];
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

static bool is_set(const struct policy *p, enum policy_key key, const char *value)
{
    return p->set[key].value && strcmp(p->set[key].value, value) == 0;
}

static bool uploads_forbidden(const struct policy *p)
{
    const char *said = p->set[POLICY_UPLOADS].value;
    return said ? strcmp(said, "no") == 0 : p->set[POLICY_ALLOW].value || p->set[POLICY_DENY].value;
}

/* Nothing was said of uploads, and signatures are required: bundles may come, and nothing else. */
static bool bundles_allowed(const struct policy *p) { return !p->set[POLICY_UPLOADS].value && is_set(p, POLICY_REQUIRE_SIGNED, "yes"); }

int policy_add_flags(const struct policy *p, struct buf *out)
{
    char name[KEY_NAME_MAX];
    int rc = 0;
    for (size_t i = 0; i < POLICY_KEYS; i++) {
        flag_name(name, sizeof name, i);
        if (i == POLICY_UPLOADS)
            rc |= uploads_forbidden(p) && !bundles_allowed(p) ? buf_printf(out, " --no-%s", name) : p->set[i].value
                ? buf_printf(out, " --%s", name) : 0;
        else if (p->set[i].value && keys[i].kind == YES_NO)
            rc |= buf_printf(out, " --%s%s", strcmp(p->set[i].value, "no") ? "" : "no-", name);
        else if (p->set[i].value)
            rc |= buf_printf(out, " --%s %s", name, p->set[i].value);
    }
    return rc;
}

int policy_add_help(struct buf *out)
{
    char name[KEY_NAME_MAX], flag[2 * KEY_NAME_MAX + 16];
    int rc = 0;
    for (size_t i = 0; i < POLICY_KEYS; i++) {
        flag_name(name, sizeof name, i);
        snprintf(flag, sizeof flag, keys[i].kind == YES_NO ? "--%s, --no-%s" : "--%s%s", name,
                 keys[i].kind == YES_NO ? name : keys[i].value);
        rc |= buf_printf(out, "  %-25s %s\n", flag, keys[i].about);
    }
    return rc;
}

/* --- judging --- */

static bool lists(const char *list, const char *type)
{
    size_t n = strlen(type);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == n && memcmp(at, type, n) == 0)
            return true;
    }
    return false;
}

int policy_check_type(const struct policy *p, const char *type, struct ssx_error *err)
{
    for (; p; p = p->also) {
        if (p->set[POLICY_DENY].value && lists(p->set[POLICY_DENY].value, type))
            return error_set(err, SSX_ERROR_REFUSED, "policy: %s lists %s", p->set[POLICY_DENY].rule, type);
        if (p->set[POLICY_ALLOW].value && !lists(p->set[POLICY_ALLOW].value, type))
            return error_set(err, SSX_ERROR_REFUSED, "policy: %s does not list %s", p->set[POLICY_ALLOW].rule, type);
    }
    return 0;
}

/* The rule by which uploads are forbidden. */
static const char *upload_rule(const struct policy *p, const char **without)
{
    enum policy_key key = p->set[POLICY_UPLOADS].value ? POLICY_UPLOADS : p->set[POLICY_ALLOW].value ? POLICY_ALLOW : POLICY_DENY;
    *without = key == POLICY_UPLOADS ? "" : " without --uploads";
    return p->set[key].rule;
}

int policy_check_upload(const struct policy *p, const char *type, struct ssx_error *err)
{
    const char *without = "";
    for (; p; p = p->also) {
        const char *rule = uploads_forbidden(p) ? upload_rule(p, &without) : is_set(p, POLICY_REQUIRE_SIGNED, "yes")
            ? p->set[POLICY_REQUIRE_SIGNED].rule : NULL;
        if (rule)
            return error_set(err, SSX_ERROR_REFUSED,
                             "policy: %s%s forbids plugins of the sender's, and the node has not this %s of its own", rule, without, type);
    }
    return 0;
}

int policy_check_bundle(const struct policy *p, const char *bundle, struct ssx_error *err)
{
    const char *without;
    for (; p; p = p->also) {
        if (!uploads_forbidden(p) || bundles_allowed(p))
            continue;
        const char *rule = upload_rule(p, &without);
        return error_set(err, SSX_ERROR_REFUSED, "policy: %s%s forbids bundles, and so %s", rule, *without
                         ? " without --uploads or --require-signed" : "", bundle);
    }
    return 0;
}

int policy_check_signed(const struct policy *p, const char *bundle, bool is_signed, struct ssx_error *err)
{
    for (; p && !is_signed; p = p->also)
        if (is_set(p, POLICY_REQUIRE_SIGNED, "yes"))
            return error_set(err, SSX_ERROR_REFUSED, "policy: %s: %s is not signed by anybody whom this node knows",
                             p->set[POLICY_REQUIRE_SIGNED].rule, bundle);
    return 0;
}

const char *policy_signers(const struct policy *p, size_t i)
{
    for (; p; p = p->also) {
        const char *file = p->set[POLICY_SIGNERS].value ? p->set[POLICY_SIGNERS].value : is_set(p, POLICY_REQUIRE_SIGNED, "yes")
            ? POLICY_SIGNERS_FILE : NULL;
        if (file && i-- == 0)
            return file;
    }
    return NULL;
}

uint64_t policy_least(const struct policy *p, enum policy_key key, const char **rule)
{
    uint64_t least = 0;
    for (; p; p = p->also) {
        uint64_t n = key == POLICY_MAX_TIMEOUT ? p->max_timeout_ms : key == POLICY_STORE_SIZE ? p->store_bytes : p->max_calls;
        if (n && is_stricter(least, n)) {
            least = n;
            if (rule)
                *rule = p->set[key].rule;
        }
    }
    return least;
}

uint64_t policy_timeout(const struct policy *p, uint64_t timeout_ms)
{
    uint64_t most = policy_least(p, POLICY_MAX_TIMEOUT, NULL);
    return most && is_stricter(timeout_ms, most) ? most : timeout_ms;
}

void policy_free(struct policy *p)
{
    for (size_t i = 0; i < POLICY_KEYS; i++) {
        free(p->set[i].value);
        free(p->set[i].rule);
    }
    memset(p, 0, sizeof *p);
}
