#include "transport/ssh_config.h"

#include "base/buf.h"
#include "base/error.h"
#include "transport/answer_cache.h"
#include "transport/attempt.h"
#include "transport/common.h"
#include "transport/patience.h"
#include "transport/spawn.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX (1u << 20) /* ssh -G prints 6 KiB; a megabyte is not an answer */

/* How a directive that counts is met. */
enum meeting {
    HONOURED, /* read into struct ssh_config */
    HARMLESS, /* says nothing of who, where or how we connect to run one command without a terminal */
    DECIDED,  /* its value decides: judge_value */
    SYSTEM,   /* the system ssh's business; listed here only to be named in its usual spelling */
};

static const struct directive { const char *name; enum meeting meeting; } directives[] = {
    {"host", HARMLESS}, {"User", HONOURED}, {"HostName", HONOURED}, {"Port", HONOURED}, {"AddressFamily", HONOURED},
    {"BindAddress", HONOURED}, {"BatchMode", HONOURED}, {"Compression", HONOURED}, {"HashKnownHosts", HONOURED},
    {"IdentitiesOnly", HONOURED}, {"IdentityFile", HONOURED}, {"IdentityAgent", HONOURED}, {"StrictHostKeyChecking", HONOURED},
    {"TCPKeepAlive", HONOURED}, {"ConnectionAttempts", HONOURED}, {"ConnectTimeout", HONOURED}, {"Ciphers", HONOURED},
    {"MACs", HONOURED}, {"KexAlgorithms", HONOURED}, {"HostKeyAlgorithms", HONOURED}, {"PubkeyAcceptedAlgorithms", HONOURED},
    {"GlobalKnownHostsFile", HONOURED}, {"UserKnownHostsFile", HONOURED}, {"RekeyLimit", HONOURED},
    {"NumberOfPasswordPrompts", HONOURED}, {"ServerAliveInterval", HONOURED}, {"ServerAliveCountMax", HONOURED},
    /* looked into, in needs.c: whether a master answers, whether there is a ticket */
    {"ControlPath", HONOURED}, {"GSSAPIAuthentication", HONOURED},
    /* keys are all that is ever offered without a person at hand */
    {"PasswordAuthentication", HARMLESS}, {"KbdInteractiveAuthentication", HARMLESS},
    {"ChallengeResponseAuthentication", HARMLESS}, {"KbdInteractiveDevices", HARMLESS},
    /* terminals, forwardings, commands and messages, none of which we use (and the system ssh gets told so) */
    {"LogLevel", HARMLESS}, {"LogVerbose", HARMLESS}, {"SyslogFacility", HARMLESS}, {"VisualHostKey", HARMLESS},
    {"FingerprintHash", HARMLESS}, {"EscapeChar", HARMLESS}, {"EnableEscapeCommandline", HARMLESS}, {"RequestTTY", HARMLESS},
    {"ForwardX11", HARMLESS}, {"ForwardX11Trusted", HARMLESS}, {"ForwardX11Timeout", HARMLESS}, {"XAuthLocation", HARMLESS},
    {"ForwardAgent", HARMLESS}, {"GatewayPorts", HARMLESS}, {"LocalForward", HARMLESS}, {"RemoteForward", HARMLESS},
    {"DynamicForward", HARMLESS}, {"PermitRemoteOpen", HARMLESS}, {"ExitOnForwardFailure", HARMLESS},
    {"ClearAllForwardings", HARMLESS}, {"StreamLocalBindMask", HARMLESS}, {"StreamLocalBindUnlink", HARMLESS},
    {"Tunnel", HARMLESS}, {"TunnelDevice", HARMLESS}, {"PermitLocalCommand", HARMLESS}, {"LocalCommand", HARMLESS},
    {"RemoteCommand", HARMLESS}, {"SessionType", HARMLESS}, {"StdinNull", HARMLESS}, {"ForkAfterAuthentication", HARMLESS},
    {"ObscureKeystrokeTiming", HARMLESS},
    /* for ssh's own reading of its files, which is over */
    {"IgnoreUnknown", HARMLESS}, {"Tag", HARMLESS},
    /* what ssh writes down after connecting */
    {"AddKeysToAgent", HARMLESS}, {"UpdateHostKeys", HARMLESS}, {"ControlMaster", HARMLESS}, {"ControlPersist", HARMLESS},
    /* mean something only beside a directive that is SYSTEM itself */
    {"CanonicalDomains", HARMLESS}, {"CanonicalizeFallbackLocal", HARMLESS}, {"CanonicalizeMaxDots", HARMLESS},
    {"CanonicalizePermittedCNAMEs", HARMLESS}, {"ProxyUseFdpass", HARMLESS}, {"EnableSSHKeysign", HARMLESS},
    {"HostbasedAcceptedAlgorithms", HARMLESS}, {"CASignatureAlgorithms", HARMLESS}, 
    {"GSSAPIDelegateCredentials", HARMLESS}, {"GSSAPITrustDns", HARMLESS}, {"GSSAPIRenewalForcesRekey", HARMLESS},
    {"GSSAPIKexAlgorithms", HARMLESS}, {"GSSAPIClientIdentity", HARMLESS}, {"GSSAPIServerIdentity", HARMLESS},
    {"SecurityKeyProvider", HARMLESS}, {"SendEnv", DECIDED}, 
    {"PreferredAuthentications", DECIDED}, {"ProxyJump", DECIDED}, {"ProxyCommand", SYSTEM}, {"CertificateFile", SYSTEM},
    {"HostKeyAlias", SYSTEM}, {"CanonicalizeHostname", SYSTEM}, {"HostbasedAuthentication", SYSTEM},
    {"GSSAPIKeyExchange", SYSTEM}, {"PubkeyAuthentication", SYSTEM}, {"PKCS11Provider", SYSTEM}, {"KnownHostsCommand", SYSTEM},
    {"RevokedHostKeys", SYSTEM}, {"VerifyHostKeyDNS", SYSTEM}, {"CheckHostIP", SYSTEM},
    {"NoHostAuthenticationForLocalhost", SYSTEM}, {"BindInterface", SYSTEM}, {"IPQoS", SYSTEM}, {"SetEnv", SYSTEM},
    {"RequiredRSASize", SYSTEM}, {"ChannelTimeout", SYSTEM},
};

static const struct directive *find_directive(const char *name)
{
    for (size_t i = 0; i < sizeof directives / sizeof *directives; i++)
        if (!strcasecmp(directives[i].name, name))
            return &directives[i];
    return NULL;
}

/* Whether `line` is one of the lines of `text`. */
static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *p = text; *p;) {
        size_t here = strcspn(p, "\n");
        if (here == n && !memcmp(p, line, n))
            return true;
        p += here + (p[here] == '\n');
    }
    return false;
}

static bool list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (!strncmp(p, word, n) && (p[n] == ',' || !p[n]))
            return true;
    }
    return false;
}

/* Whether a DECIDED directive of this value needs the system ssh. */
static bool judge_value(const char *name, const char *value)
{
    if (!strcasecmp(name, "sendenv"))
        return strcmp(value, "LANG") && strcmp(value, "LC_*"); /* the stock locale; what a worker is told travels in frames */
    if (!strcasecmp(name, "proxyjump"))
        return strchr(value, '%') || strstr(value, "://"); /* tokens, which ssh has not filled in yet, and URIs, which it has not read */
    return !list_has(value, "publickey");
}

/* "none" switches these off; to any other directive it is a name like any other (HostKeyAlias none). */
static bool is_off(const char *name, const char *value)
{
    static const char *const names[] = {"ProxyJump",       "ProxyCommand",      "CertificateFile",
                                        "RevokedHostKeys", "KnownHostsCommand", "PKCS11Provider"};
    for (size_t i = 0; !strcmp(value, "none") && i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(name, names[i]))
            return true;
    return false;
}

static void judge(struct ssh_config *c, const char *name, const char *value)
{
    const struct directive *d = find_directive(name);
    if (c->reason[0] || is_off(name, value))
        return;
    if (!d)
        snprintf(c->reason, sizeof c->reason, "%.60s is set, which libssh is not known to honour", name);
    else if (d->meeting == SYSTEM || (d->meeting == DECIDED && judge_value(name, value)))
        snprintf(c->reason, sizeof c->reason, "%s is set (%.100s)", d->name, value);
}

/* ssh prints the files of one directive with blanks between and no quotes. A word that does not look like the start of
 * a path goes on with the path before it, unless it is a file of its own. */
static void take_files(struct words *out, const char *value)
{
    words_free(out);
    while (*value) {
        size_t n = strcspn(value, " ");
        bool starts = *value == '/' || *value == '~' || !out->n;
        if (!starts) {
            char *word = strndup(value, n);
            starts = word && !access(word, F_OK);
            free(word);
        }
        if (starts) {
            words_add_n(out, value, n);
        } else {
            char **last = &out->at[out->n - 1], *joined;
            if (asprintf(&joined, "%s %.*s", *last, (int)n, value) < 0) {
                out->failed = true;
                return;
            }
            free(*last);
            *last = joined;
        }
        value += n + strspn(value + n, " ");
    }
}

static enum host_key_policy policy_of(const char *value)
{
    if (!strcmp(value, "ask"))
        return HOST_KEY_ASK;
    if (!strcmp(value, "accept-new"))
        return HOST_KEY_ACCEPT_NEW;
    if (!strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "false"))
        return HOST_KEY_OFF;
    return HOST_KEY_YES; /* "true", "yes", and whatever we don't know: the strict reading */
}

static bool is_on(const char *value) { return !strcmp(value, "yes") || !strcmp(value, "true"); }

static void take_text(struct ssh_config *c, const char *name, const char *value, bool counts)
{
    const struct { const char *name; const char **field; } texts[] = {
        {"user", &c->user}, {"hostname", &c->hostname}, {"bindaddress", &c->bind_address},
        {"addressfamily", &c->address_family}, {"identityagent", &c->identity_agent}, {"controlpath", &c->control_path},
        {"proxyjump", &c->proxy_jump}, {"host", &c->original}, {"sessiontype", &c->session_type},
    };
    const struct { const char *name; struct ssh_algorithms *field; } lists[] = {
        {"ciphers", &c->ciphers}, {"macs", &c->macs}, {"kexalgorithms", &c->kex}, {"hostkeyalgorithms", &c->host_keys},
        {"pubkeyacceptedalgorithms", &c->public_keys},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcasecmp(name, texts[i].name))
            *texts[i].field = value;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!strcasecmp(name, lists[i].name))
            *lists[i].field = (struct ssh_algorithms){value, counts};
}

static void take_number(struct ssh_config *c, const char *name, const char *value)
{
    const struct { const char *name; bool *field; } flags[] = {
        {"hashknownhosts", &c->hash_known_hosts}, {"identitiesonly", &c->identities_only}, {"compression", &c->compression},
        {"batchmode", &c->batch_mode}, {"tcpkeepalive", &c->tcp_keepalive}, {"gssapiauthentication", &c->gssapi},
        {"stdinnull", &c->stdin_null}, {"forkafterauthentication", &c->forks},
    };
    const struct { const char *name; int *field; } numbers[] = {
        {"port", &c->port}, {"connecttimeout", &c->connect_timeout_s}, {"connectionattempts", &c->connection_attempts},
        {"numberofpasswordprompts", &c->password_prompts}, {"serveraliveinterval", &c->alive_s}, {"serveralivecountmax", &c->alive_max},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!strcasecmp(name, flags[i].name))
            *flags[i].field = is_on(value);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcasecmp(name, numbers[i].name))
            *numbers[i].field = (int)strtol(value, NULL, 10); /* "none" is 0 */
}

static void take(struct ssh_config *c, const char *name, const char *value, bool counts)
{
    take_text(c, name, value, counts);
    take_number(c, name, value);
    if (!strcasecmp(name, "stricthostkeychecking"))
        c->host_keys_checked = policy_of(value);
    else if (!strcasecmp(name, "userknownhostsfile"))
        take_files(&c->user_known_hosts, value);
    else if (!strcasecmp(name, "globalknownhostsfile"))
        take_files(&c->global_known_hosts, value);
    else if (!strcasecmp(name, "rekeylimit") && sscanf(value, "%lu %lu", &c->rekey_bytes, &c->rekey_s) != 2)
        c->rekey_bytes = c->rekey_s = 0;
    else if (!strcasecmp(name, "identityfile")) {
        c->identities_count |= counts;
        if (strcmp(value, "none"))
            words_add(&c->identities, value);
    }
}

/* --- IdentityFile's % tokens and ${VARIABLES}, which ssh -G leaves as they are --- */

/* An account's own words, as ssh takes them: not $HOME, not $USER. The _r forms, for hosts are opened from several
 * threads. */
struct account { struct passwd pw; char text[4096]; bool found; };

static void find_account(struct account *out, const char *name /* NULL: ours */)
{
    struct passwd *found = NULL;
    int rc = name ? getpwnam_r(name, &out->pw, out->text, sizeof out->text, &found)
                  : getpwuid_r(getuid(), &out->pw, out->text, sizeof out->text, &found);
    out->found = !rc && found;
}

static void add_own_home(struct buf *out)
{
    struct account me;
    find_account(&me, NULL);
    buf_add_text(out, me.found ? me.pw.pw_dir : "/");
}

static void add_own_name(struct buf *out)
{
    struct account me;
    find_account(&me, NULL);
    buf_add_text(out, me.found ? me.pw.pw_name : "");
}

/* %C: SHA-1 of %l%h%p%r, in hexadecimal (and of %j from OpenSSH 9.6 on, which is empty here: judge_identities). */
static void add_connection_hash(struct buf *out, const struct ssh_config *c, const char *local)
{
    struct buf text = {0};
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_printf(&text, "%s%s%d%s", local, c->hostname, c->port, c->user);
    if (!text.failed)
        EVP_Digest(buf_data(&text), buf_length(&text), hash, &n, EVP_sha1(), NULL);
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, "%02x", hash[i]);
    buf_free(&text);
}

static void add_token(struct buf *out, const struct ssh_config *c, char token)
{
    char local[256] = "";
    if (gethostname(local, sizeof local - 1))
        local[0] = 0;
    switch (token) {
    case '%': buf_add_text(out, "%"); return;
    case 'd': add_own_home(out); return;
    case 'h': buf_add_text(out, c->hostname); return;
    case 'k': case 'n': buf_add_text(out, c->original); return;
    case 'r': buf_add_text(out, c->user); return;
    case 'p': buf_printf(out, "%d", c->port); return;
    case 'i': buf_printf(out, "%u", (unsigned)getuid()); return;
    case 'j': return; /* judge_identities sees to it that there is no ProxyJump */
    case 'l': buf_add_text(out, local); return;
    case 'L': buf_add(out, local, strcspn(local, ".")); return;
    case 'C': add_connection_hash(out, c, local); return;
    case 'u': add_own_name(out); return;
    default: buf_printf(out, "%%%c", token); return; /* ssh would have refused it */
    }
}

/* "~" and "~user" at the start. Returns what is left of the text. */
static const char *add_home(struct buf *out, const char *text)
{
    char user[64];
    size_t n = strcspn(text + 1, "/");
    if (n >= sizeof user)
        return text;
    memcpy(user, text + 1, n);
    user[n] = 0;
    struct account account;
    find_account(&account, n ? user : NULL);
    if (!account.found)
        return text;
    buf_add_text(out, account.pw.pw_dir);
    return text + 1 + n;
}

static const char *add_variable(struct buf *out, const char *text)
{
    const char *end = strchr(text, '}');
    char name[128];
    size_t n = end ? (size_t)(end - text - 2) : sizeof name;
    if (n >= sizeof name) {
        buf_add(out, text, 2);
        return text + 2;
    }
    memcpy(name, text + 2, n);
    name[n] = 0;
    const char *value = getenv(name);
    buf_add_text(out, value ? value : "");
    return end + 1;
}

static void expand(struct buf *out, const struct ssh_config *c, const char *text)
{
    if (*text == '~')
        text = add_home(out, text);
    while (*text) {
        if (text[0] == '%' && text[1]) {
            add_token(out, c, text[1]);
            text += 2;
        } else if (text[0] == '$' && text[1] == '{') {
            text = add_variable(out, text);
        } else {
            buf_add(out, text++, 1);
        }
    }
    buf_add(out, "", 1);
}

/* What %j and %C make of a ProxyJump depends on the release of OpenSSH. */
static void judge_identities(struct ssh_config *c)
{
    for (size_t i = 0; i < c->identities.n && c->proxy_jump[0] && !c->reason[0]; i++)
        if (strstr(c->identities.at[i], "%j") || strstr(c->identities.at[i], "%C"))
            snprintf(c->reason, sizeof c->reason, "IdentityFile %.100s may depend on ProxyJump", c->identities.at[i]);
}

static void expand_identities(struct ssh_config *c)
{
    struct words expanded = {0};
    for (size_t i = 0; i < c->identities.n; i++) {
        struct buf path = {0};
        expand(&path, c, c->identities.at[i]);
        if (path.failed)
            expanded.failed = true;
        else
            words_add(&expanded, (const char *)buf_data(&path));
        buf_free(&path);
    }
    words_free(&c->identities);
    c->identities = expanded;
}

/* --- */

static void set_defaults(struct ssh_config *c)
{
    *c = (struct ssh_config){
        .original = "",
        .user = "",
        .hostname = "",
        .bind_address = "",
        .address_family = "any",
        .identity_agent = "",
        .control_path = "",
        .proxy_jump = "",
        .session_type = "default",
        .port = 22,
        .connection_attempts = 1,
        .password_prompts = 3,
        .tcp_keepalive = true,
        .host_keys_checked = HOST_KEY_ASK,
    };
    c->ciphers.list = c->macs.list = c->kex.list = c->host_keys.list = c->public_keys.list = "";
}

static int check(const struct ssh_config *c, struct ssx_error *err)
{
    if (c->identities.failed || c->user_known_hosts.failed || c->global_known_hosts.failed)
        return error_set(err, SSX_ERROR_SYSTEM, "can't read the answer of ssh -G: out of memory");
    if (!c->hostname[0] || !c->user[0] || c->port < 1 || c->port > 65535)
        return error_set(err, SSX_ERROR_USAGE, "can't use the answer of ssh -G: it names no host, user or port");
    return 0;
}

int ssh_config_parse(struct ssh_config *out, const char *answer, const char *baseline, struct ssx_error *err)
{
    set_defaults(out);
    out->text = strdup(answer);
    if (!out->text)
        return error_set(err, SSX_ERROR_SYSTEM, "can't read the answer of ssh -G: out of memory");
    char *next;
    for (char *line = out->text; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *blank = strchr(line, ' ');
        if (!blank)
            continue;
        bool counts = !has_line(baseline, line);
        *blank = 0;
        take(out, line, blank + 1, counts);
        if (counts)
            judge(out, line, blank + 1);
    }
    if (!strcmp(out->proxy_jump, "none"))
        out->proxy_jump = "";
    judge_identities(out);
    expand_identities(out);
    return check(out, err);
}

void ssh_config_dispose(struct ssh_config *c)
{
    words_free(&c->identities);
    words_free(&c->user_known_hosts);
    words_free(&c->global_known_hosts);
    free(c->text);
    *c = (struct ssh_config){0};
}

/* --- asking ssh --- */

struct question { struct transport *ssh; struct buf answer, complaint; bool answered, silent; };

static int ask(struct question *q, const struct words *argv, struct ssx_error *err)
{
    return spawn_open(&q->ssh, "ssh", (const char *const *)(const void *)argv->at, err);
}

static int collect_both(struct question *q, struct ssx_error *err)
{
    if (transport_collect(q->ssh, TRANSPORT_STDOUT, &q->answer, ANSWER_MAX, &q->answered, err) ||
        transport_collect(q->ssh, TRANSPORT_STDERR, &q->complaint, ANSWER_MAX, &q->silent, err))
        return error_prefix(err, "can't read the answer of ssh -G");
    return 0;
}

static int await_answers(struct question *questions, size_t count, const struct patience *patience, struct ssx_error *err)
{
    for (;;) {
        struct pollfd fds[2 * TRANSPORT_FDS];
        size_t n = 0;
        for (size_t i = 0; i < count; i++) {
            if (collect_both(&questions[i], err))
                return -1;
            if (!questions[i].answered || transport_exit_status(questions[i].ssh) < 0)
                n += transport_poll(questions[i].ssh, false, fds + n);
        }
        if (!n)
            return 0;
        int ready = patience_poll(patience, fds, n, err);
        if (ready < 0)
            return -1;
        if (!ready)
            return error_set(err, SSX_ERROR_UNREACHABLE,
                             "ssh -G did not answer in time (does a Match exec of the ssh configuration hang?)");
    }
}

/* ssh's own last words: "/home/u/.ssh/config: line 3: Bad configuration option: foo", not the warnings before them. */
static void last_line(struct buf *text, const char **at, int *n)
{
    size_t end = buf_length(text);
    const char *bytes = end ? (const char *)buf_data(text) : "";
    while (end && isspace((unsigned char)bytes[end - 1]))
        end--;
    size_t start = end;
    while (start && bytes[start - 1] != '\n')
        start--;
    *at = bytes + start;
    *n = (int)(end - start);
}

static int check_answer(struct question *q, const char *host, struct ssx_error *err)
{
    const char *words;
    int n;
    if (transport_exit_status(q->ssh) == 0 && buf_length(&q->answer)) {
        buf_add(&q->answer, "", 1);
        return q->answer.failed ? error_set(err, SSX_ERROR_SYSTEM, "can't read the answer of ssh -G: out of memory") : 0;
    }
    last_line(&q->complaint, &words, &n);
    return error_set(err, SSX_ERROR_USAGE, "ssh refuses its configuration for %s: %.*s", host, n, words);
}

static int make_argv(struct words *argv, const struct words *options, const struct words *host, struct ssx_error *err)
{
    words_add(argv, "ssh");
    words_add(argv, "-T");
    /* With a command, as when it is run: ForkAfterAuthentication wants one, Match sessiontype and command look at it.
     * Before the user's own: the first word counts. */
    words_add(argv, "-oRemoteCommand=none");
    for (size_t i = 0; i < options->n; i++)
        words_add(argv, options->at[i]);
    words_add(argv, "-G");
    words_add(argv, "--");
    words_add(argv, host->at[0]);
    words_add(argv, "exec /bin/sh");
    return argv->failed ? error_set(err, SSX_ERROR_SYSTEM, "can't ask ssh for its configuration: out of memory") : 0;
}

/* Both questions to ssh; the answers end with a NUL each. */
static int ask_both(struct buf *answer, struct buf *baseline, const struct words *own, const struct words *stock, const char *host,
                    const struct patience *patience, struct ssx_error *err)
{
    struct question q[2] = {0};
    int rc = ask(&q[0], own, err);
    if (!rc)
        rc = ask(&q[1], stock, err);
    if (!rc)
        rc = await_answers(q, 2, patience, err);
    if (!rc)
        rc = check_answer(&q[0], host, err) || check_answer(&q[1], host, err) ? -1 : 0;
    for (int i = 0; i < 2; i++) {
        transport_free(q[i].ssh);
        buf_free(&q[i].complaint);
    }
    *answer = q[0].answer;
    *baseline = q[1].answer;
    return rc;
}

/* All that it takes to ask. */
struct asking { const struct words *own, *stock; const char *host, *config_file; const struct patience *patience; };

/* From the cache where that still counts, else from ssh: an answer_ask. */
static int find_both(void *ctx, struct buf *answer, struct buf *baseline, struct ssx_error *err)
{
    const struct asking *a = ctx;
    time_t asked = time(NULL);
    if (!answer_cache_get(a->own, answer, baseline))
        return 0;
    int rc = ask_both(answer, baseline, a->own, a->stock, a->host, a->patience, err);
    if (!rc)
        answer_cache_put(a->own, a->config_file, asked, answer, baseline);
    return rc;
}

static int find_answers(struct ssh_config *out, struct asking *a, struct common *common, struct ssx_error *err)
{
    struct buf answer = {0}, baseline = {0};
    int rc = common ? answer_class_get(common_answers(common), a->own, a->own->n - 2, a->config_file, &answer, &baseline, find_both, a, err)
                    : find_both(a, &answer, &baseline, err);
    if (!rc)
        rc = ssh_config_parse(out, (const char *)buf_data(&answer), (const char *)buf_data(&baseline), err);
    buf_free(&answer);
    buf_free(&baseline);
    return rc;
}

int ssh_config_load(struct ssh_config *out, const struct transport_target *target, int timeout_ms, struct ssx_error *err)
{
    struct words options = {0}, host = {0}, none = {0}, own = {0}, stock = {0};
    struct patience patience = patience_for(timeout_ms, target->interrupt_fd);
    set_defaults(out);
    words_add(&none, "-F");
    words_add(&none, "none");
    int rc = none.failed ? error_set(err, SSX_ERROR_SYSTEM, "can't ask ssh for its configuration: out of memory") : 0;
    if (!rc)
        rc = target_ssh_words(&options, &host, target, err);
    if (!rc)
        rc = make_argv(&own, &options, &host, err);
    if (!rc)
        rc = make_argv(&stock, &none, &host, err);
    if (!rc)
        rc = find_answers(out, &(struct asking){&own, &stock, host.at[0], target->config_file, &patience},
                          target->attempt ? target->attempt->common : NULL, err);
    words_free(&options);
    words_free(&host);
    words_free(&none);
    words_free(&own);
    words_free(&stock);
    return rc;
}
