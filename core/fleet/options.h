/* Option structs of <sshexec/client.h>, fleet.h and bundle.h, from programs that were built with an older or a newer
 * header than this library. */
#ifndef FLEET_OPTIONS_H
#define FLEET_OPTIONS_H
#include "client/bootstrap.h"
#include "transport/target.h"

#include <sshexec/bundle.h>

/* Copies what the program gave (NULL: nothing) over the defaults in out. Returns 0, or -1 with err (SSX_ERROR_USAGE): a
 * struct that was never initialised, or one that uses fields which this library doesn't know. */
int options_take_session(struct ssx_session_options *out, const struct ssx_session_options *given, struct ssx_error *err);
int options_take_run(struct ssx_run_options *out, const struct ssx_run_options *given, struct ssx_error *err);
int options_take_fleet(struct ssx_fleet_options *out, const struct ssx_fleet_options *given, struct ssx_error *err);
int options_take_bundle(struct ssx_bundle_options *out, const struct ssx_bundle_options *given, struct ssx_error *err);

/* The way to a host that they name; borrows from o and from port, room for the option as text. Returns 0, or -1 with
 * err (SSX_ERROR_USAGE). */
int options_target(struct transport_target *out, char port[16], const char *host, const struct ssx_session_options *o,
                   struct ssx_error *err);

/* How to bring an agent; for options that options_target has taken. */
enum bootstrap_mode options_bootstrap(const struct ssx_session_options *o);

#endif
