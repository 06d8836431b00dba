/* The usual way to ask a person for a passphrase or a yes: on the controlling terminal, whatever stdin and stdout
 * are. */
#ifndef TRANSPORT_ASK_H
#define TRANSPORT_ASK_H
#include <stdbool.h>
#include <stddef.h>

struct ask_terminal { int interrupt_fd; }; /* readable: stop waiting for an answer; 0 or less: none */

/* Whether this process has a terminal to ask on. */
bool ask_possible(void);

/* A transport_ask_fn; ctx is a struct ask_terminal. The terminal's settings are put back whatever happens. */
int ask_terminal(void *ctx, const char *prompt, bool echo, char *answer, size_t size);

#endif
