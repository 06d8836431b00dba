/* Option structs of <sshexec/client.h>, from programs that were built with an older or a newer header than this library. */
#ifndef FLEET_OPTIONS_H
#define FLEET_OPTIONS_H
#include <sshexec/client.h>

/* Copies what the program gave (NULL: nothing) over the defaults in out. Returns 0, or -1 with err (SSX_ERROR_USAGE): a struct that was never initialised, or one that uses
 * fields which this library doesn't know. */
int options_take_session(struct ssx_session_options *out, const struct ssx_session_options *given, struct ssx_error *err);
int options_take_run(struct ssx_run_options *out, const struct ssx_run_options *given, struct ssx_error *err);

#endif
