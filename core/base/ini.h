/* The one INI grammar of this project's files: [section], key = value, # or ; comments on lines of their own. Values
 * run to the end of the line, trimmed. */
#ifndef BASE_INI_H
#define BASE_INI_H
#include <sshexec/error.h>
#include <stddef.h>

/* What a file says, one call a key. section is "" before the first heading. Returns 0, or -1 with err set, which ends
 * the reading; the file and line are then put before the message. */
typedef int ini_visit(void *user, const char *section, const char *key, const char *value, unsigned line, struct ssx_error *err);

/* Reads text (n bytes and a NUL behind them; changed in passing). name is for messages. Returns 0, or -1 with err. */
int ini_read(char *text, size_t n, const char *name, ini_visit *visit, void *user, struct ssx_error *err);

#endif
