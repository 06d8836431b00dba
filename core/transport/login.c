#include "transport/login.h"

#include "base/error.h"
#include "base/io.h"
#include "base/random.h"
#include "transport/attempt.h"
#include "transport/auth.h"
#include "transport/bastion.h"
#include "transport/connect.h"
#include "transport/tunnel.h"

#include <stdio.h>
#include <string.h>
#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRIES 4    /* after being hung up on before the greeting, which a busy sshd does at random */
#define RETRY_MS 150 /* the mean pause before the first; it doubles */

/* --- what libssh is told --- */

/* libssh keeps of a list what it knows, and refuses one of which it knows nothing. */
static bool set_list(ssh_session s, enum ssh_options_e option, const struct ssh_algorithms *wanted)
{
    return !wanted->counts || !ssh_options_set(s, option, wanted->list);
}

/* Whether this processor has instructions for AES. */
static bool has_aes(void)
{
#if defined __x86_64__ || defined __i386__
    return __builtin_cpu_supports("aes");
#elif defined __aarch64__
    return getauxval(AT_HWCAP) & HWCAP_AES;
#else
    return false;
#endif
}

/* libssh would begin with chacha20, which takes almost twice as long as AES-GCM where the processor has AES: 0.92 and
 * 0.5 s for 200 MB. The same ciphers in another order; one that the user chose stays as it is. */
static bool set_ciphers(ssh_session s, const struct ssh_algorithms *wanted)
{
    static const struct ssh_algorithms fast = {
        "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr", true};
    const struct ssh_algorithms *list = !wanted->counts && has_aes() ? &fast : wanted;
    return set_list(s, SSH_OPTIONS_CIPHERS_C_S, list) && set_list(s, SSH_OPTIONS_CIPHERS_S_C, list);
}

static bool set_host_keys(ssh_session s, const struct ssh_config *config, const struct host_keys *keys)
{
    static const struct host_keys none;
    char list[2048];
    /* an order that the user chose stays as it is */
    return !host_keys_order(config->host_keys.counts ? &none : keys, config->host_keys.list, list, sizeof list)
           && !ssh_options_set(s, SSH_OPTIONS_HOSTKEYS, list);
}

static bool set_rekey(ssh_session s, const struct ssh_config *config)
{
    uint32_t seconds = config->rekey_s > UINT32_MAX ? UINT32_MAX : (uint32_t)config->rekey_s;
    return (!config->rekey_bytes || !ssh_options_set(s, SSH_OPTIONS_REKEY_DATA, &config->rekey_bytes))
           && (!seconds || !ssh_options_set(s, SSH_OPTIONS_REKEY_TIME, &seconds));
}

/* None of libssh's own ideas: it reads no configuration, no known_hosts, looks for no key. The host is only a word to
 * it, for it gets a connected socket; a constant, because it refuses some names that ssh takes. */
static bool set_basics(ssh_session s, const struct ssh_config *config)
{
    static const bool no = false;
    return !ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) && !ssh_options_set(s, SSH_OPTIONS_HOST, "host") &&
           !ssh_options_set(s, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") &&
           !ssh_options_set(s, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") && !ssh_options_set(s, SSH_OPTIONS_USER, config->user);
}

/* Returns NULL, or the name of the option that libssh can't follow. */
static const char *set_options(ssh_session s, const struct ssh_config *config, const struct host_keys *keys)
{
    if (!set_basics(s, config))
        return "User";
    if (!set_list(s, SSH_OPTIONS_KEY_EXCHANGE, &config->kex))
        return "KexAlgorithms";
    if (!set_ciphers(s, &config->ciphers))
        return "Ciphers";
    if (!set_list(s, SSH_OPTIONS_HMAC_C_S, &config->macs) || !set_list(s, SSH_OPTIONS_HMAC_S_C, &config->macs))
        return "MACs";
    if (!set_host_keys(s, config, keys))
        return "HostKeyAlgorithms";
    if (!set_list(s, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, &config->public_keys))
        return "PubkeyAcceptedAlgorithms";
    if (ssh_options_set(s, SSH_OPTIONS_COMPRESSION, config->compression ? "yes" : "no"))
        return "Compression";
    return set_rekey(s, config) ? NULL : "RekeyLimit";
}

bool login_can_honour(const struct ssh_config *config, const struct host_keys *keys, char *reason, size_t size)
{
    ssh_session trial = ssh_new();
    const char *option = trial ? set_options(trial, config, keys) : NULL;
    if (option)
        snprintf(reason, size, "libssh knows nothing of what %s asks for", option);
    ssh_free(trial);
    return !option;
}

/* --- waiting --- */

void login_step(struct login *l)
{
    l->patience = patience_for(l->timeout_ms, l->target->interrupt_fd);
    if (l->limit_ms && l->limit_ms < l->patience.deadline_ms)
        l->patience.deadline_ms = l->limit_ms;
}

bool login_is_over(const struct login *l)
{
    return ssh_get_fd(l->session) < 0 || (ssh_get_status(l->session) & (SSH_CLOSED | SSH_CLOSED_ERROR));
}

int login_wait(struct login *l, const char *doing, struct ssx_error *err)
{
    if (login_is_over(l))
        return error_set(err, SSX_ERROR_UNREACHABLE, "%s port %d hung up before %s: %s", l->config->hostname, l->config->port,
                         doing, ssh_get_error(l->session));
    bool writing = ssh_get_poll_flags(l->session) & SSH_WRITE_PENDING;
    struct pollfd fd = {ssh_get_fd(l->session), (short)(POLLIN | (writing ? POLLOUT : 0)), 0};
    connect_quickack(fd.fd);
    int ready = patience_poll(&l->patience, &fd, 1, err);
    if (ready > 0)
        return 0;
    if (ready < 0)
        return -1;
    return error_set(err, SSX_ERROR_UNREACHABLE, "%s port %d took too long for %s: gave up after %g s", l->config->hostname,
                     l->config->port, doing, l->timeout_ms / 1000.0);
}

/* --- connecting and the key exchange --- */

static int family_of(const char *name)
{
    return !strcmp(name, "inet") ? AF_INET : !strcmp(name, "inet6") ? AF_INET6 : AF_UNSPEC;
}

static int dial(struct login *l, int64_t *resolve_us, struct ssx_error *err)
{
    const struct ssh_config *c = l->config;
    if (l->bastion)
        return bastion_connect(l->bastion, &l->passage, l->target, c->hostname, c->port, l->timeout_ms, err);
    struct connect_wish wish = {c->hostname, c->port, family_of(c->address_family), c->bind_address, c->tcp_keepalive, resolve_us};
    for (int left = c->connection_attempts; ; left--) {
        struct ssx_error problem = {0};
        login_step(l);
        int fd = connect_tcp(&wish, &l->patience, &problem);
        if (fd >= 0)
            return fd;
        if (left <= 1 || problem.code == SSX_ERROR_INTERRUPTED)
            return error_set(err, problem.code, "%s", problem.text);
        target_log(l->target, 1, "%s; trying again (ConnectionAttempts)", problem.text);
        l->patience = patience_for(1000, l->target->interrupt_fd);
        if (patience_sleep(&l->patience, 1000, err))
            return -1;
    }
}

static int explain_exchange(struct login *l, struct ssx_error *err)
{
    const struct ssh_config *c = l->config;
    if (ssh_get_serverbanner(l->session))
        return error_set(err, SSX_ERROR_UNREACHABLE, "can't agree with %s port %d on a connection: %s", c->hostname, c->port,
                         ssh_get_error(l->session));
    l->worth_retrying = true;
    return error_set(err, SSX_ERROR_UNREACHABLE,
                     "%s port %d hung up before any greeting of SSH: too many logins at once (MaxStartups), or no SSH server "
                     "there (%s)", c->hostname, c->port, ssh_get_error(l->session));
}

static int exchange_keys(struct login *l, struct ssx_error *err)
{
    for (;;) {
        int rc = ssh_connect(l->session);
        int fd = ssh_get_fd(l->session);
        if (fd >= 0)
            fd_set_nonblocking(fd, true); /* libssh makes it blocking again once connected; one full send would freeze us */
        if (rc == SSH_OK)
            return 0;
        if (rc != SSH_AGAIN)
            return explain_exchange(l, err);
        if (login_wait(l, ssh_get_serverbanner(l->session) ? "the key exchange" : "its SSH greeting", err))
            return -1;
    }
}

static int check_host_key(struct login *l, struct ssx_error *err)
{
    ssh_key key = NULL;
    struct buf blob = {0};
    int rc;
    if (ssh_get_server_publickey(l->session, &key) != SSH_OK || key_blob(&blob, key)) {
        rc = error_set(err, SSX_ERROR_UNREACHABLE, "can't read the host key of %s: %s", l->config->hostname,
                       ssh_get_error(l->session));
    } else {
        enum ssh_keytypes_e type = ssh_key_type(key);
        const char *ecdsa = ssh_pki_key_ecdsa_name(key);
        const char *name = ecdsa && !strncmp(ecdsa, "ecdsa-", 6) ? ecdsa : ssh_key_type_to_char(type);
        rc = host_key_judge(l->keys, l->config, l->target, name, buf_data(&blob), buf_length(&blob), err);
    }
    buf_free(&blob);
    ssh_key_free(key);
    return rc;
}

/* How long the step took that ends now; the next one begins. */
static void took(int64_t *out, int64_t *since)
{
    int64_t now = clock_us();
    *out = now - *since;
    *since = now;
}

static int open_session(struct login *l, struct ssx_error *err)
{
    struct transport_attempt unread = {0}, *attempt = l->target->attempt ? l->target->attempt : &unread;
    int64_t since = clock_us();
    l->worth_retrying = false;
    int fd = dial(l, &attempt->resolve_us, err);
    took(&attempt->connect_us, &since);
    attempt->connect_us -= attempt->resolve_us;
    if (fd < 0)
        return -1;
    l->session = ssh_new();
    if (!l->session || set_options(l->session, l->config, l->keys) || ssh_options_set(l->session, SSH_OPTIONS_FD, &fd)) {
        close(fd);
        return error_set(err, SSX_ERROR_SYSTEM, "can't set up a libssh session: %s",
                         l->session ? ssh_get_error(l->session) : "out of memory");
    }
    ssh_set_blocking(l->session, 0);
    login_step(l);
    if (exchange_keys(l, err) || check_host_key(l, err))
        return -1;
    took(&attempt->exchange_us, &since);
    target_log(l->target, 2, "%s: %s, %s, host key checked", ssh_get_serverbanner(l->session), ssh_get_kex_algo(l->session),
               ssh_get_cipher_out(l->session));
    int rc = auth_run(l, err);
    took(&attempt->auth_us, &since);
    return rc;
}

int login_open(struct login *l, struct ssx_error *err)
{
    struct ssx_error problem = {0};
    if (!open_session(l, &problem))
        return 0;
    if (problem.code != SSX_ERROR_INTERRUPTED && passage_explain(l->passage, &problem))
        l->worth_retrying = false;
    return error_set(err, problem.code, "%s", problem.text);
}

/* Half to one and a half times the mean, so that those who were turned away together don't come back together. */
static int jitter(int mean_ms)
{
    uint32_t random;
    random_bytes(&random, sizeof random);
    return mean_ms / 2 + (int)(random % (uint32_t)mean_ms);
}

int login_open_again(struct login *l, struct ssx_error *err)
{
    for (int i = 0; ; i++) {
        struct ssx_error problem = {0};
        if (!login_open(l, &problem))
            return 0;
        if (!l->worth_retrying || i == RETRIES)
            return error_set(err, problem.code, "%s", problem.text);
        target_log(l->target, 1, "%s; trying again", problem.text);
        login_drop(l);
        struct patience nap = patience_for(1 << 20, l->target->interrupt_fd);
        if (patience_sleep(&nap, jitter(RETRY_MS << i), err))
            return -1;
    }
}

void login_drop(struct login *l)
{
    if (l->session)
        login_end(l->session);
    passage_close(l->passage);
    l->session = NULL;
    l->passage = NULL;
}

/* libssh leaves a socket open that it was given (but not in each version, nor after each error): closed here if it
 * still is that one. */
void login_end(ssh_session session)
{
    struct stat before, after;
    int fd = ssh_get_fd(session);
    bool known = fd >= 0 && fstat(fd, &before) == 0;
    ssh_disconnect(session);
    ssh_free(session);
    if (known && fstat(fd, &after) == 0 && S_ISSOCK(after.st_mode) && after.st_ino == before.st_ino && after.st_dev == before.st_dev)
        close(fd);
}
