/* sshexec deploy: a bundle on hosts. Each gets what it lacks and is prepared; then all of them switch. */
#include "deploy_record.h"
#include "interrupt.h"
#include "rollout.h"
#include "size_text.h"
#include "tool.h"

#include "base/error.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct deploy {
    const struct settings *settings;
    struct rollout rollout;
    struct ssx_bundle *bundle;
    bool held_back;                  /* prepared, but not switched: too many hosts could not be */
    size_t answered;                 /* hosts */
    uint64_t objects, bytes;         /* that these lacked, all together */
};

struct step { const struct deploy *deploy; enum ssx_deploy_step step; };

static int open_step(struct ssx_fleet **out, const void *what, const struct ssx_fleet_options *o, struct ssx_error *err)
{
    const struct step *s = what;
    unsigned flags = s->deploy->settings->downgrade ? SSX_DEPLOY_DOWNGRADE : 0;
    return ssx_fleet_open_deploy(out, s->deploy->bundle, s->step, flags, o, err);
}

static int ask(struct deploy *d, enum ssx_deploy_step step, const struct rolling_options *rolling, const char *doing,
               struct ssx_error *err)
{
    const struct step what = {d, step};
    const struct rollout_order order = {open_step, &what, doing, step == SSX_DEPLOY_SWITCH};
    return rollout_ask(&d->rollout, &order, rolling, err);
}

/* --- showing it --- */

static bool has_switched(const struct deploy *d, const struct rollout_host *h)
{
    return h->answered && h->changes && !d->settings->dry_run && !d->held_back;
}

static void add_host(struct buf *out, const struct deploy *d, const struct rollout_host *h)
{
    char size[32];
    const char *name = ssx_bundle_name(d->bundle), *version = ssx_bundle_version(d->bundle);
    bool dry = d->settings->dry_run;
    if (!h->changes && dry)
        buf_printf(out, "has %s %s already, nothing would be sent or changed", name, version);
    else if (!h->changes)
        buf_printf(out, "had %s %s already, nothing was sent or changed (generation %llu)", name, version,
                   (unsigned long long)h->generation);
    else
        buf_printf(out, "%s%s%s%s -> %s, %llu object%s (%s) %s", dry ? "would take " : d->held_back ? "prepared, not switched: " : "",
                   name, *h->has ? " " : " not there", h->has, version, (unsigned long long)h->needs,
                   h->needs == 1 ? "" : "s",
                   size_text(size, h->bytes), dry ? "would be sent" : "sent");
    if (has_switched(d, h))
        buf_printf(out, ", generation %llu", (unsigned long long)h->generation);
    buf_add_text(out, "\n");
}

static void add_host_json(struct buf *out, const struct deploy *d, const struct rollout_host *h)
{
    rollout_json(out, h, "end");
    buf_printf(out, ",\"bundle\":\"%s\",\"version\":\"%s\",\"had\":", ssx_bundle_name(d->bundle),
               ssx_bundle_version(d->bundle));
    if (h->answered && *h->has)
        json_add_string(out, h->has, strlen(h->has));
    else
        buf_add_text(out, "null");
    if (h->answered)
        buf_printf(out, ",\"changes\":%s,\"switched\":%s,\"objects\":%llu,\"bytes\":%llu,\"generation\":%llu",
                   h->changes ? "true" : "false", has_switched(d, h) ? "true" : "false", (unsigned long long)h->needs,
                   (unsigned long long)h->bytes, (unsigned long long)h->generation);
    buf_add_text(out, "}\n");
}

static void add(void *user, struct buf *out, const struct rollout_host *h)
{
    struct deploy *d = user;
    if (d->settings->json)
        add_host_json(out, d, h);
    else if (!d->settings->quiet)
        add_host(out, d, h);
    d->answered += h->answered;
    d->objects += h->needs;
    d->bytes += h->bytes;
}

/* Why hosts that could do it did not. */
static void say_held_back(const struct deploy *d)
{
    if (d->held_back && d->answered && !d->rollout.cancelled && !d->settings->quiet)
        fprintf(stderr, "sshexec: none was switched, for not all could be prepared (--max-fail N switches the others where N fail)\n");
}

static void show(struct deploy *d)
{
    char size[32];
    rollout_show(&d->rollout, add, d);
    say_held_back(d);
    if (d->answered > 1 && !d->settings->json && !d->settings->quiet)
        printf("in all %llu object%s (%s) %s\n", (unsigned long long)d->objects, d->objects == 1 ? "" : "s", size_text(size, d->bytes),
               d->settings->dry_run ? "would be sent" : "sent");
}

/* --- doing it --- */

/* Whether hosts can switch, and some have to. Those that could not be prepared are left out, if --max-fail allows so
 * many, and unless that is given, nobody switches then. */
static bool may_switch(struct deploy *d)
{
    const struct rolling *prepared = &d->rollout.rolling;
    bool tolerant = prepared->options.max_fail.given && prepared->failed <= prepared->max_fail && !d->rollout.cancelled;
    size_t ready = 0;
    for (size_t i = 0; i < d->rollout.count; i++) {
        struct rollout_host *h = &d->rollout.hosts[i];
        d->held_back |= !h->answered && !tolerant;
        h->skip = !h->answered || !h->changes;
        ready += !h->skip;
    }
    return ready && !d->held_back;
}

static int switch_all(struct deploy *d, struct ssx_error *err)
{
    struct rolling_options rolling = d->settings->rolling;
    if (!may_switch(d))
        return 0;
    if (rolling.max_fail.given) /* what is left of it */
        rolling.max_fail = (struct amount){.n = d->rollout.rolling.max_fail - d->rollout.rolling.failed, .given = true};
    return ask(d, SSX_DEPLOY_SWITCH, &rolling, "switched", err);
}

static int deploy(struct deploy *d, struct ssx_error *err)
{
    const struct rolling_options at_once = {0}, unless_many_fail = {.max_fail = d->settings->rolling.max_fail};
    if (d->settings->dry_run)
        return ask(d, SSX_DEPLOY_LOOK, &at_once, "asked", err);
    if (d->settings->one_phase)
        return ask(d, SSX_DEPLOY_INSTALL, &d->settings->rolling, "deployed", err);
    return ask(d, SSX_DEPLOY_PREPARE, &unless_many_fail, "prepared", err) ? -1 : switch_all(d, err);
}

static int check(const struct settings *s, const char *bundle, bool rest, struct ssx_error *err)
{
    if (rest || !bundle)
        return error_set(err, SSX_ERROR_USAGE, rest ? "deploy takes no words behind \"--\""
                         : "deploy takes a bundle first (sshexec deploy --help)");
    if (access(bundle, F_OK) && !strstr(bundle, ".ssx"))
        return error_set(err, SSX_ERROR_USAGE, "deploy takes a bundle first, and there is no file %s (sshexec deploy --help)", bundle);
    if (s->signer && !s->signers)
        return error_set(err, SSX_ERROR_USAGE, "--signer needs --signers, the file that says which key is whose");
    return 0;
}

static int open_bundle(struct deploy *d, const char *path, struct ssx_error *err)
{
    struct ssx_bundle_options o = ssx_bundle_defaults();
    o.signers = d->settings->signers;
    o.signer = d->settings->signer;
    o.interrupt_fd = d->rollout.interrupt_fd;
    return ssx_bundle_open(&d->bundle, path, &o, err);
}

int command_deploy(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    struct deploy d = {.settings = &s};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, OPTIONS_DEPLOY | OPTIONS_HOSTS | OPTIONS_ROLLING | OPTIONS_SSH | OPTIONS_JSON,
            "usage: sshexec deploy [options] BUNDLE.ssx [HOST...]\n\n"
            "Puts the plugins of a bundle in force on each HOST (sets, as behind -w), or on this machine. A host gets what it lacks and checks it:\n"
            "signature, digests, and that each plugin loads there and passes its own test. Once all are ready, all switch.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    const char *bundle = count ? words[0] : NULL;
    if (check(&s, bundle, rest, &err))
        return tool_complain(&err);
    int rc = rollout_init(&d.rollout, &s, "deploy", words + 1, count - 1, &err);
    if (rc == 0)
        rc = open_bundle(&d, bundle, &err);
    if (rc == 0)
        rc = deploy(&d, &err);
    if (rc == 0)
        show(&d);
    if (rc == 0 && !s.dry_run && !d.rollout.here)
        deploy_record(&d.rollout, bundle, d.held_back);
    code = rc ? (interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err)) : rollout_sum_up(&d.rollout);
    ssx_bundle_close(d.bundle);
    rollout_free(&d.rollout);
    return code;
}
