/* Many hosts at once, by the public header alone. Locally, two names of this machine through a shell stand for them. */
#include "api.h"

#include <poll.h>
#include <sshexec/fleet.h>

struct tale {
    struct ssx_fleet *fleet;
    size_t ends[4], outputs[4], results[4];
    char text[4][64];
    int outcome[4];
    bool cancels;
    size_t count;
};

static void tell(void *context, const struct ssx_fleet_event *e)
{
    struct tale *t = context;
    CHECK(e->host < 4 && e->context == &t->ends[e->host] && t->ends[e->host] == 0); /* nothing comes after the end */
    if (e->kind == SSX_FLEET_OUTPUT && e->stream == SSX_STDOUT) {
        t->outputs[e->host]++;
        CHECK(e->n < sizeof t->text[0]);
        memcpy(t->text[e->host], e->bytes, e->n);
        if (t->cancels)
            ssx_fleet_cancel(t->fleet);
    }
    t->results[e->host] += e->kind == SSX_FLEET_RESULT;
    if (e->kind == SSX_FLEET_END) {
        t->ends[e->host]++;
        t->outcome[e->host] = (int)e->ending->outcome;
        CHECK(e->timing->total_us >= e->timing->run_us && e->ending->text[0]);
    }
}

static void add(struct tale *t, const char *host, const char *json)
{
    struct ssx_error err = {0};
    void *state = NULL;
    size_t n = 0;
    if (json)
        MUST(ssx_value_from_json(&state, &n, json, strlen(json), &err));
    MUST(ssx_fleet_add(t->fleet, host, state, n, &t->ends[t->count++], &err));
    ssx_value_free(state);
}

static void open_fleet_for(struct tale *t, struct ssx_session_options *session, const char *type, const char *json,
                           void (*on_event)(void *context, const struct ssx_fleet_event *e), void *context)
{
    struct ssx_error err = {0};
    struct ssx_fleet_options o = ssx_fleet_defaults();
    void *state;
    size_t n;
    *session = place.options;
    if (!place.host)
        session->transport_command = "env H=%h %c";
    o.session = session;
    o.context = context;
    o.on_event = on_event;
    MUST(ssx_value_from_json(&state, &n, json, strlen(json), &err));
    MUST(ssx_fleet_open(&t->fleet, type, state, n, &o, &err));
    ssx_value_free(state);
}

static void open_fleet(struct tale *t, struct ssx_session_options *session, const char *type, const char *json)
{
    open_fleet_for(t, session, type, json, tell, t);
}

static const char *name(int i)
{
    static const char *const local[] = {"one", "two"}, *const far[] = {"node1", "node2"};
    return place.host ? far[i] : local[i];
}

static void each_host_says_its_own_and_ends_once(void)
{
    struct ssx_error err = {0};
    struct tale t = {0};
    struct ssx_session_options session;
    open_fleet(&t, &session, "hello", "{\"name\":\"all\"}");
    add(&t, name(0), NULL);
    add(&t, name(1), "{\"name\":\"you\"}");
    CHECK(ssx_fleet_fd(t.fleet) == -1 && ssx_fleet_step(t.fleet, 0) == 0);
    MUST(ssx_fleet_start(t.fleet, &err));
    CHECK(ssx_fleet_add(t.fleet, "late", NULL, 0, NULL, &err) == -1 && err.code == SSX_ERROR_USAGE);
    for (int going = 1; going;) { /* by the program's own loop */
        struct pollfd fd = {ssx_fleet_fd(t.fleet), POLLIN, 0};
        CHECK(poll(&fd, 1, 60000) == 1);
        going = ssx_fleet_step(t.fleet, 0);
    }
    CHECK(t.ends[0] == 1 && t.ends[1] == 1 && t.results[0] == 1 && t.results[1] == 1);
    CHECK(strcmp(t.text[0], "hello, all\n") == 0 && strcmp(t.text[1], "hello, you\n") == 0);
    CHECK(ssx_fleet_where(t.fleet, 1) == SSX_FLEET_ENDED && ssx_fleet_fanout(t.fleet) > 0);
    size_t counts[SSX_FLEET_PLACES];
    ssx_fleet_count(t.fleet, counts);
    CHECK(counts[SSX_FLEET_ENDED] == 2 && counts[SSX_FLEET_WAITING] == 0);
    ssx_fleet_close(t.fleet);
}

static void a_cancel_from_a_callback_ends_all(void)
{
    struct ssx_error err = {0};
    struct tale t = {.cancels = true};
    struct ssx_session_options session;
    open_fleet(&t, &session, "exec", "{\"cmd\":\"echo up; sleep 1000\"}");
    add(&t, name(0), NULL);
    add(&t, name(1), NULL);
    MUST(ssx_fleet_start(t.fleet, &err));
    while (ssx_fleet_step(t.fleet, -1))
        ;
    CHECK(t.outcome[0] == SSX_OUTCOME_CANCELLED && t.outcome[1] == SSX_OUTCOME_CANCELLED);
    ssx_fleet_close(t.fleet);
}

static void closing_a_fleet_under_way_leaves_nothing(void)
{
    struct ssx_error err = {0};
    struct tale t = {0};
    struct ssx_session_options session;
    open_fleet(&t, &session, "exec", "{\"cmd\":\"echo up; sleep 1000\"}");
    add(&t, name(0), NULL);
    add(&t, name(1), NULL);
    MUST(ssx_fleet_start(t.fleet, &err));
    while (!t.outputs[0])
        ssx_fleet_step(t.fleet, -1);
    long long began = now_ms();
    ssx_fleet_close(t.fleet);
    CHECK(now_ms() - began < 8000 && t.ends[0] == 0);
}

enum { ITEMS = 6 };
struct dealt { size_t ends[ITEMS], hosts[2], items_of[2]; char text[ITEMS][64]; };

static void tell_dealt(void *context, const struct ssx_fleet_event *e)
{
    struct dealt *d = context;
    if (e->kind == SSX_FLEET_END) {
        CHECK(e->host < 2 && e->item == SSX_FLEET_NONE && e->ending->outcome == SSX_OUTCOME_OK);
        d->hosts[e->host]++;
        return;
    }
    CHECK(e->item < ITEMS && e->host < 2 && d->hosts[e->host] == 0 && d->ends[e->item] == 0); /* nothing comes after the end of either */
    if (e->kind == SSX_FLEET_OUTPUT && e->stream == SSX_STDOUT) {
        CHECK(e->n < sizeof d->text[0]);
        memcpy(d->text[e->item], e->bytes, e->n);
    }
    if (e->kind == SSX_FLEET_DEALT) {
        CHECK(e->ending->outcome == SSX_OUTCOME_OK && e->timing->total_us >= e->timing->run_us);
        d->ends[e->item]++;
        d->items_of[e->host]++;
    }
}

static void deal(struct ssx_fleet *fleet, int number)
{
    struct ssx_error err = {0};
    char json[64];
    void *fields;
    size_t n;
    snprintf(json, sizeof json, "{\"name\":\"item %d\"}", number);
    MUST(ssx_value_from_json(&fields, &n, json, strlen(json), &err));
    MUST(ssx_fleet_deal(fleet, fields, n, &err));
    ssx_value_free(fields);
}

static void items_are_dealt_and_each_ends_once(void)
{
    struct ssx_error err = {0};
    struct dealt d = {0};
    struct tale t = {0};
    struct ssx_session_options session;
    size_t counts[SSX_FLEET_PLACES];
    open_fleet_for(&t, &session, "hello", "{\"name\":\"nobody\"}", tell_dealt, &d);
    add(&t, name(0), NULL);
    add(&t, name(1), NULL);
    CHECK(ssx_fleet_deal(t.fleet, "\x01", 1, &err) == -1 && err.code == SSX_ERROR_REFUSED); /* no map */
    err = (struct ssx_error){0};
    for (int i = 0; i < ITEMS; i++)
        deal(t.fleet, i);
    MUST(ssx_fleet_start(t.fleet, &err));
    CHECK(ssx_fleet_deal(t.fleet, "\x80", 1, &err) == -1 && err.code == SSX_ERROR_USAGE);
    while (ssx_fleet_step(t.fleet, -1))
        ;
    for (int i = 0; i < ITEMS; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "hello, item %d\n", i);
        CHECK(d.ends[i] == 1 && strcmp(d.text[i], wanted) == 0);
    }
    CHECK(d.hosts[0] == 1 && d.hosts[1] == 1 && d.items_of[0] + d.items_of[1] == ITEMS);
    ssx_fleet_count_items(t.fleet, counts);
    CHECK(counts[SSX_FLEET_ENDED] == ITEMS);
    ssx_fleet_close(t.fleet);
}

enum { ASKED = 3 };
struct said {
    size_t plugins[ASKED], problems, ends[ASKED];
    enum ssx_outcome outcome[ASKED];
    char reason[ASKED][32];
    bool known;
};

static void take_plugin(struct said *s, const struct ssx_fleet_event *e)
{
    const struct ssx_fleet_plugin *p = e->plugin;
    CHECK(p->type[0] && strlen(p->digest) == 64 && p->where[0] == '/');
    CHECK(*p->problem ? !p->note_size && !*p->version : p->note_size > 0 && *p->version && strlen(p->schema) == 16);
    s->plugins[e->host]++;
    s->problems += *p->problem != 0;
    s->known |= !*p->problem && strcmp(p->type, "items") == 0;
}

static void take_said(void *context, const struct ssx_fleet_event *e)
{
    struct said *s = context;
    CHECK(e->host < ASKED && !s->ends[e->host] && (e->host == 0) == !e->name);
    if (e->kind == SSX_FLEET_DESCRIBED)
        take_plugin(s, e);
    if (e->kind != SSX_FLEET_END)
        return;
    s->ends[e->host]++;
    s->outcome[e->host] = e->ending->outcome;
    snprintf(s->reason[e->host], sizeof s->reason[0], "%s", e->ending->reason);
}

/* Asks this machine, and where the cases run on a host two of those. */
static void ask_for(struct said *s, const char *type)
{
    struct ssx_error err = {0};
    struct ssx_fleet *fleet;
    struct ssx_fleet_options o = ssx_fleet_defaults();
    *s = (struct said){.known = false};
    o.session = &place.options;
    o.context = s;
    o.on_event = take_said;
    MUST(ssx_fleet_open_describe(&fleet, type, &o, &err));
    CHECK(ssx_fleet_deal(fleet, "\x80", 1, &err) == -1 && err.code == SSX_ERROR_USAGE);
    err = (struct ssx_error){0};
    CHECK(ssx_fleet_add(fleet, NULL, "\x80", 1, NULL, &err) == -1 && err.code == SSX_ERROR_USAGE);
    err = (struct ssx_error){0};
    MUST(ssx_fleet_add(fleet, NULL, NULL, 0, NULL, &err));
    for (int i = 0; place.host && i < 2; i++)
        MUST(ssx_fleet_add(fleet, name(i), NULL, 0, NULL, &err));
    MUST(ssx_fleet_start(fleet, &err));
    while (ssx_fleet_step(fleet, -1))
        ;
    ssx_fleet_close(fleet);
}

static void hosts_say_which_plugins_they_have(void)
{
    struct said s;
    ask_for(&s, "items");
    CHECK(s.ends[0] == 1 && s.outcome[0] == SSX_OUTCOME_OK && s.plugins[0] == 1 && s.known && !s.problems);
    for (int i = 1; place.host && i < ASKED; i++)
        CHECK(s.ends[i] == 1 && s.outcome[i] == SSX_OUTCOME_REFUSED && strcmp(s.reason[i], "unknown-type") == 0 &&
              !s.plugins[i]);
    ask_for(&s, NULL);
    CHECK(s.outcome[0] == SSX_OUTCOME_OK && s.known);
    CHECK(s.problems && s.problems < s.plugins[0]); /* there are bad ones in the zoo */
}

static void this_machine_may_be_one_of_the_hosts(void)
{
    struct ssx_error err = {0};
    struct tale t = {0};
    struct ssx_fleet_options o = ssx_fleet_defaults();
    o.session = &place.options;
    o.context = &t;
    o.on_event = tell;
    MUST(ssx_fleet_open(&t.fleet, "hello", NULL, 0, &o, &err));
    add(&t, NULL, "{\"name\":\"here\"}");
    if (place.host)
        add(&t, name(0), "{\"name\":\"there\"}");
    MUST(ssx_fleet_start(t.fleet, &err));
    while (ssx_fleet_step(t.fleet, -1))
        ;
    CHECK(t.ends[0] == 1 && strcmp(t.text[0], "hello, here\n") == 0);
    CHECK(!place.host || (t.ends[1] == 1 && strcmp(t.text[1], "hello, there\n") == 0));
    ssx_fleet_close(t.fleet);
}

static void what_can_be_no_fleet_says_so(void)
{
    struct ssx_error err = {0};
    struct ssx_fleet *fleet;
    struct ssx_fleet_options o = ssx_fleet_defaults();
    CHECK(ssx_fleet_open(&fleet, "No Type", NULL, 0, &o, &err) == -1 && !fleet && err.code == SSX_ERROR_UNKNOWN_TYPE);
    err = (struct ssx_error){0};
    CHECK(ssx_fleet_open_describe(&fleet, "No Type", &o, &err) == -1 && !fleet && err.code == SSX_ERROR_UNKNOWN_TYPE);
    err = (struct ssx_error){0};
    o.grace_ms = 1000000;
    CHECK(ssx_fleet_open(&fleet, "hello", NULL, 0, &o, &err) == -1 && err.code == SSX_ERROR_USAGE);
    err = (struct ssx_error){0};
    o.size = 3;
    CHECK(ssx_fleet_open(&fleet, "hello", NULL, 0, &o, &err) == -1 && err.code == SSX_ERROR_USAGE);
    err = (struct ssx_error){0};
    MUST(ssx_fleet_open(&fleet, "hello", NULL, 0, NULL, &err));
    CHECK(ssx_fleet_start(fleet, &err) == -1 && err.code == SSX_ERROR_USAGE); /* no host */
    ssx_fleet_close(fleet);
    ssx_fleet_close(NULL);
}

const struct api_case fleet_cases[] = {
    {"each_host_of_a_fleet_says_its_own_and_ends_once", each_host_says_its_own_and_ends_once},
    {"a_cancel_from_a_callback_ends_all_hosts", a_cancel_from_a_callback_ends_all},
    {"closing_a_fleet_under_way_leaves_nothing", closing_a_fleet_under_way_leaves_nothing},
    {"items_are_dealt_and_each_ends_once", items_are_dealt_and_each_ends_once},
    {"hosts_say_which_plugins_they_have", hosts_say_which_plugins_they_have},
    {"this_machine_may_be_one_of_the_hosts", this_machine_may_be_one_of_the_hosts},
    {"what_can_be_no_fleet_says_so", what_can_be_no_fleet_says_so},
    {NULL, NULL},
};
