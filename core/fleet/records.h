/* Where the records of runs are kept: a file each, named by when the run began, below the user's XDG state
 * directory. */
#ifndef FLEET_RECORDS_H
#define FLEET_RECORDS_H
#include <sshexec/error.h>
#include <stddef.h>

#define RECORDS_KEPT 50
#define RECORDS_PLACE_MAX 4096

/* The directory, for messages and for finding them; "" where there is neither HOME nor XDG_STATE_HOME. Static. */
const char *records_place(void);

/* Makes a new record file (0600) for a run that begins now, and the directory (0700) where it is missing. While it is
 * open, records_prune leaves it alone. Returns a descriptor to append to, or -1 with err. */
int records_create(const char *type, struct ssx_error *err);

/* Removes all but the newest `kept` records and those that are being written, in this process or another. */
void records_prune(size_t kept);

/* The names of all, the oldest first. Returns 0: the caller frees *names by records_list_free; or -1 with err. No
 * directory: none. */
int records_list(char ***names, size_t *count, struct ssx_error *err);
void records_list_free(char **names, size_t count);

/* The path of a record into out (size bytes): `name` is one of the names, or the path of a file (with a slash in it);
 * NULL: the newest. Returns 0, or -1 with err (USAGE) where there is none. */
int records_find(char *out, size_t size, const char *name, struct ssx_error *err);

#endif
