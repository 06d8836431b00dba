/* The answer of ssh -G: what counts, what libssh gets, and when only the system ssh will do. The texts are OpenSSH
 * 9.2's, some lists shortened. */
#include "transport/ssh_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char stock[] =
    "host node1\n"
    "user ada\n"
    "hostname node1\n"
    "port 22\n"
    "addressfamily any\n"
    "batchmode no\n"
    "canonicalizefallbacklocal yes\n"
    "canonicalizehostname false\n"
    "checkhostip no\n"
    "compression no\n"
    "controlmaster false\n"
    "enablesshkeysign no\n"
    "clearallforwardings no\n"
    "exitonforwardfailure no\n"
    "fingerprinthash SHA256\n"
    "forwardx11 no\n"
    "forwardx11trusted yes\n"
    "gatewayports no\n"
    "gssapiauthentication no\n"
    "gssapikeyexchange no\n"
    "gssapidelegatecredentials no\n"
    "gssapitrustdns no\n"
    "gssapirenewalforcesrekey no\n"
    "hashknownhosts no\n"
    "hostbasedauthentication no\n"
    "identitiesonly no\n"
    "kbdinteractiveauthentication yes\n"
    "nohostauthenticationforlocalhost no\n"
    "passwordauthentication yes\n"
    "permitlocalcommand no\n"
    "proxyusefdpass no\n"
    "pubkeyauthentication true\n"
    "requesttty false\n"
    "sessiontype default\n"
    "stdinnull no\n"
    "forkafterauthentication no\n"
    "streamlocalbindunlink no\n"
    "stricthostkeychecking ask\n"
    "tcpkeepalive yes\n"
    "tunnel false\n"
    "verifyhostkeydns false\n"
    "visualhostkey no\n"
    "updatehostkeys true\n"
    "enableescapecommandline no\n"
    "canonicalizemaxdots 1\n"
    "connectionattempts 1\n"
    "forwardx11timeout 1200\n"
    "numberofpasswordprompts 3\n"
    "serveralivecountmax 3\n"
    "serveraliveinterval 0\n"
    "requiredrsasize 1024\n"
    "ciphers chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com\n"
    "hostkeyalgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256\n"
    "kexalgorithms sntrup761x25519-sha512,curve25519-sha256,ecdh-sha2-nistp256\n"
    "loglevel INFO\n"
    "macs umac-64-etm@openssh.com,hmac-sha2-256-etm@openssh.com,hmac-sha2-256\n"
    "securitykeyprovider internal\n"
    "pubkeyacceptedalgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256\n"
    "xauthlocation /usr/bin/xauth\n"
    "identityfile ~/.ssh/id_rsa\n"
    "identityfile ~/.ssh/id_ecdsa\n"
    "identityfile ~/.ssh/id_ecdsa_sk\n"
    "identityfile ~/.ssh/id_ed25519\n"
    "identityfile ~/.ssh/id_ed25519_sk\n"
    "identityfile ~/.ssh/id_xmss\n"
    "identityfile ~/.ssh/id_dsa\n"
    "canonicaldomains none\n"
    "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n"
    "userknownhostsfile /home/ada/.ssh/known_hosts /home/ada/.ssh/known_hosts2\n"
    "logverbose none\n"
    "permitremoteopen any\n"
    "addkeystoagent false\n"
    "forwardagent no\n"
    "connecttimeout none\n"
    "tunneldevice any:any\n"
    "canonicalizePermittedcnames none\n"
    "controlpersist no\n"
    "escapechar ~\n"
    "ipqos lowdelay throughput\n"
    "rekeylimit 0 0\n"
    "streamlocalbindmask 0177\n"
    "syslogfacility USER\n";

/* The stock answer with lines replaced (those of the same directive) or added. */
static char *answer_with(const char *lines)
{
    char *text = malloc(sizeof stock + strlen(lines) + 2);
    size_t used = 0;
    assert_non_null(text);
    for (const char *at = stock; *at;) {
        size_t n = strcspn(at, "\n") + 1, name = strcspn(at, " ") + 1;
        bool replaced = false;
        for (const char *line = lines; *line; line += strcspn(line, "\n") + 1)
            replaced |= !strncmp(line, at, name);
        if (!replaced) {
            memcpy(text + used, at, n);
            used += n;
        }
        at += n;
    }
    strcpy(text + used, lines);
    return text;
}

static struct ssh_config parse(const char *lines)
{
    struct ssh_config c;
    struct ssx_error err = {0};
    char *answer = answer_with(lines);
    assert_int_equal(ssh_config_parse(&c, answer, stock, &err), 0);
    free(answer);
    return c;
}

static void expect_reason(const char *lines, const char *reason)
{
    struct ssh_config c = parse(lines);
    if (strcmp(c.reason, reason))
        fail_msg("'%s': reason '%s', expected '%s'", lines, c.reason, reason);
    ssh_config_dispose(&c);
}

static void stock_answer(void **state)
{
    (void)state;
    struct ssh_config c = parse("");
    assert_string_equal(c.hostname, "node1");
    assert_string_equal(c.user, "ada");
    assert_string_equal(c.reason, "");
    assert_int_equal(c.port, 22);
    assert_int_equal(c.host_keys_checked, HOST_KEY_ASK);
    assert_int_equal(c.connect_timeout_s, 0);
    assert_false(c.identities_count || c.identities_only || c.kex.counts || c.ciphers.counts || c.gssapi || c.hash_known_hosts);
    assert_int_equal(c.identities.n, 7);
    assert_int_equal(c.user_known_hosts.n, 2);
    assert_string_equal(c.user_known_hosts.at[1], "/home/ada/.ssh/known_hosts2");
    assert_int_equal(c.rekey_bytes, 0);
    ssh_config_dispose(&c);
}

/* "A file exists" says nothing: this is what Debian's own ssh_config changes. */
static void debians_file_is_no_reason(void **state)
{
    (void)state;
    struct ssh_config c = parse("gssapiauthentication yes\nhashknownhosts yes\nsendenv LANG\nsendenv LC_*\n");
    assert_string_equal(c.reason, "");
    assert_true(c.gssapi && c.hash_known_hosts);
    ssh_config_dispose(&c);
}

static void values_for_libssh(void **state)
{
    (void)state;
    struct ssh_config c = parse(
        "user bob\nhostname 10.0.0.1\nport 2222\nstricthostkeychecking accept-new\nconnecttimeout 7\nconnectionattempts 3\n"
        "identitiesonly yes\nciphers aes128-ctr\nrekeylimit 1073741824 3600\naddressfamily inet6\nbindaddress ::1\n"
        "identityagent /run/a.sock\ncompression yes\nbatchmode yes\nserveraliveinterval 300\nserveralivecountmax 4\ntcpkeepalive no\n"
        "stdinnull yes\nforkafterauthentication yes\nsessiontype none\n");
    assert_string_equal(c.reason, "");
    assert_true(c.stdin_null && c.forks);
    assert_string_equal(c.session_type, "none");
    assert_string_equal(c.user, "bob");
    assert_string_equal(c.hostname, "10.0.0.1");
    assert_int_equal(c.port, 2222);
    assert_int_equal(c.host_keys_checked, HOST_KEY_ACCEPT_NEW);
    assert_int_equal(c.connect_timeout_s, 7);
    assert_int_equal(c.connection_attempts, 3);
    assert_true(c.alive_s == 300 && c.alive_max == 4);
    assert_true(c.identities_only && c.compression && c.batch_mode && !c.tcp_keepalive);
    assert_true(c.ciphers.counts && !c.macs.counts);
    assert_string_equal(c.ciphers.list, "aes128-ctr");
    assert_true(c.rekey_bytes == 1073741824 && c.rekey_s == 3600);
    assert_string_equal(c.address_family, "inet6");
    assert_string_equal(c.bind_address, "::1");
    assert_string_equal(c.identity_agent, "/run/a.sock");
    ssh_config_dispose(&c);
}

static void policies(void **state)
{
    (void)state;
    static const struct { const char *line; enum host_key_policy policy; } cases[] = {
        {"stricthostkeychecking true\n", HOST_KEY_YES}, {"stricthostkeychecking false\n", HOST_KEY_OFF},
        {"stricthostkeychecking off\n", HOST_KEY_OFF}, {"stricthostkeychecking whatever\n", HOST_KEY_YES},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ssh_config c = parse(cases[i].line);
        assert_int_equal(c.host_keys_checked, cases[i].policy);
        ssh_config_dispose(&c);
    }
}

static void reasons_for_the_system_ssh(void **state)
{
    (void)state;
    expect_reason("proxyjump a,%h-b\n", "ProxyJump is set (a,%h-b)");
    expect_reason("proxyjump ssh://eve@a:22,b\n", "ProxyJump is set (ssh://eve@a:22,b)");
    expect_reason("identityfile ~/k_%C\nproxyjump a\n", "IdentityFile ~/k_%C may depend on ProxyJump");
    expect_reason("proxycommand nc %h %p\n", "ProxyCommand is set (nc %h %p)");
    expect_reason("certificatefile ~/c\n", "CertificateFile is set (~/c)");
    expect_reason("hostkeyalias zork\n", "HostKeyAlias is set (zork)");
    expect_reason("canonicalizehostname true\n", "CanonicalizeHostname is set (true)");
    expect_reason("hostbasedauthentication yes\n", "HostbasedAuthentication is set (yes)");
    expect_reason("gssapikeyexchange yes\n", "GSSAPIKeyExchange is set (yes)");
    expect_reason("sendenv LANG\nsendenv SECRET\n", "SendEnv is set (SECRET)");
    expect_reason("setenv A=b\n", "SetEnv is set (A=b)");
    expect_reason("pubkeyauthentication false\n", "PubkeyAuthentication is set (false)");
    expect_reason("preferredauthentications password\n", "PreferredAuthentications is set (password)");
    expect_reason("knownhostscommand /bin/x\n", "KnownHostsCommand is set (/bin/x)");
    expect_reason("revokedhostkeys /etc/r\n", "RevokedHostKeys is set (/etc/r)");
    expect_reason("pkcs11provider /lib/p.so\n", "PKCS11Provider is set (/lib/p.so)");
    expect_reason("ipqos throughput throughput\n", "IPQoS is set (throughput throughput)");
    expect_reason("bindinterface eth1\n", "BindInterface is set (eth1)");
    expect_reason("hostkeyalias none\n", "HostKeyAlias is set (none)"); /* a name like any other */
    expect_reason("sendenv none\n", "SendEnv is set (none)");
    expect_reason("bindinterface none\n", "BindInterface is set (none)");
    expect_reason("somethingnew none\n", "somethingnew is set, which libssh is not known to honour");
    expect_reason("somethingnew yes\n", "somethingnew is set, which libssh is not known to honour");
}

static void no_reasons(void **state)
{
    (void)state;
    expect_reason("proxyjump none\n", "");
    expect_reason("proxyjump a,eve@[::1]:2222\n", "");
    expect_reason("identityfile ~/k_%C\n", "");
    expect_reason("proxycommand none\n", "");
    expect_reason("certificatefile none\npkcs11provider none\nrevokedhostkeys none\nknownhostscommand none\n", "");
    expect_reason("ignoreunknown UseKeychain\ntag x\nkbdinteractivedevices pam\n", "");
    expect_reason("preferredauthentications gssapi-with-mic,publickey\n", "");
    expect_reason("forwardagent yes\nforwardx11 yes\nlocalforward 80 [x]:80\nloglevel DEBUG\nrequesttty true\nremotecommand ls\n",
                  "");
    expect_reason("controlmaster auto\ncontrolpersist yes\ncontrolpath /tmp/nothing-%C\nupdatehostkeys false\n", "");
}

static void paths(void **state)
{
    (void)state;
    char home[4096], expected[8192];
    setenv("SSX_KEYS", "/keys", 1);
    struct ssh_config c = parse(
        "user bob\nport 2222\nhostname h.example\nidentityfile ~/a_%h_%r_%p\nidentityfile %d/b c\nidentityfile ${SSX_KEYS}/%n%%\n"
        "userknownhostsfile /a b/kh ~/kh2\n");
    assert_true(c.identities_count);
    assert_int_equal(c.identities.n, 3);
    snprintf(home, sizeof home, "%s", c.identities.at[1]);
    assert_string_equal(home + strlen(home) - 4, "/b c");
    home[strlen(home) - 4] = 0;
    snprintf(expected, sizeof expected, "%s/a_h.example_bob_2222", home);
    assert_string_equal(c.identities.at[0], expected);
    assert_string_equal(c.identities.at[2], "/keys/node1%");
    assert_int_equal(c.user_known_hosts.n, 2);
    assert_string_equal(c.user_known_hosts.at[0], "/a b/kh");
    ssh_config_dispose(&c);
    c = parse("identityfile none\n");
    assert_int_equal(c.identities.n, 0);
    ssh_config_dispose(&c);
}

static void not_an_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "\n", "hello", "user x\nport 22\n", "user x\nhostname y\nport 0\n", "user x\nhostname y\nport 70000\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ssh_config c;
        struct ssx_error err = {0};
        assert_int_equal(ssh_config_parse(&c, texts[i], stock, &err), -1);
        assert_int_equal(err.code, SSX_ERROR_USAGE);
        ssh_config_dispose(&c);
    }
}

/* The real thing, both questions, through a configuration file of the user's. */
static void asks_ssh(void **state)
{
    (void)state;
    char path[] = "/tmp/sshexec-config-XXXXXX";
    static const char text[] =
        "Host short\n  HostName long.example\n  Port 2201\n  IdentityFile /keys/k\n"
        "Host far\n  ProxyJump bastion\nHost bad\n  Nonsense yes\n";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text) - strlen("Host bad\n  Nonsense yes\n")) > 0);
    struct transport_target target = {.host = "eve@short", .config_file = path};
    struct ssh_config c;
    struct ssx_error err = {0};
    assert_int_equal(ssh_config_load(&c, &target, 10000, &err), 0);
    assert_string_equal(c.hostname, "long.example");
    assert_string_equal(c.user, "eve");
    assert_string_equal(c.identities.at[0], "/keys/k");
    assert_int_equal(c.port, 2201);
    assert_string_equal(c.reason, "");
    ssh_config_dispose(&c);
    target.host = "short:99";
    assert_int_equal(ssh_config_load(&c, &target, 10000, &err), 0);
    assert_int_equal(c.port, 99);
    ssh_config_dispose(&c);
    target.host = "far";
    assert_int_equal(ssh_config_load(&c, &target, 10000, &err), 0);
    assert_string_equal(c.reason, "");
    assert_string_equal(c.proxy_jump, "bastion");
    ssh_config_dispose(&c);
    assert_true(write(fd, "Host bad\n  Nonsense yes\n", 24) > 0);
    assert_int_equal(ssh_config_load(&c, &target, 10000, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_USAGE);
    assert_non_null(strstr(err.text, "ssh refuses its configuration for far: "));
    ssh_config_dispose(&c);
    close(fd);
    unlink(path);
}

static void hosts_that_cannot_be(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "", "-oProxyCommand=x", "a@-b", "@b", "a b", "a\nb", "h:", "h:0", "h:99999", "h:x", "[::1", "[]:22", "[::1]x"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct transport_target target = {.host = hosts[i]};
        struct words options = {0}, host = {0};
        struct ssx_error err = {0};
        if (!target_ssh_words(&options, &host, &target, &err))
            fail_msg("'%s' passed for a host", hosts[i]);
        assert_int_equal(err.code, SSX_ERROR_USAGE);
        words_free(&options);
        words_free(&host);
    }
}

static void words_for_ssh(void **state)
{
    (void)state;
    static const struct { const char *host, *name, *port; } cases[] = {
        {"node1", "node1", NULL}, {"ada@node1:2222", "ada@node1", "2222"}, {"[fe80::1]:22", "fe80::1", "22"},
        {"ada@[::1]", "ada@::1", NULL}, {"::1", "::1", NULL}, {"a@b@node1", "a@b@node1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct transport_target target = {.host = cases[i].host};
        struct words options = {0}, host = {0};
        assert_int_equal(target_ssh_words(&options, &host, &target, NULL), 0);
        assert_string_equal(host.at[0], cases[i].name);
        assert_int_equal(options.n, cases[i].port ? 2 : 0);
        if (cases[i].port)
            assert_string_equal(options.at[1], cases[i].port);
        words_free(&options);
        words_free(&host);
    }
}

static uint32_t seed = 4711;
static uint32_t next_random(void) { return seed = seed * 1664525u + 1013904223u; }

static void mutated_answers(void **state)
{
    (void)state;
    char *text = answer_with("identityfile ~/a_%h_%C ${X}\nuserknownhostsfile /a b c\nrekeylimit 1 2\nproxyjump x\n");
    size_t n = strlen(text);
    for (int i = 0; i < 20000; i++) {
        char *changed = strdup(text);
        struct ssh_config c;
        for (uint32_t j = next_random() >> 30; j < 4; j++)
            changed[(next_random() >> 8) % n] = (char)(next_random() >> 24);
        ssh_config_parse(&c, changed, stock, NULL);
        ssh_config_dispose(&c);
        free(changed);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_answer), cmocka_unit_test(debians_file_is_no_reason), cmocka_unit_test(values_for_libssh),
        cmocka_unit_test(policies), cmocka_unit_test(reasons_for_the_system_ssh), cmocka_unit_test(no_reasons),
        cmocka_unit_test(paths), cmocka_unit_test(not_an_answer), cmocka_unit_test(asks_ssh),
        cmocka_unit_test(hosts_that_cannot_be), cmocka_unit_test(words_for_ssh), cmocka_unit_test(mutated_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
