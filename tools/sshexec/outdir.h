/* What hosts say, in files of one directory: one a host. */
#ifndef SSHEXEC_OUTDIR_H
#define SSHEXEC_OUTDIR_H
#include <sshexec/error.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct outdir { int fd; bool *begun; const char *path; };

/* A host's name as that of a file or directory: one part of a path, with no dot at its front and no control character;
 * what can't stand there as %HH, and cut where it is too long. */
void outdir_name(char out[NAME_MAX + 1], const char *name);
#define OUTDIR_NAME_CUT 3 /* bytes below NAME_MAX at which one may have been cut */

/* Makes the directory where it is missing. Returns 0 or -1 with err; outdir_close in both cases. */
int outdir_open(struct outdir *o, const char *path, size_t hosts, struct ssx_error *err);
void outdir_close(struct outdir *o);

/* Appends to a host's file; the first time, what an earlier run left in it goes. The file has its outdir_name. n 0:
 * makes it at least. Returns 0 or -1 with err. */
int outdir_write(struct outdir *o, size_t host, const char *name, const void *bytes, size_t n, struct ssx_error *err);

/* What was written for it until now is not what will be: its file begins anew. */
static inline void outdir_forget(struct outdir *o, size_t host) { o->begun[host] = false; }

#endif
