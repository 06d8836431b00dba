/* Group files that are damaged: each is read or refused with a reason, whatever is in it. (What sound ones mean is in
 * test_hosts_command.py.) */
#include "base/tree.h"
#include "fleet/hostset_parse.h"
#include "random_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char dir[] = "/tmp/test_groups.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make_places(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    mkdir(path_of("groups.d"), 0700);
    mkdir(path_of("dsh"), 0700);
    setenv("HOME", dir, 1);
    setenv("XDG_CONFIG_HOME", dir, 1);
    setenv("CLUSTERSHELL_CFGDIR", dir, 1);
    setenv("DSHGROUP_PATH", path_of("dsh"), 1);
    setenv("PDSH_GENDERS_FILE", path_of("genders"), 1);
    setenv("ANSIBLE_INVENTORY", path_of("inventory"), 1);
    return 0;
}

static int remove_places(void **state)
{
    (void)state;
    return tree_remove(dir);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Asks for everything that a source holds. */
static void read_all(const char *expression)
{
    char ssh_config[PATH_MAX];
    struct ssx_error err = {0};
    struct hostset *s = hostset_new();
    snprintf(ssh_config, sizeof ssh_config, "%s/ssh_config", dir);
    const struct groups_options options = {.ssh_config = ssh_config};
    struct groups *groups = groups_new(&options);
    const struct host_scope scope = {groups, NULL, false};
    int rc = hostset_parse(s, expression, strlen(expression), &scope, &err);
    assert_int_equal(rc != 0, err.text[0] != 0);
    hostset_free(s);
    groups_free(groups);
}

static void damage(const char *name, const char *text, const char *expression)
{
    uint64_t seed = 5;
    for (int round = 0; round < 1500; round++) {
        struct buf b = {0};
        buf_add_text(&b, text);
        for (uint64_t i = random_below(&seed, 4); i-- > 0;)
            random_mutation(&b, &seed);
        write_file(name, buf_length(&b) ? buf_data(&b) : (const void *)"", buf_length(&b));
        read_all(expression);
        buf_free(&b);
    }
}

/* Nothing is asked of a source here, for that would run what the damage has made of a command. */
static void damaged_groups_conf(void **state)
{
    (void)state;
    damage(
        "groups.conf",
        "[Main]\ndefault: a\nconfdir: '/nowhere x' $CFGDIR/y\nautodir=$CFGDIR/z\n# comment\n[a,b]\nmap: true $GROUP\nall = true\n  more\n[c]\nmap: true\n",
        "@nosuch:x");
}

static void damaged_yaml(void **state)
{
    (void)state;
    static const char conf[] = "[Main]\ndefault: main\nautodir: $CFGDIR/groups.d\n";
    write_file("groups.conf", conf, sizeof conf - 1);
    damage(
        "groups.d/x.yaml",
        "main:\n  web: 'web[1-3]'\n  db: &d [a, 'b1,b2']\n  io: '@web,@db'\n  two: *d\n  all: \"@io!web2\"\nother: {x: y, z: ~}\n",
        "@*,@other:*");
    write_file("groups.conf", "", 0);
}

static void damaged_dsh(void **state)
{
    (void)state;
    write_file("dsh/more", "m[1-3]\n", 7);
    damage("dsh/web", "# web\nweb[1-3]\n#include more\nweb9 db1,db2 # two\n", "@dsh:*,@dsh:web");
}

static void damaged_genders(void **state)
{
    (void)state;
    damage("genders", "node[1-3],login mgmt,role=a,name=%n%%\nnode7\t role=b old # gone\nbare\n", "@genders:*,@genders:role=a");
}

static void damaged_inventory(void **state)
{
    (void)state;
    damage(
        "inventory",
        "a ansible_host=10.0.0.1 ansible_user='b c'\n[web]\nw[01:20].x[a:c] k=\"v w\" # no\n[2001:db8::1]:22\n[all:children]\nweb\n[web:vars]\nx=y\n",
        "@ansible:*,@ansible:web");
}

static void damaged_ssh_config(void **state)
{
    (void)state;
    damage("ssh_config", "Host a \"b\" !c d* # x\nHost=e\nInclude ~/nowhere/* \"ssh_config\"\nMatch host f\n  HostName g\n", "@ssh:*");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_groups_conf), cmocka_unit_test(damaged_yaml),
        cmocka_unit_test(damaged_dsh),         cmocka_unit_test(damaged_genders),
        cmocka_unit_test(damaged_inventory),   cmocka_unit_test(damaged_ssh_config),
    };
    return cmocka_run_group_tests(tests, make_places, remove_places);
}
