#include "fleet/options.h"

#include "base/error.h"
#include "transport/become.h"
#include "transport/template.h"

#include <stdio.h>
#include <string.h>

#define SIZE_LEAST 24       /* below the first version of any of them */
#define SIZE_MOST  (1u << 16) /* above any version */

/* Every field whose value is all zeros means "not given", so an older struct is one that ends in zeros. */
static int take(void *out, size_t known, const void *given, const char *which, struct ssx_error *err)
{
    size_t size;
    memset(out, 0, known);
    if (!given)
        return 0;
    memcpy(&size, given, sizeof size); /* the first member of each */
    if (size < SIZE_LEAST || size > SIZE_MOST)
        return error_set(err, SSX_ERROR_USAGE, "the options were not initialised: start from %s()", which);
    for (size_t i = known; i < size; i++)
        if (((const char *)given)[i])
            return error_set(err, SSX_ERROR_USAGE,
                             "the program asks for options that this libsshexec (" SSX_VERSION
                             ") doesn't know: install a newer one");
    memcpy(out, given, size < known ? size : known);
    return 0;
}

int options_take_session(struct ssx_session_options *out, const struct ssx_session_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_session_defaults", err);
}

int options_take_run(struct ssx_run_options *out, const struct ssx_run_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_run_defaults", err);
}

int options_take_fleet(struct ssx_fleet_options *out, const struct ssx_fleet_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_fleet_defaults", err);
}

int options_take_bundle(struct ssx_bundle_options *out, const struct ssx_bundle_options *given, struct ssx_error *err)
{
    return take(out, sizeof *out, given, "ssx_bundle_defaults", err);
}

/* --- the way to a host --- */

static int take_transport(struct transport_target *out, const struct ssx_session_options *o, struct ssx_error *err)
{
    static const struct { const char *name; enum transport_mode mode; } modes[] = {
        {"auto", TRANSPORT_AUTO}, {"libssh", TRANSPORT_LIBSSH}, {"ssh", TRANSPORT_SSH}, {"fifo", TRANSPORT_FIFO},
    };
    if (o->transport_command) {
        out->mode = TRANSPORT_TEMPLATE;
        out->template_name = "command";
        out->template_text = o->transport_command;
        return o->transport ? error_set(err, SSX_ERROR_USAGE, "both a transport and a transport_command were given")
                            : template_check(o->transport_command, err);
    }
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(o->transport ? o->transport : "auto", modes[i].name)) {
            out->mode = modes[i].mode;
            return 0;
        }
    return error_set(err, SSX_ERROR_USAGE, "there is no transport \"%s\": auto, libssh, ssh, fifo, or a transport_command", o->transport);
}

static int check_options(const struct ssx_session_options *o, struct ssx_error *err)
{
    if (o->port < 0 || o->port > 65535)
        return error_set(err, SSX_ERROR_USAGE, "%d is no port", o->port);
    if (o->lease_ms < 0)
        return error_set(err, SSX_ERROR_USAGE, "a lease of %d ms", o->lease_ms);
    if (o->connect_timeout_ms < 0)
        return error_set(err, SSX_ERROR_USAGE, "a connect timeout of %d ms", o->connect_timeout_ms);
    if ((unsigned)o->bootstrap > SSX_BOOTSTRAP_EPHEMERAL)
        return error_set(err, SSX_ERROR_USAGE, "there is no way %d to bring an agent", (int)o->bootstrap);
    if (o->become && !become_user_is_valid(o->become))
        return error_set(err, SSX_ERROR_USAGE, "\"%s\" can't be a user to become", o->become);
    return 0;
}

int options_target(struct transport_target *out, char port[16], const char *host, const struct ssx_session_options *o,
                   struct ssx_error *err)
{
    snprintf(port, 16, "%d", o->port);
    *out = (struct transport_target){.host = host,
                                     .become = o->become,
                                     .config_file = o->config_file,
                                     .port = o->port ? port : NULL,
                                     .login = o->login,
                                     .identities = o->identities,
                                     .options = o->options,
                                     .connect_timeout_ms = o->connect_timeout_ms,
                                     .lease_ms = o->lease_ms,
                                     .interrupt_fd = o->interrupt_fd,
                                     .ask = o->on_question,
                                     .ask_ctx = o->context,
                                     .log = o->on_log,
                                     .log_ctx = o->context};
    return check_options(o, err) || take_transport(out, o, err) ? -1 : 0;
}

enum bootstrap_mode options_bootstrap(const struct ssx_session_options *o)
{
    static const enum bootstrap_mode modes[] = {
        [SSX_BOOTSTRAP_KEEP] = BOOTSTRAP_CACHE, [SSX_BOOTSTRAP_NEVER] = BOOTSTRAP_NEVER, [SSX_BOOTSTRAP_EPHEMERAL] = BOOTSTRAP_EPHEMERAL,
    };
    return modes[o->bootstrap];
}
