/* sshexec clean: removes from a host all that bootstraps and agents have left there for its user. */
#include "interrupt.h"
#include "reach.h"
#include "tool.h"

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "transport/route.h"
#include "transport/told.h"
#include "wire/outcome.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define SAID_MAX (1u << 20) /* what a host may print: the noise of its shell, and a line for each thing removed */

struct cleaning {
    struct transport *transport;
    char nonce[NONCE_HEX + 1];
    struct buf said;
    struct buf told;                 /* what the far side says on stderr */
};

/* The text behind "sshexec-clean 1 NONCE " in what was said from `from` on, up to its newline; NULL where no more whole
 * line is there. */
static const char *next_line(const struct cleaning *c, const char *from, size_t *n)
{
    char words[64];
    const char *end = (const char *)buf_data(&c->said) + buf_length(&c->said);
    snprintf(words, sizeof words, "sshexec-clean 1 %s ", c->nonce);
    const char *at = from < end ? memmem(from, (size_t)(end - from), words, strlen(words)) : NULL;
    if (!at)
        return NULL;
    at += strlen(words);
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline)
        return NULL;
    *n = (size_t)(newline - at);
    if (*n && at[*n - 1] == '\r') /* a terminal in between does no harm here */
        --*n;
    return at;
}

static bool starts_with(const char *at, size_t n, const char *word) { return n >= strlen(word) && memcmp(at, word, strlen(word)) == 0; }

/* Whether the host has said that it is done. */
static bool is_done(const struct cleaning *c)
{
    size_t n;
    for (const char *at = (const char *)buf_data(&c->said); at && (at = next_line(c, at, &n));)
        if (starts_with(at, n, "done"))
            return true;
    return false;
}

/* Reads what there is. Returns 1 at the end, 0 for more, -1 with err. */
static int read_some(struct cleaning *c, struct ssx_error *err)
{
    char bytes[4096];
    ssize_t n;
    while ((n = transport_read(c->transport, TRANSPORT_STDERR, bytes, sizeof bytes, NULL)) > 0)
        if (buf_length(&c->told) < SAID_MAX)
            buf_add(&c->told, bytes, (size_t)n);
    while ((n = transport_read(c->transport, TRANSPORT_STDOUT, bytes, sizeof bytes, err)) > 0)
        if (buf_length(&c->said) + (size_t)n > SAID_MAX || buf_add(&c->said, bytes, (size_t)n))
            return error_set(err, SSX_ERROR_PROTOCOL, "the host prints without end");
    return n == TRANSPORT_AGAIN ? 0 : n < 0 ? -1 : 1;
}

static int read_all(struct cleaning *c, int interrupt_fd, struct ssx_error *err)
{
    struct pollfd fds[TRANSPORT_FDS + 1];
    for (int rc; (rc = read_some(c, err)) <= 0 && !is_done(c);) {
        if (rc < 0)
            return -1;
        size_t n = transport_poll(c->transport, false, fds);
        fds[n] = (struct pollfd){.fd = interrupt_fd, .events = POLLIN};
        poll(fds, n + 1, -1);
        if (interrupt_signal())
            return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
    }
    return is_done(c) ? 0 : greeting_never_came(buf_data(&c->said), buf_length(&c->said), err);
}

/* Says what was removed, and what could not be. Returns the exit code. */
static int report(const struct cleaning *c, const char *host)
{
    char text[PATH_MAX];
    size_t n, count = 0;
    int code = 0;
    for (const char *at = (const char *)buf_data(&c->said); (at = next_line(c, at, &n));) {
        text_escape(text, sizeof text, n > 5 ? at + 5 : "", n > 5 ? n - 5 : 0);
        if (starts_with(at, n, "gone "))
            printf("removed %s\n", text);
        else if (starts_with(at, n, "kept "))
            fprintf(stderr, "sshexec: can't remove %s\n", text);
        code = starts_with(at, n, "kept ") ? EXIT_USAGE : code;
        count += !starts_with(at, n, "done");
    }
    if (!count)
        printf("nothing of sshexec's on %s\n", host);
    return code;
}

static int clean(const struct settings *s, const char *host, struct ssx_error *err)
{
    struct cleaning c = {0};
    struct transport_target target;
    struct ask_terminal terminal;
    struct buf command = {0};
    unsigned char nonce[NONCE_HEX / 2];
    int code = -1, interrupt_fd = interrupt_watch();
    random_bytes(nonce, sizeof nonce);
    text_hex(c.nonce, nonce, sizeof nonce);
    reach_target(&target, &terminal, s, host, interrupt_fd);
    if (bootstrap_clean_command(&command, c.nonce))
        error_set(err, SSX_ERROR_SYSTEM, "out of memory");
    else if (transport_open(&c.transport, &target, (const char *)buf_data(&command), err) == 0) {
        transport_close_write(c.transport);
        code = read_all(&c, interrupt_fd, err);
        if (code)
            told_explain(err, (const char *)buf_data(&c.told), buf_length(&c.told));
        else
            code = report(&c, host);
        transport_free(c.transport);
    }
    buf_free(&command);
    buf_free(&c.said);
    buf_free(&c.told);
    return code;
}

int command_clean(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_SSH,
            "usage: sshexec clean [options] HOST\n\nRemoves the agents and plugins that sshexec has stored on HOST for its user, and says what it removed.\n"
            "Calls that run there go on.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (count != 1 || rest || !*words[0]) {
        error_set(&err, SSX_ERROR_USAGE, "clean takes one host");
        return tool_complain(&err);
    }
    code = clean(&s, words[0], &err);
    if (code >= 0)
        return code;
    return interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err);
}
