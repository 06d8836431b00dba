#include "host_script.h"

#include "interrupt.h"
#include "reach.h"

#include "base/error.h"
#include "base/random.h"
#include "base/text.h"
#include "transport/route.h"
#include "transport/told.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define SAID_MAX (64u << 10) /* the noise of a shell, and a few lines of ours */

/* The next line that was said, "WORD TEXT"; *at is 0 at first. NULL: there is none. */
static const char *next_line(const struct host_script *h, size_t *at, size_t *n)
{
    char words[64];
    const char *said = (const char *)buf_data(&h->said), *end = said + buf_length(&h->said);
    int length = snprintf(words, sizeof words, "sshexec-host 1 %s ", h->nonce);
    const char *line = said && *at < buf_length(&h->said) ? memmem(said + *at, (size_t)(end - said) - *at, words, (size_t)length) : NULL;
    const char *newline = line ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (!newline)
        return NULL;
    line += length;
    *n = (size_t)(newline - line);
    *at = (size_t)(newline - said);
    return line;
}

const char *host_script_said(const struct host_script *h, const char *word, size_t nth, size_t *n)
{
    size_t at = 0, length = strlen(word);
    for (const char *line; (line = next_line(h, &at, n));)
        if (*n > length && memcmp(line, word, length) == 0 && line[length] == ' ' && nth-- == 0) {
            *n -= length + 1;
            return line + length + 1;
        }
    return NULL;
}

/* Reads what there is. Returns 1 at the end of its stdout, 0 for more, -1 with err. */
static int read_some(struct host_script *h, struct transport *t, struct ssx_error *err)
{
    char bytes[4096];
    ssize_t n;
    while ((n = transport_read(t, TRANSPORT_STDERR, bytes, sizeof bytes, NULL)) > 0)
        if (buf_length(&h->warned) + (size_t)n <= SAID_MAX)
            buf_add(&h->warned, bytes, (size_t)n);
    while ((n = transport_read(t, TRANSPORT_STDOUT, bytes, sizeof bytes, err)) > 0)
        if (buf_length(&h->said) + (size_t)n > SAID_MAX || buf_add(&h->said, bytes, (size_t)n))
            return error_set(err, SSX_ERROR_PROTOCOL, "the host prints without end");
    return n == TRANSPORT_AGAIN ? 0 : n < 0 ? -1 : 1;
}

/* A host that takes no more has gone, or has no /bin/sh: what it said tells which, so that is read on. */
static void write_some(struct buf *script, struct transport *t)
{
    while (buf_length(script)) {
        ssize_t n = transport_write(t, buf_data(script), buf_length(script), NULL);
        if (n == TRANSPORT_AGAIN || n == 0)
            return;
        buf_consume(script, n < 0 ? buf_length(script) : (size_t)n);
    }
    transport_close_write(t);
}

static int converse(struct host_script *h, struct buf *script, struct transport *t, int interrupt_fd, struct ssx_error *err)
{
    struct pollfd fds[TRANSPORT_FDS + 1];
    bool writing = true;
    for (;;) {
        if (writing)
            write_some(script, t);
        writing = buf_length(script) > 0;
        int rc = read_some(h, t, err);
        if (rc)
            return rc < 0 ? -1 : 0;
        size_t n = transport_poll(t, writing, fds);
        fds[n] = (struct pollfd){.fd = interrupt_fd, .events = POLLIN};
        poll(fds, n + 1, -1);
        if (interrupt_signal())
            return error_set(err, SSX_ERROR_INTERRUPTED, "interrupted");
    }
}

/* What came of it. */
static int judge(const struct host_script *h, const char *host, struct ssx_error *err)
{
    size_t n;
    const char *why = host_script_said(h, "fail", 0, &n);
    if (why)
        return error_set(err, SSX_ERROR_REFUSED, "%s: %.*s", host, (int)n, why);
    if (host_script_said(h, "done", 0, &n))
        return 0;
    const char *line = told_line((const char *)buf_data(&h->warned), buf_length(&h->warned), &n);
    if (n)
        return error_set(err, SSX_ERROR_UNREACHABLE, "%s gives no ordinary login: %.*s", host, (int)n, line);
    return error_set(err, SSX_ERROR_UNREACHABLE, "%s gives no ordinary login: its shell ran nothing of ours", host);
}

int host_script_run(struct host_script *h, const struct settings *s, const char *host, const char *script,
                    int interrupt_fd, struct ssx_error *err)
{
    struct transport_target target;
    struct ask_terminal terminal;
    struct transport *transport;
    struct buf text = {0};
    unsigned char nonce[NONCE_HEX / 2];
    memset(h, 0, sizeof *h);
    random_bytes(nonce, sizeof nonce);
    text_hex(h->nonce, nonce, sizeof nonce);
    reach_target(&target, &terminal, s, host, interrupt_fd);
    const char *const here[] = {"/bin/sh", "-s", NULL};
    int rc =
        buf_printf(
            &text,
            "main() {\nsay() { printf '%%s\\n' \"sshexec-host 1 %s $*\"; }\nfail() { say fail \"$*\"; exit 1; }\n%s\nsay done .\n}\nmain </dev/null\n",
            h->nonce, script)
            ? error_set(err, SSX_ERROR_SYSTEM, "out of memory")
        : host ? transport_open(&transport, &target, "exec /bin/sh -s", err)
               : transport_open_local(&transport, &target, here, err);
    if (rc == 0) {
        rc = converse(h, &text, transport, interrupt_fd, err) ? -1 : judge(h, host ? host : "this machine", err);
        transport_free(transport);
    }
    buf_free(&text);
    return rc;
}

void host_script_free(struct host_script *h)
{
    buf_free(&h->said);
    buf_free(&h->warned);
}
