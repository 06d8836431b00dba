/* The parts of SSH's binary formats (RFC 4251, section 5): big-endian numbers, and byte strings behind their length.
 * Keys, signatures, and the ssh-agent's messages consist of them. */
#ifndef BASE_SSH_STRING_H
#define BASE_SSH_STRING_H
#include "base/buf.h"

#include <stdint.h>

struct ssh_string { const unsigned char *at; size_t n; }; /* borrowed */

/* Takes one from the front of *from. Returns 0, or -1 where the bytes end too early. */
int ssh_string_take(struct ssh_string *out, struct ssh_string *from);
int ssh_u32_take(uint32_t *out, struct ssh_string *from);

/* Return 0, or -1 if memory ran out. */
int ssh_string_add(struct buf *out, const void *bytes, size_t n);
int ssh_u32_add(struct buf *out, uint32_t n);

/* Whether it equals a C string. */
bool ssh_string_is(const struct ssh_string *s, const char *text);

#endif
