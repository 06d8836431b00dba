/* deploy BUNDLE [HOST...]: puts a bundle in force on hosts, or on this machine, as sshexec deploy does. All get it and
 * test it; if none failed, all switch. */
#include <sshexec/bundle.h>

#include <stdio.h>
#include <stdlib.h>

struct host { const char *name; bool ok, changes; }; /* name NULL: this machine */

static void tell(void *context, const struct ssx_fleet_event *e)
{
    struct host *host = e->context;
    (void)context;
    if (e->kind == SSX_FLEET_RESULT)
        host->changes = e->answer->changes;
    if (e->kind != SSX_FLEET_END)
        return;
    host->ok = e->ending->outcome == SSX_OUTCOME_OK;
    if (!host->ok)
        fprintf(stderr, "deploy: %s: %s\n", host->name ? host->name : "this machine", e->ending->text);
}

/* Those that the bundle changes take this step. Returns how many hosts are not well, or -1 with err. */
static int step(const struct ssx_bundle *bundle, enum ssx_deploy_step which, struct host *hosts, int count,
                struct ssx_error *err)
{
    struct ssx_fleet_options o = ssx_fleet_defaults();
    struct ssx_fleet *fleet;
    int asked = 0, unwell = 0;
    o.on_event = tell;
    if (ssx_fleet_open_deploy(&fleet, bundle, which, 0, &o, err))
        return -1;
    for (int i = 0; i < count; i++)
        if (hosts[i].changes && ssx_fleet_add(fleet, hosts[i].name, NULL, 0, &hosts[i], err) == 0)
            asked++;
    if (asked && !err->code && ssx_fleet_start(fleet, err) == 0)
        while (ssx_fleet_step(fleet, -1))
            ;
    ssx_fleet_close(fleet);
    for (int i = 0; i < count; i++)
        unwell += !hosts[i].ok;
    return err->code ? -1 : unwell;
}

int main(int argc, char **argv)
{
    struct ssx_error err = {SSX_ERROR_NONE, ""};
    struct ssx_bundle *bundle;
    int count = argc > 3 ? argc - 2 : 1, unwell = -1;
    struct host *hosts = calloc((size_t)count, sizeof *hosts);
    for (int i = 0; hosts && i < count; i++)
        hosts[i] = (struct host){argc > 2 ? argv[i + 2] : NULL, false, true};
    if (hosts && argc > 1 && ssx_bundle_open(&bundle, argv[1], NULL, &err) == 0) {
        unwell = step(bundle, SSX_DEPLOY_PREPARE, hosts, count, &err);
        if (unwell == 0)
            unwell = step(bundle, SSX_DEPLOY_SWITCH, hosts, count, &err);
        if (unwell == 0)
            printf("%s %s is in force\n", ssx_bundle_name(bundle), ssx_bundle_version(bundle));
        ssx_bundle_close(bundle);
    }
    if (unwell < 0)
        fprintf(stderr, "deploy: %s\n", err.code ? err.text : "usage: deploy BUNDLE [HOST...]");
    free(hosts);
    return unwell < 0 ? ssx_error_exit_code(err.code ? err.code : SSX_ERROR_USAGE) : unwell > 0;
}
