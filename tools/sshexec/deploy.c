/* sshexec deploy: a bundle on hosts. Each gets what it lacks and is prepared; then all of them switch. */
#include "interrupt.h"
#include "payload.h"
#include "rollout.h"
#include "tool.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/outcome.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct deploy {
    const struct settings *settings;
    struct rollout rollout;
    struct payload payload;
    const struct manifest *manifest;
    bool held_back;                  /* prepared, but not switched: some host could not be */
};

static struct span span_of(const struct buf *b) { return (struct span){buf_data(b), buf_length(b)}; }

static int ask(struct deploy *d, const char *what, struct ssx_error *err)
{
    bool brings = strcmp(what, "switch");
    struct client_offer offer = {.objects = d->payload.objects, .count = d->payload.count,
                                 .order = {.what = span_text(what), .downgrade = d->settings->downgrade, .has_bundle = !brings,
                                           .bundle = d->payload.manifest}};
    if (brings) {
        offer.order.manifest = span_of(bundle_manifest_text(d->payload.bundle));
        offer.order.signature = span_of(bundle_signature(d->payload.bundle));
    }
    d->rollout.doing = d->settings->json || !isatty(STDERR_FILENO) ? NULL : brings ? "sent and checked" : "switched";
    return rollout_ask(&d->rollout, &offer, err);
}

/* --- showing it --- */

static const char *size_text(char out[32], uint64_t bytes)
{
    if (bytes < 1024)
        snprintf(out, 32, "%llu B", (unsigned long long)bytes);
    else
        snprintf(out, 32, "%.1f %s", bytes < 1024 * 1024 ? (double)bytes / 1024 : (double)bytes / (1024 * 1024), bytes < 1024 * 1024
                 ? "KiB" : "MiB");
    return out;
}

static void show_host(const struct deploy *d, const struct rollout_host *h)
{
    char size[32];
    const struct manifest *m = d->manifest;
    const char *verb = d->settings->dry_run ? "would be sent" : "sent";
    if (!h->answered) {
        rollout_complain(h);
        return;
    }
    printf("%s: ", h->name);
    if (!h->changes && d->settings->dry_run)
        printf("has %s %s already, nothing would be sent or changed\n", m->name, m->version);
    else if (!h->changes)
        printf("had %s %s already, nothing was sent or changed (generation %llu)\n", m->name, m->version,
               (unsigned long long)h->generation);
    else
        printf("%s%s%s%s -> %s, %llu object%s (%s) %s", d->settings->dry_run ? "would take " : d->held_back ? "prepared, not switched: "
               : "", m->name, *h->has ? " " : " not there",
               h->has, m->version, (unsigned long long)h->needs, h->needs == 1 ? "" : "s", size_text(size, h->bytes), verb);
    if (h->changes && !d->settings->dry_run && !d->held_back)
        printf(", generation %llu", (unsigned long long)h->generation);
    if (h->changes)
        puts("");
}

static void show_host_json(const struct deploy *d, const struct rollout_host *h)
{
    struct buf out = {0};
    rollout_json(&out, h);
    buf_printf(&out, ",\"bundle\":\"%s\",\"version\":\"%s\",\"had\":", d->manifest->name, d->manifest->version);
    if (h->answered && *h->has)
        json_add_string(&out, h->has, strlen(h->has));
    else
        buf_add_text(&out, "null");
    if (h->answered)
        buf_printf(&out, ",\"changes\":%s,\"switched\":%s,\"objects\":%llu,\"bytes\":%llu,\"generation\":%llu", h->changes ? "true"
                   : "false",
                   h->changes && !d->settings->dry_run && !d->held_back ? "true" : "false", (unsigned long long)h->needs,
                       (unsigned long long)h->bytes,
                   (unsigned long long)h->generation);
    buf_add_text(&out, "}\n");
    if (buf_length(&out))
        fwrite(buf_data(&out), 1, buf_length(&out), stdout);
    buf_free(&out);
}

static void show(const struct deploy *d)
{
    for (size_t i = 0; i < d->rollout.count; i++)
        (d->settings->json ? show_host_json : show_host)(d, &d->rollout.hosts[i]);
    fflush(stdout);
}

/* --- doing it --- */

/* Whether all hosts can switch, and some have to. Those that need not are left out from now on. */
static bool may_switch(struct deploy *d)
{
    size_t ready = 0;
    for (size_t i = 0; i < d->rollout.count; i++) {
        struct rollout_host *h = &d->rollout.hosts[i];
        d->held_back |= !h->answered;
        h->skip = !h->answered || !h->changes;
        ready += !h->skip;
    }
    return ready && !d->held_back;
}

/* What the hosts said when they were prepared is still to be shown. */
static int switch_all(struct deploy *d, struct ssx_error *err)
{
    if (!may_switch(d))
        return 0;
    if (ask(d, "switch", err))
        return -1;
    return 0;
}

static int deploy(struct deploy *d, struct ssx_error *err)
{
    if (d->settings->dry_run)
        return ask(d, "look", err);
    if (d->settings->one_phase)
        return ask(d, "install", err);
    return ask(d, "prepare", err) ? -1 : switch_all(d, err);
}

int command_deploy(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    struct deploy d = {.settings = &s};
    char **words, **rest;
    int count, code;
    if (tool_start(&s, OPTIONS_DEPLOY | OPTIONS_HOSTS | OPTIONS_SSH | OPTIONS_JSON,
                   "usage: sshexec deploy [options] BUNDLE.ssx [HOST...]\n\n"
                   "Puts the plugins of a bundle in force on each HOST (sets, as behind -w), or on this machine. A host gets what it lacks and checks it:\n"
                   "signature, digests, and that each plugin loads there and passes its own test. Once all are ready, all switch.",
                   argc, argv, &words, &count, &rest, &code))
        return code;
    if (rest || !count) {
        error_set(&err, SSX_ERROR_USAGE, rest ? "deploy takes no words behind \"--\""
                  : "deploy takes a bundle first (sshexec deploy --help)");
        return tool_complain(&err);
    }
    if (s.signer && !s.signers) {
        error_set(&err, SSX_ERROR_USAGE, "--signer needs --signers, the file that says which key is whose");
        return tool_complain(&err);
    }
    int interrupts = interrupt_watch();
    int rc = rollout_init(&d.rollout, &s, words + 1, count - 1, &err);
    d.rollout.interrupt_fd = interrupts;
    bool opened = rc == 0 && (rc = payload_open(&d.payload, words[0], s.signers, s.signer, &err)) == 0;
    if (opened)
        d.manifest = bundle_manifest(d.payload.bundle);
    if (rc == 0)
        rc = deploy(&d, &err);
    if (rc == 0)
        show(&d);
    code = rc ? (interrupt_signal() ? EXIT_SIGNAL + interrupt_signal() : tool_complain(&err)) : rollout_sum_up(&d.rollout);
    if (opened)
        payload_close(&d.payload);
    rollout_free(&d.rollout);
    return code;
}
