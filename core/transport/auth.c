#include "transport/auth.h"

#include "base/buf.h"
#include "base/error.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIGN_MS 120000 /* an agent may ask its user before it signs; sshd's LoginGraceTime is as long */

/* One authentication under way. */
struct attempt {
    struct login *login;
    struct keyagent_relay *relay; /* NULL until a key of the agent's is tried */
    struct buf tried, notes;      /* for the message of a failure */
    size_t offered;
    bool partial;                 /* a key was accepted, and the server wants more */
};

static void add_to_list(struct buf *list, const char *separator, const char *text)
{
    if (buf_length(list))
        buf_add_text(list, separator);
    buf_add_text(list, text);
}

static const char *text_of(struct buf *b)
{
    buf_add(b, "", 1);
    b->end -= b->failed ? 0 : 1;
    return b->failed ? "(out of memory)" : (const char *)buf_data(b);
}

/* --- one key --- */

/* What became of one key: ssh_auth_e, or INTERRUPTED with err set. */
#define INTERRUPTED (-100)

/* After SSH_AUTH_AGAIN: waits. Returns 0 to go on, else what became of the key. */
static int hold(struct attempt *a, const char *doing, struct ssx_error *err)
{
    if (login_is_over(a->login))
        return SSH_AUTH_ERROR;
    return login_wait(a->login, doing, err) ? INTERRUPTED : 0;
}

static int try_public(struct attempt *a, ssh_key key, struct ssx_error *err)
{
    int rc, stop = 0;
    while (!stop && (rc = ssh_userauth_try_publickey(a->login->session, NULL, key)) == SSH_AUTH_AGAIN)
        stop = hold(a, "its answer to a key", err);
    return stop ? stop : rc;
}

static int sign_with(struct attempt *a, ssh_key key, struct ssx_error *err)
{
    login_step(a->login);
    int rc, stop = 0;
    while (!stop && (rc = ssh_userauth_publickey(a->login->session, NULL, key)) == SSH_AUTH_AGAIN)
        stop = hold(a, "its answer to a signature", err);
    return stop ? stop : rc;
}

/* ssh_userauth_agent does it all, and loses some memory when the server hangs up meanwhile, as it does on an agent full
 * of wrong keys. So all keys but the first, which is mostly the right one, are shown to the server beforehand. */
static int try_agent_key(struct attempt *a, const struct offer *offer, struct ssx_error *err)
{
    struct login *l = a->login;
    int seen = a->offered && offer->public ? try_public(a, offer->public, err) : SSH_AUTH_SUCCESS;
    if (seen != SSH_AUTH_SUCCESS)
        return seen;
    if (!a->relay) {
        int fd;
        if (keyagent_relay_start(&a->relay, &fd, l->agent, patience_for(SIGN_MS, l->target->interrupt_fd), err))
            return INTERRUPTED;
        if (ssh_set_agent_socket(l->session, fd)) {
            close(fd);
            error_set(err, SSX_ERROR_SYSTEM, "can't use the ssh-agent: %s", ssh_get_error(l->session));
            return INTERRUPTED;
        }
    }
    keyagent_relay_show(a->relay, offer->agent_key);
    int rc, stop = 0;
    while (!stop && (rc = ssh_userauth_agent(l->session, NULL)) == SSH_AUTH_AGAIN)
        stop = hold(a, "its answer to a key", err);
    return stop ? stop : rc;
}

/* --- key files --- */

/* libssh asks for a passphrase through this; without one, OpenSSL would ask on the terminal by itself. */
struct passphrase { const char *text; bool wanted; };

static int give_passphrase(const char *prompt, char *out, size_t size, int echo, int verify, void *ctx)
{
    struct passphrase *p = ctx;
    (void)prompt, (void)echo, (void)verify;
    p->wanted = true;
    if (!p->text || strlen(p->text) >= size)
        return -1;
    memcpy(out, p->text, strlen(p->text) + 1);
    return 0;
}

static int import_private(const char *path, struct passphrase *p, ssh_key *out)
{
    return ssh_pki_import_privkey_file(path, NULL, give_passphrase, p, out);
}

static void note(struct attempt *a, const char *path, const char *problem)
{
    char text[600];
    snprintf(text, sizeof text, "%s %s", path, problem);
    add_to_list(&a->notes, "; ", text);
    target_log(a->login->target, 1, "%s", text);
}

/* ssh does not use a private key that others can read, and neither do we. */
static bool is_exposed(const char *path)
{
    struct stat st;
    return !stat(path, &st) && st.st_uid == getuid() && (st.st_mode & 077);
}

/* Asks up to NumberOfPasswordPrompts times. Returns the key or NULL, the reason noted. */
static ssh_key unlock(struct attempt *a, const char *path)
{
    const struct transport_target *t = a->login->target;
    char prompt[600], text[512];
    ssh_key key = NULL;
    if (!t->ask || a->login->config->batch_mode) {
        note(a, path, "is encrypted, and there is no terminal to ask for its passphrase (add it to an ssh-agent)");
        return NULL;
    }
    snprintf(prompt, sizeof prompt, "Enter passphrase for key '%s': ", path);
    int tries = a->login->config->password_prompts;
    while (!key && tries-- > 0 && !t->ask(t->ask_ctx, prompt, false, text, sizeof text) && text[0]) {
        struct passphrase given = {text, false};
        if (import_private(path, &given, &key) != SSH_OK)
            key = NULL;
    }
    sodium_memzero(text, sizeof text);
    if (!key)
        note(a, path, "is encrypted, and no right passphrase came");
    return key;
}

static int try_file(struct attempt *a, const struct offer *offer, struct ssx_error *err)
{
    struct passphrase none = {0};
    ssh_key key = NULL;
    if (access(offer->path, R_OK)) {
        note(a, offer->path, "can't be read, and no agent holds it");
        return SSH_AUTH_DENIED;
    }
    if (is_exposed(offer->path)) {
        note(a, offer->path, "is not used, for others can read it (chmod 600)");
        return SSH_AUTH_DENIED;
    }
    if (import_private(offer->path, &none, &key) != SSH_OK) {
        key = NULL;
        if (!none.wanted) {
            note(a, offer->path, "is not a private key that libssh can read");
            return SSH_AUTH_DENIED;
        }
        /* no need to ask for the passphrase of what the server won't take */
        int rc = offer->public ? try_public(a, offer->public, err) : SSH_AUTH_SUCCESS;
        if (rc != SSH_AUTH_SUCCESS)
            return rc;
        key = unlock(a, offer->path);
    }
    int rc = key ? sign_with(a, key, err) : SSH_AUTH_DENIED;
    ssh_key_free(key);
    return rc;
}

/* --- all keys --- */

static int try_offer(struct attempt *a, const struct offer *offer, struct ssx_error *err)
{
    login_step(a->login);
    int rc = offer->agent_key != OFFER_NOT_IN_AGENT ? try_agent_key(a, offer, err) : try_file(a, offer, err);
    a->offered++;
    add_to_list(&a->tried, ", ", offer->label);
    target_log(a->login->target, 2, "key %s: %s", offer->label,
               rc == SSH_AUTH_SUCCESS ? "accepted" : rc == SSH_AUTH_PARTIAL ? "accepted, more wanted" : "not accepted");
    a->partial |= rc == SSH_AUTH_PARTIAL;
    return rc;
}

/* Some servers let in without any proof (they know the network's); this also brings the list of methods for the
 * message. */
static int try_none(struct attempt *a, struct ssx_error *err)
{
    login_step(a->login);
    int rc, stop = 0;
    while (!stop && (rc = ssh_userauth_none(a->login->session, NULL)) == SSH_AUTH_AGAIN)
        stop = hold(a, "its list of authentication methods", err);
    return stop ? stop : rc;
}

static void add_methods(struct buf *out, int methods)
{
    static const struct { unsigned bit; const char *name; } names[] = {
        {SSH_AUTH_METHOD_PUBLICKEY, "publickey"}, {SSH_AUTH_METHOD_PASSWORD, "password"},
        {SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"}, {SSH_AUTH_METHOD_HOSTBASED, "hostbased"},
        {SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((unsigned)methods & names[i].bit)
            add_to_list(out, ", ", names[i].name);
}

static int explain(struct attempt *a, struct ssx_error *err)
{
    const struct ssh_config *c = a->login->config;
    struct buf methods = {0};
    add_methods(&methods, ssh_userauth_list(a->login->session, NULL));
    const char *takes = text_of(&methods), *notes = text_of(&a->notes), *separator = *notes ? "; " : "";
    if (a->partial)
        error_set(err, SSX_ERROR_UNREACHABLE,
                  "permission denied for %s@%s: it took a key (tried %s) but wants more: %s; sshexec offers keys only", c->user,
                  c->hostname, text_of(&a->tried), takes);
    else if (!a->offered)
        error_set(err, SSX_ERROR_UNREACHABLE,
                  "permission denied for %s@%s: there is no key to offer (no IdentityFile exists%s); make one with ssh-keygen, "
                  "name one with -i or start an ssh-agent; the host takes %s",
                  c->user, c->hostname, a->login->agent->path[0] ? ", the ssh-agent is empty" : ", no ssh-agent answers", takes);
    else
        error_set(err, SSX_ERROR_UNREACHABLE,
                  "permission denied for %s@%s (publickey): tried %s%s%s; the host takes %s, sshexec offers keys only", c->user,
                  c->hostname, text_of(&a->tried), separator, notes, takes);
    buf_free(&methods);
    return -1;
}

/* The server hung up, mostly because it had enough of us. */
static int explain_end(struct attempt *a, struct ssx_error *err)
{
    const struct ssh_config *c = a->login->config;
    return error_set(err, SSX_ERROR_UNREACHABLE, "%s ended the login of %s after %zu keys (%s): %s%s", c->hostname, c->user,
                     a->offered, text_of(&a->tried), ssh_get_error(a->login->session),
                     a->offered > 2 ? "; name the right key with -i and set IdentitiesOnly" : "");
}

static int run(struct attempt *a, struct ssx_error *err)
{
    const struct offers *offers = a->login->offers;
    int rc = SSH_AUTH_DENIED;
    for (size_t i = 0; i < offers->n && (rc == SSH_AUTH_DENIED || rc == SSH_AUTH_PARTIAL); i++)
        rc = try_offer(a, &offers->at[i], err);
    if (rc == SSH_AUTH_DENIED && !a->partial)
        rc = try_none(a, err);
    if (rc == SSH_AUTH_SUCCESS)
        return 0;
    if (rc == INTERRUPTED)
        return -1;
    return rc == SSH_AUTH_ERROR ? explain_end(a, err) : explain(a, err);
}

int auth_run(struct login *l, struct ssx_error *err)
{
    struct attempt a = {.login = l};
    int rc = run(&a, err);
    keyagent_relay_stop(a.relay);
    buf_free(&a.tried);
    buf_free(&a.notes);
    return rc;
}
