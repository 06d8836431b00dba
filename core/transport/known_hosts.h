/* An index over known_hosts files: whose keys are known under which name. Files are read once; a look-up reads nothing.
 *
 * Knows plain names, [host]:port, patterns with * ? and !, hashed names, @revoked and @cert-authority; lines it can't
 * read it skips, as ssh does. */
#ifndef TRANSPORT_KNOWN_HOSTS_H
#define TRANSPORT_KNOWN_HOSTS_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

struct known_hosts;

enum known_mark { KNOWN_KEY, KNOWN_REVOKED, KNOWN_AUTHORITY };

/* One line that matched; what it points to belongs to the index. */
struct known_key {
    enum known_mark mark;
    const char *type, *base64; /* not NUL-ended */
    size_t type_length, base64_length;
    const char *file;
    unsigned line;
};

/* A file that is not there or can't be read counts as empty (as ssh has it); one over 64 MiB is an error. Returns 0 or
 * -1. */
int known_hosts_load(struct known_hosts **out, const char *const *files, size_t count, struct ssx_error *err);
void known_hosts_free(struct known_hosts *k);

/* The name under which a host's key is filed: "host", or "[host]:port" for other ports than 22; lower case. Returns its
 * length, as snprintf. */
size_t known_hosts_name(char *out, size_t size, const char *host, int port);

/* The lines that name the host, in the files' order: at most `max` of them into out. Returns how many there are. */
size_t known_hosts_find(const struct known_hosts *k, const char *name, struct known_key *out, size_t max);

/* Whether the line's key is exactly this one. */
bool known_key_is(const struct known_key *key, const void *blob, size_t n);

/* Adds "name type key" to the end of a file, made with its directory (0600, 0700) where missing; the name hashed if
 * asked for. Returns 0 or -1. */
int known_hosts_append(const char *file, const char *name, bool hashed, const char *type, const void *blob, size_t n,
                       struct ssx_error *err);

#endif
