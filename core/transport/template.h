/* A transport that is a command line of the user's, such as `docker exec -i %h %c`: any program whose stdin and stdout
 * reach an agent.
 *
 * The line is split into words as a shell would split it (blanks, '...', "...", backslash), but no shell ever sees it,
 * so nothing in a host's name can mean anything. %h host, %p port, %u user, %c the agent's command, %% a percent
 * sign. */
#ifndef TRANSPORT_TEMPLATE_H
#define TRANSPORT_TEMPLATE_H
#include "transport/words.h"

#include <sshexec/error.h>

/* NULL or "": not known, which is an error only where the template asks for it. */
struct template_values { const char *host, *port, *user, *command; };

/* Adds the argv that the template stands for. A word that is just %c becomes three: /bin/sh -c COMMAND; inside another
 * word %c is COMMAND quoted for a shell. Returns 0, or -1 with err (SSX_ERROR_USAGE): quotes that don't end, an unknown
 * %, no %c, a value that is missing or that would be read as an option. */
int template_expand(struct words *out, const char *text, const struct template_values *values, struct ssx_error *err);

/* Whether it can be expanded at all, whatever the values. Returns 0 or -1. */
int template_check(const char *text, struct ssx_error *err);

/* Whether the template holds %letter. */
bool template_holds(const char *text, char letter);

#endif
