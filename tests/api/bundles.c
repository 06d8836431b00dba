/* Bundles on hosts, by the public header alone: two get one, a third doesn't. */
#include "api.h"

#include <sshexec/bundle.h>

enum { HOSTS = 2 };
static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};

/* What came of one question to all of them. */
struct reply {
    size_t answers, ends;
    enum ssx_outcome outcome[HOSTS + 1];
    char reason[HOSTS + 1][32], has[HOSTS][32];
    struct ssx_bundle_answer answer[HOSTS];
    char *json[HOSTS];               /* the whole of each answer */
    uint64_t sent[HOSTS], total[HOSTS];
    size_t plugins[HOSTS + 1];
};

static void take_answer(struct reply *r, const struct ssx_fleet_event *e)
{
    struct ssx_error err = {0};
    CHECK(e->answer && !r->json[e->host]);
    r->answers++;
    r->answer[e->host] = *e->answer;
    snprintf(r->has[e->host], sizeof r->has[0], "%s", e->answer->has);
    MUST(ssx_value_to_json(&r->json[e->host], e->bytes, e->n, &err));
}

static void take(void *context, const struct ssx_fleet_event *e)
{
    struct reply *r = context;
    CHECK(strcmp(e->name, hosts[e->host]) == 0);
    if (e->kind == SSX_FLEET_RESULT)
        take_answer(r, e);
    if (e->kind == SSX_FLEET_DESCRIBED)
        r->plugins[e->host]++;
    if (e->kind != SSX_FLEET_END)
        return;
    r->ends++;
    r->outcome[e->host] = e->ending->outcome;
    snprintf(r->reason[e->host], sizeof r->reason[0], "%s", e->ending->reason);
}

static struct ssx_fleet_options options(struct reply *r)
{
    struct ssx_fleet_options o = ssx_fleet_defaults();
    *r = (struct reply){.ends = 0};
    o.session = &place.options;
    o.context = r;
    o.on_event = take;
    o.by = "ada@desk";
    return o;
}

static void converse(struct ssx_fleet *fleet, struct reply *r, size_t count)
{
    struct ssx_error err = {0};
    for (size_t i = 0; i < count; i++)
        MUST(ssx_fleet_add(fleet, hosts[i], NULL, 0, NULL, &err));
    MUST(ssx_fleet_start(fleet, &err));
    while (ssx_fleet_step(fleet, -1))
        ;
    CHECK(r->ends == count);
    for (size_t i = 0; i < HOSTS; i++)
        ssx_fleet_sent(fleet, i, &r->sent[i], &r->total[i]);
    ssx_fleet_close(fleet);
}

static void forget(struct reply *r)
{
    for (size_t i = 0; i < HOSTS; i++)
        ssx_value_free(r->json[i]);
}

static void step(struct reply *r, const struct ssx_bundle *bundle, enum ssx_deploy_step what)
{
    struct ssx_error err = {0};
    struct ssx_fleet *fleet;
    struct ssx_fleet_options o = options(r);
    MUST(ssx_fleet_open_deploy(&fleet, bundle, what, 0, &o, &err));
    converse(fleet, r, HOSTS);
    forget(r);
}

/* Each host says this, and has been sent so many bytes. */
static void check_each(const struct reply *r, uint64_t generation, bool changes, const char *has, uint64_t needs,
                       bool sent)
{
    CHECK(r->answers == HOSTS);
    for (int i = 0; i < HOSTS; i++) {
        const struct ssx_bundle_answer *a = &r->answer[i];
        CHECK(r->outcome[i] == SSX_OUTCOME_OK && a->generation == generation && a->changes == changes);
        CHECK(strcmp(r->has[i], has) == 0 && a->needs == needs && (a->bytes > 0) == (needs > 0));
        CHECK(r->total[i] == (sent ? a->bytes : 0) && r->sent[i] == r->total[i]);
    }
}

static struct ssx_bundle *open_bundle(const char *path)
{
    struct ssx_error err = {0};
    struct ssx_bundle *bundle;
    MUST(ssx_bundle_open(&bundle, path, NULL, &err));
    return bundle;
}

static void check_what_there_is(void)
{
    struct ssx_error err = {0};
    struct ssx_fleet *fleet;
    struct reply r;
    struct ssx_fleet_options o = options(&r);
    MUST(ssx_fleet_open_generations(&fleet, &o, &err));
    converse(fleet, &r, HOSTS);
    for (int i = 0; i < HOSTS; i++)
        CHECK(strstr(r.json[i], "[\"web\",\"1.1\",2,\"\"]") && strstr(r.json[i], "\"ada@desk\""));
    forget(&r);
    o = options(&r);
    MUST(ssx_fleet_open_store(&fleet, SSX_STORE_VERIFY, -1, -1, &o, &err));
    converse(fleet, &r, HOSTS);
    for (int i = 0; i < HOSTS; i++)
        CHECK(strstr(r.json[i], "\"kept\"") && strstr(r.json[i], "\"hello\"") && !strstr(r.json[i], "\"damaged\""));
    forget(&r);
    o = options(&r);
    MUST(ssx_fleet_open_describe(&fleet, "hello", &o, &err));
    converse(fleet, &r, HOSTS + 1);
    CHECK(r.plugins[0] == 1 && r.plugins[1] == 1 && r.plugins[2] == 0);
    CHECK(r.outcome[0] == SSX_OUTCOME_OK && strcmp(r.reason[2], "unknown-type") == 0);
}

static void roll_back(struct reply *r, uint64_t generation)
{
    struct ssx_error err = {0};
    struct ssx_fleet *fleet;
    struct ssx_fleet_options o = options(r);
    MUST(ssx_fleet_open_rollback(&fleet, generation, &o, &err));
    converse(fleet, r, HOSTS);
    forget(r);
}

static void a_bundle_is_deployed_again_and_rolled_back(void)
{
    struct reply r;
    struct ssx_bundle *old = open_bundle(place.bundles[0]), *new = open_bundle(place.bundles[1]);
    CHECK(strcmp(ssx_bundle_name(old), "web") == 0 && strcmp(ssx_bundle_version(new), "1.1") == 0);
    CHECK(ssx_bundle_serial(old) == 1 && ssx_bundle_serial(new) == 2);
    step(&r, old, SSX_DEPLOY_LOOK);
    check_each(&r, 0, true, "", 1, false);
    step(&r, old, SSX_DEPLOY_SWITCH); /* before it was prepared */
    CHECK(!r.answers && r.outcome[0] == SSX_OUTCOME_REFUSED && strcmp(r.reason[1], "generation") == 0);
    step(&r, old, SSX_DEPLOY_PREPARE);
    check_each(&r, 0, true, "", 1, true);
    step(&r, old, SSX_DEPLOY_SWITCH);
    check_each(&r, 1, true, "", 0, false);
    step(&r, old, SSX_DEPLOY_INSTALL); /* nothing is sent */
    check_each(&r, 1, false, "1.0", 0, false);
    step(&r, new, SSX_DEPLOY_INSTALL);
    check_each(&r, 2, true, "1.0", 1, true);
    step(&r, old, SSX_DEPLOY_INSTALL); /* an older serial */
    CHECK(!r.answers && r.outcome[1] == SSX_OUTCOME_REFUSED && strcmp(r.reason[0], "generation") == 0);
    check_what_there_is();
    roll_back(&r, 0);
    check_each(&r, 1, true, "", 0, false);
    roll_back(&r, 77);
    CHECK(!r.answers && strcmp(r.reason[1], "generation") == 0);
    ssx_bundle_close(old);
    ssx_bundle_close(new);
}

static void refuses(int rc, struct ssx_error *err, enum ssx_error_code code)
{
    CHECK(rc == -1 && err->code == code && err->text[0]);
    *err = (struct ssx_error){0};
}

static void what_can_be_no_question_about_bundles_says_so(void)
{
    struct ssx_error err = {0};
    struct ssx_bundle *bundle;
    struct ssx_fleet *fleet;
    struct ssx_bundle_options b = ssx_bundle_defaults();
    struct ssx_fleet_options o = ssx_fleet_defaults();
    o.session = &place.options;
    refuses(ssx_bundle_open(&bundle, "/no/such.ssx", NULL, &err), &err, SSX_ERROR_SYSTEM);
    refuses(ssx_bundle_open(&bundle, "/proc/self/exe", NULL, &err), &err, SSX_ERROR_REFUSED);
    CHECK(!bundle && ssx_bundle_open(&bundle, "/no/such.ssx", NULL, NULL) == -1);
    b.signer = "ada";
    refuses(ssx_bundle_open(&bundle, "/proc/self/exe", &b, &err), &err, SSX_ERROR_USAGE);
    refuses(ssx_fleet_open_store(&fleet, SSX_STORE_GC, -1, -1, &o, &err), &err, SSX_ERROR_USAGE);
    refuses(ssx_fleet_open_store(&fleet, SSX_STORE_LIST, 60, -1, &o, &err), &err, SSX_ERROR_USAGE);
    refuses(ssx_fleet_open_store(&fleet, (enum ssx_store_care)9, -1, -1, &o, &err), &err, SSX_ERROR_USAGE);
    CHECK(!fleet);
    MUST(ssx_fleet_open_store(&fleet, SSX_STORE_GC_DRY, 60, 0, &o, &err));
    ssx_fleet_close(fleet);
    ssx_bundle_close(NULL);
}

const struct api_case bundle_cases[] = {
    {"a_bundle_is_deployed_again_and_rolled_back", a_bundle_is_deployed_again_and_rolled_back},
    {"what_can_be_no_question_about_bundles_says_so", what_can_be_no_question_about_bundles_says_so},
    {NULL, NULL},
};
