/* The way to a host behind bastions: which it is and why, without connecting; and the lock under which one logs in for
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "transport/bastion.h"
#include "transport/route.h"
#include "transport/turn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const char configuration[] =
    "Host plain\n  ProxyJump a\n"
    "Host list\n  ProxyJump a,eve@b:2222\n"
    "Host behind\n  ProxyJump c\n"
    "Host c\n  ProxyJump a\n"
    "Host off\n  ProxyJump none\n"
    "Host uri\n  ProxyJump ssh://a,b\n"
    "Host needy\n  ProxyJump a,needs-ssh\n"
    "Host first-needy\n  ProxyJump needs-ssh,a\n"
    "Host needs-ssh\n  HostKeyAlias x\n"
    "Host itself\n  ProxyJump x\n"
    "Host x\n  ProxyJump x\n"
    "Host circle\n  ProxyJump y\n"
    "Host y\n  ProxyJump z\n"
    "Host z\n  ProxyJump y\n"
    "Host own\n  HostKeyAlias y\n  ProxyJump x\n"
    "Host many\n  ProxyJump a,b,c,d,e,f,g,h,i\n"
    "Host broken\n  ProxyJump -a\n";

static char path[] = "/tmp/sshexec-bastion-XXXXXX";

static int write_configuration(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, configuration, strlen(configuration)) < 0)
        return -1;
    return close(fd);
}

static int remove_configuration(void **state)
{
    (void)state;
    return unlink(path);
}

static struct transport_target target_of(const char *host, enum transport_mode mode)
{
    return (struct transport_target){.host = host, .config_file = path, .mode = mode};
}

static void expect_route(const char *host, bool libssh, const char *why)
{
    struct transport_target target = target_of(host, TRANSPORT_AUTO);
    struct ssx_error err = {0};
    struct route route;
    int rc = route_find(&route, &target, &err);
    if (rc || route.libssh != libssh || strncmp(route.why, why, strlen(why)))
        fail_msg("%s: %d %s, %s", host, rc, err.text, route.why);
}

static void expect_error(const char *host, const char *text)
{
    struct transport_target target = target_of(host, TRANSPORT_AUTO);
    struct ssx_error err = {0};
    struct route route;
    if (route_find(&route, &target, &err) != -1 || err.code != SSX_ERROR_USAGE || !strstr(err.text, text))
        fail_msg("%s: %s", host, err.text);
}

static void hops_that_libssh_can_do(void **state)
{
    (void)state;
    expect_route("plain", true, "through the bastion a; ");
    expect_route("list", true, "through the bastion eve@b:2222; ");
    expect_route("behind", true, "through the bastion c; ");
    expect_route("off", true, "the ssh configuration asks for nothing");
    expect_route("elsewhere", true, "the ssh configuration asks for nothing");
}

static void what_a_hop_needs_all_behind_it_need(void **state)
{
    (void)state;
    expect_route("needy", false, "for the bastion needs-ssh, HostKeyAlias is set (x)");
    expect_route("first-needy", false, "for the bastion needs-ssh, HostKeyAlias is set (x)");
    expect_route("uri", false, "ProxyJump is set (ssh://a,b)");
    expect_route("own", false, "HostKeyAlias is set (y)"); /* nobody looks at its hops then */
}

static void libssh_or_an_error(void **state)
{
    (void)state;
    struct transport_target target = target_of("needy", TRANSPORT_LIBSSH);
    struct ssx_error err = {0};
    struct route route;
    assert_int_equal(route_find(&route, &target, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_USAGE);
    assert_non_null(strstr(err.text, "for the bastion needs-ssh, HostKeyAlias is set (x)"));
}

static void circles_and_too_many(void **state)
{
    (void)state;
    expect_error("itself", "jumphost loop via x"); /* ssh itself says so */
    expect_error("circle", "leads back to");
    expect_error("many", "more than 8 hops");
    expect_error("broken", "bastion -a: '-a' can't be a host");
}

/* Those of a run are shared by name; as long as somebody holds one it is the same. */
static void one_for_all(void **state)
{
    (void)state;
    struct transport_target target = target_of("plain", TRANSPORT_AUTO);
    struct bastions *all = bastions_new();
    struct bastion *first, *second, *other;
    assert_int_equal(bastion_find(&first, all, &target, "a,eve@b:2222", NULL), 0);
    assert_int_equal(bastion_find(&second, all, &target, "a,eve@b:2222", NULL), 0);
    assert_int_equal(bastion_find(&other, all, &target, "a", NULL), 0);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    assert_string_equal(bastion_name(first), "eve@b:2222");
    bastion_release(second);
    bastions_free(all);
    assert_string_equal(bastion_reason(first), "");
    bastion_release(other);
    bastion_release(first);
}

/* So many share a login; whoever comes then gets another. */
static void a_full_one_has_a_sibling(void **state)
{
    (void)state;
    struct transport_target target = target_of("plain", TRANSPORT_AUTO);
    struct bastions *all = bastions_new();
    struct bastion *held[600], *different = NULL;
    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(bastion_find(&held[i], all, &target, "a", NULL), 0);
        if (held[i] != held[0])
            different = held[i];
        assert_int_equal(held[i] != held[0], i >= 500);
    }
    assert_ptr_equal(held[599], different);
    for (size_t i = 0; i < 600; i++)
        bastion_release(held[i]);
    bastions_free(all);
}

static void a_turn_is_waited_for_with_patience(void **state)
{
    (void)state;
    struct turn turn;
    struct ssx_error err = {0};
    int interrupt = eventfd(0, EFD_CLOEXEC);
    struct patience patience = patience_for(50, interrupt);
    assert_int_equal(turn_init(&turn, NULL), 0);
    assert_int_equal(turn_take(&turn, &patience, &err), 1);
    assert_int_equal(turn_take(&turn, &patience, &err), 0);
    patience = patience_for(100000, interrupt);
    eventfd_write(interrupt, 1);
    assert_int_equal(turn_take(&turn, &patience, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_INTERRUPTED);
    turn_give(&turn);
    assert_int_equal(turn_take(&turn, &patience, &err), 1);
    turn_dispose(&turn);
    close(interrupt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_that_libssh_can_do),
        cmocka_unit_test(what_a_hop_needs_all_behind_it_need),
        cmocka_unit_test(libssh_or_an_error),
        cmocka_unit_test(circles_and_too_many),
        cmocka_unit_test(one_for_all),
        cmocka_unit_test(a_full_one_has_a_sibling),
        cmocka_unit_test(a_turn_is_waited_for_with_patience),
    };
    return cmocka_run_group_tests(tests, write_configuration, remove_configuration);
}
