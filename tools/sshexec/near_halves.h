/* The near halves of a transfer with many hosts: a process for each host that is under way.
 *
 * They are children of one process, which is forked while this one has a single thread and no host: it can fork as
 * often as is asked of it, where a process with threads may do hardly anything in its child; and none of them inherits
 * the descriptors of another's, or of a session. They end with their pipes, whatever ends this process. */
#ifndef SSHEXEC_NEAR_HALVES_H
#define SSHEXEC_NEAR_HALVES_H
#include <sshexec/error.h>
#include <stdbool.h>
#include <stddef.h>

struct near_halves;

/* What each of them does: converses by these two, and returns whether all is in place. `user` as it was at the fork. */
typedef bool near_half_fn(void *user, size_t host, int in, int out);

/* For so many hosts, at most `at_once` of them under way. Before any thread is started. Returns 0, or -1 with err. */
int near_halves_open(struct near_halves **out, near_half_fn *run, void *user, size_t hosts, size_t at_once,
                     struct ssx_error *err);

/* Begins one. *from is what it says, *to what it hears: the caller closes them. Returns 0, or -1 with err. */
int near_halves_begin(struct near_halves *n, size_t host, int *from, int *to, struct ssx_error *err);

/* Readable when there is something for near_halves_look, which takes note of those that have ended. */
int near_halves_fd(const struct near_halves *n);
void near_halves_look(struct near_halves *n);

/* What is known of one. CUT: it ended, and not all is in place. */
enum near_half { NEAR_HALF_NONE, NEAR_HALF_RUNS, NEAR_HALF_COMPLETE, NEAR_HALF_CUT };
enum near_half near_halves_state(const struct near_halves *n, size_t host);

/* No more will begin; those that run end with their pipes. NULL is fine. */
void near_halves_close(struct near_halves *n);

#endif
