/* Who may sign: OpenSSH's allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS). Each line has principals (patterns),
 * options (namespaces, valid-after, valid-before), and a key. */
#ifndef BUNDLE_SIGNERS_H
#define BUNDLE_SIGNERS_H
#include "bundle/signature.h"

#include <time.h>

#define SIGNERS_MAX (1u << 20)       /* bytes of a file that will be read */
#define SIGNERS_PRINCIPALS 256       /* room for the principals of a line, for messages */

/* Whether the file's text (n bytes; name is for messages) lets this key sign bundles at the time `now`: for identity,
 * or for any principal where that is NULL. The signature itself was verified before. Fills in the line's principals,
 * cut where they don't fit. Returns 0, or -1 with err (SSX_ERROR_REFUSED): no line has the key, or those that have it
 * don't hold (expired, another namespace, another principal, a certificate authority's: the first such is named). A
 * line that can't be read is an error (SSX_ERROR_USAGE) wherever it stands. */
int signers_check(char principals[SIGNERS_PRINCIPALS], const char *text, size_t n, const char *name, const struct signature *s,
                  const char *identity, time_t now,
                  struct ssx_error *err);

/* A time as ssh-keygen(1) writes it: YYYYMMDD or YYYYMMDDHHMM[SS], in the local time zone, or with Z or UTC behind it
 * in that. Returns 0, or -1 where it is none. */
int signers_time(time_t *out, const char *text);

#endif
