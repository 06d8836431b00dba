/* Bundles on hosts: what `sshexec deploy`, `rollback`, `generations` and `store` use. A fleet of <sshexec/fleet.h> asks
 * its hosts one thing in place of running a worker; a function from here opens it, all else is as for any fleet.
 *
 *     ssx_bundle_open(&bundle, "web-1.4.ssx", NULL, &err)
 *     ssx_fleet_open_deploy(&fleet, bundle, SSX_DEPLOY_PREPARE, 0, &o, &err)
 *         ssx_fleet_add ... ssx_fleet_close: each host gets what it lacks, and tests it; nothing else is in force there
 *     ssx_fleet_open_deploy(&fleet, bundle, SSX_DEPLOY_SWITCH, 0, &o, &err)
 *         the same, if all hosts ended as `ok`, with those whose answer says that it changes something
 *
 * A host that did what was asked has one SSX_FLEET_RESULT (answer; as bytes and n the whole of it, the msgpack map of
 * sdk/PROTOCOL.md, OFFER), then its SSX_FLEET_END as `ok`. An answer counts only where the end is `ok`; an `ok` without
 * an answer that makes sense comes as `lost`. After `refused` (reason: PROTOCOL.md) what was in force still is.
 * SSX_FLEET_PROGRESS says, as total, how many bytes are to come. Of the options, timeout_ms, input_fd and per_host do
 * not count. */
#ifndef SSHEXEC_BUNDLE_H
#define SSHEXEC_BUNDLE_H
#include <sshexec/fleet.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- A bundle's file --------------------------------------------------------------------------------------------- */

struct ssx_bundle;

/* How to open one. Start from ssx_bundle_defaults(); later versions append. Borrowed while ssx_bundle_open runs. */
struct ssx_bundle_options {
    size_t size;             /* of this struct: set by ssx_bundle_defaults */
    const char *signers;     /* who may have signed it: an allowed_signers file, as of ssh-keygen(1). NULL: whoever */
    const char *signer;      /* only this one of them; needs signers */
    int interrupt_fd;        /* once this is readable, it is not opened: SSX_ERROR_INTERRUPTED; 0 or less: none */
};

static inline struct ssx_bundle_options ssx_bundle_defaults(void)
{
    struct ssx_bundle_options o;
    memset(&o, 0, sizeof o);
    o.size = sizeof o;
    return o;
}

/* Opens a bundle (NAME-VERSION.ssx, sdk/BUNDLE.md): checks its signature, where it has one or signers are given, and
 * the digest of each object, and unpacks them into a file without a name in TMPDIR, or /var/tmp. options may be NULL.
 * Returns 0: the caller owns *out and closes it once all fleets that were opened with it are closed; they may be in
 * several threads. Or -1 with *out NULL: SSX_ERROR_REFUSED (no bundle, damaged, not signed as asked), SSX_ERROR_SYSTEM
 * (a file that can't be read, memory), SSX_ERROR_USAGE (options), SSX_ERROR_INTERRUPTED. */
SSX_API int ssx_bundle_open(struct ssx_bundle **out, const char *path, const struct ssx_bundle_options *options,
                            struct ssx_error *err);

/* NULL is fine. */
SSX_API void ssx_bundle_close(struct ssx_bundle *bundle);

/* As its manifest says; borrowed from it. serial 0: none was given. */
SSX_API const char *ssx_bundle_name(const struct ssx_bundle *bundle);
SSX_API const char *ssx_bundle_version(const struct ssx_bundle *bundle);
SSX_API uint64_t ssx_bundle_serial(const struct ssx_bundle *bundle);

/* ---- Fleets that are asked something about bundles --------------------------------------------------------------- */

/* What a host answered; borrowed during the callback, later versions append. What was not asked for is zero, or "". */
struct ssx_bundle_answer {
    uint64_t generation;     /* the one in force now; 0: none */
    bool changes;            /* another one is in force than before, or (LOOK, PREPARE) would be */
    const char *has;         /* deploy: the version of the bundle that was in force, the host's words; "": none */
    uint64_t needs, bytes;   /* LOOK, PREPARE, INSTALL: objects that the host lacked, and their bytes */
};

enum ssx_deploy_step {
    SSX_DEPLOY_LOOK = 1,     /* says what would come of it */
    SSX_DEPLOY_PREPARE = 2,  /* gets what it lacks; checks signature, digests, policy; lets each plugin test itself */
    SSX_DEPLOY_SWITCH = 3,   /* puts in force what was prepared, by one rename */
    SSX_DEPLOY_INSTALL = 4,  /* both at once */
};

#define SSX_DEPLOY_DOWNGRADE 1u /* an older serial may take a newer one's place */

/* Each of these makes a fleet, to which hosts are then added. Returns 0: the caller owns *out and closes it. Or -1 with
 * *out NULL: SSX_ERROR_USAGE (options, or what is asked for), SSX_ERROR_SYSTEM. */

/* Puts a bundle in force, or takes a step towards that. bundle is borrowed until ssx_fleet_close. flags: 0, or
 * SSX_DEPLOY_DOWNGRADE. Hosts keep with it who its sender says it is (`by` of the options). */
SSX_API int ssx_fleet_open_deploy(struct ssx_fleet **out, const struct ssx_bundle *bundle, enum ssx_deploy_step step,
                                  unsigned flags, const struct ssx_fleet_options *options, struct ssx_error *err);

/* Puts a generation back in force that each host has had; 0: the one before the one in force. */
SSX_API int ssx_fleet_open_rollback(struct ssx_fleet **out, uint64_t generation,
                                    const struct ssx_fleet_options *options, struct ssx_error *err);

/* What was deployed on each host: `generations` and `makers` of the answer's map. */
SSX_API int ssx_fleet_open_generations(struct ssx_fleet **out, const struct ssx_fleet_options *options,
                                       struct ssx_error *err);

enum ssx_store_care {
    SSX_STORE_LIST = 1,      /* shows what is stored */
    SSX_STORE_VERIFY = 2,    /* hashes it anew */
    SSX_STORE_REPAIR = 3,    /* the same, and removes what is damaged */
    SSX_STORE_GC = 4,        /* removes what was not used for older_s seconds, then, the longest unused first, until
                                keep_bytes are left */
    SSX_STORE_GC_DRY = 5,    /* says what that would remove */
};

/* Looks after each host's store of plugins: `stores` of the answer's map. What a running session or a deployed bundle
 * uses is never removed. older_s, keep_bytes: for GC and GC_DRY, one of them at least; -1: not given. */
SSX_API int ssx_fleet_open_store(struct ssx_fleet **out, enum ssx_store_care care, int64_t older_s, int64_t keep_bytes,
                                 const struct ssx_fleet_options *options, struct ssx_error *err);

/* How far the objects are that a host lacked: bytes that have left, of all that it is known to want until now (0:
 * none). */
SSX_API void ssx_fleet_sent(const struct ssx_fleet *fleet, size_t host, uint64_t *sent, uint64_t *total);

#ifdef __cplusplus
}
#endif
#endif
