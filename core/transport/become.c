#include "transport/become.h"

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "transport/patience.h"
#include "transport/quote.h"
#include "transport/told.h"

#include <stdio.h>
#include <string.h>

#define SETTLE_MS 120000      /* as sshd's LoginGraceTime: ssh may be asking the user for something meanwhile */
#define HEARD_MAX (64u << 10) /* of each stream; a login shell's noise is no longer */
#define PASSWORD_MAX 512      /* sudo takes 255 */
#define USER_MAX 64

bool become_user_is_valid(const char *user)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@$+-";
    const char *name = user + (*user == '#');
    return *name && *name != '-' && strlen(name) <= USER_MAX && !name[strspn(name, letters)];
}

void become_init(struct become *b, const struct transport_target *target)
{
    unsigned char random[16];
    random_bytes(random, sizeof random);
    b->user = target->become;
    b->asking = target->ask;
    text_hex(b->nonce, random, sizeof random);
}

/* What the far side prints when sudo is through, and what sudo prompts with. */
static void write_arrival(const struct become *b, char *out, size_t size) { snprintf(out, size, "sshexec-become %s", b->nonce); }
static void write_prompt(const struct become *b, char *out, size_t size) { snprintf(out, size, "[sshexec %s]", b->nonce); }

/* -H: the agent looks for its cache in HOME. */
static void add_sudo(struct words *out, const struct become *b)
{
    static const char *const plain[] = {"sudo", "-n", "-H", "-u"}, *const asking[] = {"sudo", "-S", "-H", "-u"};
    char prompt[64];
    for (size_t i = 0; i < 4; i++)
        words_add(out, b->asking ? asking[i] : plain[i]);
    words_add(out, b->user);
    write_prompt(b, prompt, sizeof prompt);
    if (b->asking) {
        words_add(out, "-p");
        words_add(out, prompt);
    }
    words_add(out, "--");
    words_add(out, "/bin/sh");
    words_add(out, "-c");
}

/* What the shell behind sudo does first. */
static int add_start(struct buf *out, const struct become *b)
{
    char arrival[64];
    write_arrival(b, arrival, sizeof arrival);
    buf_add_text(out, "cd 2>/dev/null; ");
    return b->asking ? buf_printf(out, "echo \"%s\"; ", arrival) : 0;
}

int become_line(struct buf *out, const struct become *b, const char *command)
{
    struct words sudo = {0};
    struct buf script = {0};
    add_sudo(&sudo, b);
    buf_add_text(out, "exec");
    for (size_t i = 0; i < sudo.n; i++) {
        buf_add(out, " ", 1);
        shell_quote(out, sudo.at[i]);
    }
    buf_add(out, " ", 1);
    int rc = add_start(&script, b) || buf_add_text(&script, command) || buf_add(&script, "", 1) || sudo.failed;
    if (!rc)
        shell_quote(out, (const char *)buf_data(&script));
    buf_free(&script);
    words_free(&sudo);
    return rc || buf_add(out, "", 1) ? -1 : 0;
}

void become_argv(struct words *out, const struct become *b, const char *const *argv)
{
    struct buf script = {0};
    add_sudo(out, b);
    if (add_start(&script, b) || buf_add_text(&script, "exec \"$0\" \"$@\"") || buf_add(&script, "", 1))
        out->failed = true;
    else
        words_add(out, (const char *)buf_data(&script));
    for (; *argv; argv++)
        words_add(out, *argv);
    buf_free(&script);
}

/* --- the conversation --- */

struct conversation {
    const struct become *become;
    struct transport *transport;
    const struct transport_target *target;
    struct patience patience;
    struct buf out, err;
    const char *where;
    bool asked;
};

static bool holds(const struct buf *b, const char *text)
{
    return buf_length(b) && memmem(buf_data(b), buf_length(b), text, strlen(text));
}

/* Reads what there is. Returns 0 when nothing more can come at once, 1 at the end of that stream, or -1. */
static int hear(struct conversation *c, enum transport_stream stream, struct buf *into, struct ssx_error *err)
{
    char bytes[4096];
    ssize_t n;
    while ((n = transport_read(c->transport, stream, bytes, sizeof bytes, err)) > 0) {
        if (buf_length(into) + (size_t)n > HEARD_MAX)
            return error_set(err, SSX_ERROR_UNREACHABLE, "sudo on %s never answered, but %u bytes of other output came",
                             c->where, HEARD_MAX);
        if (buf_add(into, bytes, (size_t)n))
            return error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    }
    return n == TRANSPORT_AGAIN ? 0 : n == 0 ? 1 : -1;
}

static int write_all(struct conversation *c, const char *bytes, size_t n, struct ssx_error *err)
{
    while (n) {
        ssize_t wrote = transport_write(c->transport, bytes, n, err);
        struct pollfd fds[TRANSPORT_FDS];
        if (wrote == TRANSPORT_AGAIN) {
            int ready = patience_poll(&c->patience, fds, transport_poll(c->transport, true, fds), err);
            if (ready <= 0)
                return ready < 0 ? -1 : error_set(err, SSX_ERROR_UNREACHABLE, "sudo on %s doesn't take the password", c->where);
        } else if (wrote < 0) {
            return -1;
        } else {
            bytes += wrote;
            n -= (size_t)wrote;
        }
    }
    return 0;
}

static int give_password(struct conversation *c, struct ssx_error *err)
{
    char question[400], password[PASSWORD_MAX + 1]; /* and a newline */
    const struct transport_target *target = c->target;
    if (c->asked)
        return error_set(err, SSX_ERROR_UNREACHABLE,
                         "sudo on %s did not take the password, so nothing runs as %s there", c->where,
                         c->become->user);
    c->asked = true;
    buf_consume(&c->err, buf_length(&c->err)); /* or this prompt would be taken for the next one */
    snprintf(question, sizeof question, "sudo password on %s: ", c->where);
    int rc = target->ask(target->ask_ctx, question, false, password, sizeof password - 1);
    c->patience = patience_for(SETTLE_MS, target->interrupt_fd);
    if (rc) {
        rc = error_set(err, SSX_ERROR_INTERRUPTED, "sudo on %s wants a password, and none was given", c->where);
    } else {
        strcat(password, "\n");
        rc = write_all(c, password, strlen(password), err);
    }
    explicit_bzero(password, sizeof password);
    return rc;
}

static int ended(struct conversation *c, struct ssx_error *err)
{
    size_t n;
    const char *told = told_line((const char *)buf_data(&c->err), buf_length(&c->err), &n);
    if (!n)
        return error_set(err, SSX_ERROR_UNREACHABLE, "the connection to %s ended before sudo had started anything", c->where);
    return error_set(err, SSX_ERROR_UNREACHABLE, "%.*s (the connection to %s ended before sudo had started anything)",
                     (int)n, told, c->where);
}

/* One round. Returns 1 when the far program is there, 0 to go on, -1 with err. */
static int converse(struct conversation *c, const char *arrival, const char *prompt, struct ssx_error *err)
{
    struct pollfd fds[TRANSPORT_FDS];
    int rc = hear(c, TRANSPORT_STDOUT, &c->out, err);
    if (rc < 0 || holds(&c->out, arrival))
        return rc < 0 ? -1 : 1;
    if (hear(c, TRANSPORT_STDERR, &c->err, err) < 0)
        return -1;
    if (holds(&c->err, prompt))
        return give_password(c, err);
    if (rc == 1)
        return ended(c, err);
    int ready = patience_poll(&c->patience, fds, transport_poll(c->transport, false, fds), err);
    if (ready == 0)
        error_set(err, SSX_ERROR_UNREACHABLE, "sudo on %s neither asked for a password nor started anything in %d s",
                  c->where, SETTLE_MS / 1000);
    return ready > 0 ? 0 : -1;
}

int become_settle(const struct become *b, struct transport *t, const struct transport_target *target, struct ssx_error *err)
{
    char arrival[64], prompt[64];
    struct conversation c = {b,
                             t,
                             target,
                             patience_for(SETTLE_MS, target->interrupt_fd),
                             {0},
                             {0},
                             target->host ? target->host : "this machine",
                             false};
    int rc = !b->asking;
    write_arrival(b, arrival, sizeof arrival);
    write_prompt(b, prompt, sizeof prompt);
    while (!rc)
        rc = converse(&c, arrival, prompt, err);
    buf_free(&c.out);
    buf_free(&c.err);
    return rc < 0 ? -1 : 0;
}

bool become_explain(struct ssx_error *err, const char *told, size_t n)
{
    static const char words[] = "a password is required";
    if (!memmem(told, n, words, strlen(words)))
        return false;
    *err = (struct ssx_error){0};
    error_set(
        err, SSX_ERROR_UNREACHABLE,
        "sudo there wants a password, and there is no terminal to ask for it on; run this on one, or give the user NOPASSWD in sudoers");
    return true;
}
