/* Whom to reach and how, in the words of the user and of ssh: what the command line or an embedding program fills
 * in. */
#ifndef TRANSPORT_TARGET_H
#define TRANSPORT_TARGET_H
#include "transport/words.h"

#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

enum transport_mode {
    TRANSPORT_AUTO,   /* libssh where it can honour the configuration, the system ssh elsewhere */
    TRANSPORT_LIBSSH, /* libssh or an error */
    TRANSPORT_SSH,
    TRANSPORT_FIFO,     /* the system ssh, or what runs here, with a named pipe as its stdin */
    TRANSPORT_TEMPLATE, /* a command line of the user's (template.h) */
};

/* Shows the prompt and reads one line into answer (size bytes with its NUL), hidden unless echo. Returns 0, or -1 when
 * there is nobody to ask or the user gave up. Called from the thread that opens the transport. ask.h holds the usual
 * one. */
typedef int transport_ask_fn(void *ctx, const char *prompt, bool echo, char *answer, size_t size);

/* level 1: what -v shows; 2: what -vv adds. One line, already safe for a terminal. */
typedef void transport_log_fn(void *ctx, int level, const char *text);

struct transport_attempt;

#define TRANSPORT_CONNECT_MS 15000 /* where nobody says how long connecting may take: ssh would wait for the kernel's two minutes */

/* All borrowed. A zeroed struct with a host is complete. */
struct transport_target {
    const char *host;               /* host, user@host, host:port, [v6]:port, as typed */
    enum transport_mode mode;
    const char *template_name;      /* TRANSPORT_TEMPLATE: what people call it; outlives the transport */
    const char *template_text;      /* TRANSPORT_TEMPLATE: the command line */
    const char *become;             /* the user as whom the command is started, by sudo; NULL: the login's */
    const char *config_file;        /* -F */
    const char *port;               /* -p */
    const char *login;              /* -l */
    const char *const *identities;  /* -i, ended by NULL; or NULL */
    const char *const *options;     /* -o, ended by NULL; or NULL */
    int connect_timeout_ms;         /* 0: what ssh's ConnectTimeout says, or 15 s */
    long lease_ms;                  /* the agent ends its calls when it has heard nothing for so long; 0: never */
    int interrupt_fd;               /* readable: stop opening; 0 or less: none */
    transport_ask_fn *ask;          /* NULL: nobody to ask */
    void *ask_ctx;
    transport_log_fn *log;          /* NULL: silence */
    void *log_ctx;
    struct transport_attempt *attempt; /* attempt.h; NULL: nobody wants to know, and nobody else opens one */
};

/* What to put behind "ssh" so that it means this host: the user's -F -p -l -i -o; then `host` goes last, behind "--". A
 * port in the host's own text wins over -p. Returns 0, or -1 with err (SSX_ERROR_USAGE) where the host can't be one. */
int target_ssh_words(struct words *options, struct words *host, const struct transport_target *t, struct ssx_error *err);

/* A target's parts, for what is not ssh. Those that nobody named are "". */
struct target_parts { char host[256], port[8], user[128]; };

/* Returns 0, or -1 with err (SSX_ERROR_USAGE) as target_ssh_words. A target without a host is all "" but for -p and
 * -l. */
int target_split(struct target_parts *out, const struct transport_target *t, struct ssx_error *err);

void target_log(const struct transport_target *t, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
