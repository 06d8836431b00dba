/* What a node permits its senders (DESIGN D11): one grammar of keys, given as flags of the agent's command (--allow
 * hello,facts --no-uploads) and, with the same names and values, as lines of a file (allow = hello,facts). Nothing that
 * a sender sends widens it. A file's policy and the flags' are two policies: both have to permit.
 *
 * Here and not in agent/, for `sshexec authorize` writes what the agent reads. */
#ifndef WORKER_POLICY_H
#define WORKER_POLICY_H
#include "base/buf.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stdint.h>

enum policy_key { POLICY_ALLOW, POLICY_DENY, POLICY_UPLOADS, POLICY_MAX_TIMEOUT, POLICY_MAX_CALLS, POLICY_REQUIRE_SIGNED, POLICY_SIGNERS,
                 POLICY_STORE_SIZE };
#define POLICY_KEYS 8

#define POLICY_SIGNERS_FILE "/etc/sshexec/allowed_signers" /* where signatures are required and no file is named */

/* A zeroed struct permits everything. */
struct policy {
    struct { char *value, *rule; } set[POLICY_KEYS]; /* owned; NULL: not set. rule: how messages name it, "--allow" */
    uint64_t max_timeout_ms, max_calls, store_bytes; /* 0: not limited */
    const struct policy *also;                       /* borrowed: another one, which has to permit as well */
};

/* Sets one key. A list that is set again grows; of anything else the stricter value stays. rule names the place in
 * messages: "--allow", "agent.conf:3: allow". Returns 0, or -1 with err (SSX_ERROR_USAGE), which does not yet name the
 * rule where the key is unknown. */
int policy_set(struct policy *p, const char *key, const char *value, const char *rule, struct ssx_error *err);

/* Takes the policy's flags out of argv, up to a "--": --KEY VALUE, --KEY=VALUE, and for yes or no --KEY, --no-KEY. The
 * others keep their order. Returns 0 or -1. */
int policy_take_flags(struct policy *p, int *argc, char **argv, struct ssx_error *err);

/* Adds the policy as flags that policy_take_flags reads back, each with a space before it: no character of them needs
 * quoting in a shell. With types allowed or denied it says what that means for uploads. Returns 0 or -1. */
int policy_add_flags(const struct policy *p, struct buf *out);

/* A help page's lines for the flags, added to out. */
int policy_add_help(struct buf *out);

/* Whether this type may be called, and whether the sender may bring the plugin for it. Uploads are forbidden where
 * types are allowed or denied, unless uploads = yes stands beside that: who may bring the code of a type may run any
 * code. p NULL permits everything. Return 0, or -1 with err (SSX_ERROR_REFUSED: "policy: --allow does not list
 * exec"). */
int policy_check_type(const struct policy *p, const char *type, struct ssx_error *err);
int policy_check_upload(const struct policy *p, const char *type, struct ssx_error *err);

/* The same for a bundle. Its types may be brought where uploads are permitted, or not spoken of and signatures are
 * required. */
int policy_check_bundle(const struct policy *p, const char *bundle, struct ssx_error *err);

/* Whether code of this bundle may run, or come: signed, where that is required. */
int policy_check_signed(const struct policy *p, const char *bundle, bool is_signed, struct ssx_error *err);

/* The files of who may sign, the i-th (from 0): each has to know the key. NULL: there is none. */
const char *policy_signers(const struct policy *p, size_t i);

/* The smallest number of one key; 0: none is set. *rule (may be NULL) is what names it. */
uint64_t policy_least(const struct policy *p, enum policy_key key, const char **rule);

/* A call's timeout (0: none) under this policy. */
uint64_t policy_timeout(const struct policy *p, uint64_t timeout_ms);

void policy_free(struct policy *p);

#endif
