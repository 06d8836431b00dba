/* <sshexec/worker.h> as an author uses it: the services over a host of the test's own, lists that grow, and what
 * SSX_WORKER exports. */
#include <sshexec/worker.h>

#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#define POINT(F)                               \
    F(str, name, default("origin"), "")        \
    F(i32, x,    default(-1),       "")
SSX_STRUCT(point, POINT)

#define SHAPE(F)                               \
    F(list(struct(point)), points, empty, "")  \
    F(list(str),           names,  empty, "")  \
    F(list(u64),           sizes,  empty, "")
SSX_STRUCT(shape, SHAPE)
SSX_NOTHING(nothing)

/* ---- a host that remembers ---- */

static void *pieces[256];
static size_t piece_count;
static char last_text[2048];
static int last_number;

static void *host_alloc(struct ssx_call *call, size_t n)
{
    (void)call;
    assert_true(piece_count < sizeof pieces / sizeof *pieces);
    return pieces[piece_count++] = calloc(1, n);
}

static void host_log(struct ssx_call *call, int level, const char *text)
{
    (void)call;
    last_number = level;
    snprintf(last_text, sizeof last_text, "%s", text);
}

static void host_progress(struct ssx_call *call, uint64_t done, uint64_t total, const char *text)
{
    (void)call;
    snprintf(last_text, sizeof last_text, "%d/%d %s", (int)done, (int)total, text);
}

static int host_item(struct ssx_call *call, const struct ssx_schema *schema, const void *item)
{
    (void)call;
    assert_ptr_equal(schema, point_ssx());
    snprintf(last_text, sizeof last_text, "%s", ((const struct point *)item)->name);
    return 0;
}

static int host_fail(struct ssx_call *call, int code, const char *message)
{
    host_log(call, code, message);
    return code;
}

static const struct ssx_host host = {
    .size = sizeof host, .alloc = host_alloc, .log = host_log, .progress = host_progress, .item = host_item, .fail = host_fail,
};
static struct ssx_call the_call = {&host};

static int free_memory(void **state)
{
    (void)state;
    while (piece_count)
        free(pieces[--piece_count]);
    return 0;
}

/* ---- tests ---- */

static int shape_run(struct ssx_call *call, const struct shape *in, struct nothing *out)
{
    (void)out;
    return ssx_fail(call, 3, "%zu points", in->points.n);
}
SSX_WORKER("shape", "2.1", "for a test", shape, nothing, SSX_IDEMPOTENT | SSX_SANDBOX_NONE, shape_run)

static void a_plugin_exports_what_its_host_checks(void **state)
{
    struct shape in;
    struct nothing out;
    (void)state;
    assert_int_equal(ssx_plugin.abi_major, SSX_ABI_MAJOR);
    assert_int_equal(ssx_plugin.abi_minor, SSX_ABI_MINOR);
    assert_int_equal(ssx_plugin.size, sizeof(struct ssx_plugin));
    assert_string_equal(ssx_plugin.name, "shape");
    assert_string_equal(ssx_plugin.version, "2.1");
    assert_int_equal(ssx_plugin.traits, 1 | 32);
    assert_null(ssx_plugin.selftest);
    assert_string_equal(ssx_plugin.state()->name, "shape");
    assert_int_equal(ssx_plugin.state()->count, 3);
    assert_int_equal(ssx_plugin.result()->count, 0);
    ssx_plugin.state()->defaults(&in);
    ssx_plugin.result()->defaults(&out);
    assert_int_equal(run(&the_call, &in, &out), 3);
    assert_string_equal(last_text, "0 points");
}

static void a_list_grows_and_keeps_what_it_has(void **state)
{
    struct shape s;
    (void)state;
    shape_ssx_defaults(&s);
    for (int i = 0; i < 100; i++) {
        struct point *p = ssx_list_add(&the_call, &s.points, struct(point), 1);
        assert_string_equal(p->name, "origin");
        assert_int_equal(p->x, -1);
        p->x = i;
        *ssx_list_add(&the_call, &s.names, str, 1) = i % 2 ? "odd" : "even";
    }
    assert_int_equal(s.points.n, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(s.points.at[i].x, i);
    assert_string_equal(s.names.at[99], "odd");
    assert_true(piece_count < 40); /* not a copy an element */
    assert_string_equal(*ssx_list_add(&the_call, &s.names, str, 2), "");
    assert_int_equal(s.names.n, 102);
}

static void a_list_set_by_hand_grows_elsewhere(void **state)
{
    static uint64_t own[] = {1, 2, 3};
    struct shape s;
    (void)state;
    shape_ssx_defaults(&s);
    s.sizes.at = own;
    s.sizes.n = 3;
    *ssx_list_add(&the_call, &s.sizes, u64, 1) = 4;
    assert_ptr_not_equal(s.sizes.at, own);
    assert_int_equal(s.sizes.at[0] * 1000 + s.sizes.at[2] * 10 + s.sizes.at[3], 1034);
}

static void text_is_made_at_any_length_and_logged_cut(void **state)
{
    (void)state;
    char *text = ssx_sprintf(&the_call, "%05d%s", 42, "!");
    assert_string_equal(text, "00042!");
    text = ssx_sprintf(&the_call, "%5000s", "x");
    assert_int_equal(strlen(text), 5000);
    assert_string_equal(ssx_strdup(&the_call, "copy"), "copy");
    ssx_log(&the_call, SSX_LOG_WARNING, "%s", text);
    assert_int_equal(last_number, 2);
    assert_int_equal(strlen(last_text), 1023);
    assert_int_equal(ssx_fail(&the_call, 7, "%s", text), 7);
    assert_int_equal(strlen(last_text), 1023);
}

static void progress_and_items_reach_the_host(void **state)
{
    struct point p;
    (void)state;
    ssx_progress(&the_call, 1, 2, NULL);
    assert_string_equal(last_text, "1/2 ");
    point_ssx_defaults(&p);
    assert_int_equal(ssx_item(&the_call, point, &p), 0);
    assert_string_equal(last_text, "origin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_plugin_exports_what_its_host_checks, free_memory),
        cmocka_unit_test_teardown(a_list_grows_and_keeps_what_it_has, free_memory),
        cmocka_unit_test_teardown(a_list_set_by_hand_grows_elsewhere, free_memory),
        cmocka_unit_test_teardown(text_is_made_at_any_length_and_logged_cut, free_memory),
        cmocka_unit_test_teardown(progress_and_items_reach_the_host, free_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
