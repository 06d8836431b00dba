/* known_hosts: what matches a host, what is revoked, what ssh-keygen wrote and reads; its speed; hostile files. */
#include "base/buf.h"
#include "base/file.h"
#include "base/io.h"
#include "base/random.h"
#include "transport/host_key.h"
#include "transport/known_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/sshexec-kh-XXXXXX";
static char path[128];

/* Two public keys as on the wire, and as in a file. Whether they are points of a curve is not known_hosts' business. */
static unsigned char blob_a[51], blob_b[51];
static char base64_a[128], base64_b[128];

static void make_key(unsigned char *blob, char *base64, int fill)
{
    static const unsigned char head[] = "\0\0\0\013ssh-ed25519\0\0\0\040";
    memcpy(blob, head, 19);
    memset(blob + 19, fill, 32);
    sodium_bin2base64(base64, 128, blob, 51, sodium_base64_VARIANT_ORIGINAL);
}

static int set_up(void **state)
{
    (void)state;
    make_key(blob_a, base64_a, 'a');
    make_key(blob_b, base64_b, 'b');
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/known_hosts", dir);
    return sodium_init() < 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void put(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static struct known_hosts *load(const char *text)
{
    struct known_hosts *k;
    struct ssx_error err = {0};
    const char *files[] = {path};
    put(text, strlen(text));
    assert_int_equal(known_hosts_load(&k, files, 1, &err), 0);
    return k;
}

/* How many lines of a file that holds `pattern KEY` match the name. */
static size_t count(const char *pattern, const char *name)
{
    char text[1024];
    struct known_key keys[4];
    snprintf(text, sizeof text, "%s ssh-ed25519 %s comment here\n", pattern, base64_a);
    struct known_hosts *k = load(text);
    size_t n = known_hosts_find(k, name, keys, 4);
    if (n && keys[0].mark == KNOWN_KEY)
        assert_true(known_key_is(&keys[0], blob_a, sizeof blob_a) && !known_key_is(&keys[0], blob_b, sizeof blob_b));
    known_hosts_free(k);
    return n;
}

static void names_and_patterns(void **state)
{
    (void)state;
    assert_int_equal(count("node1", "node1"), 1);
    assert_int_equal(count("node1", "node10"), 0);
    assert_int_equal(count("NODE1", "node1"), 1);
    assert_int_equal(count("a,node1,b", "node1"), 1);
    assert_int_equal(count("[node1]:2222", "[node1]:2222"), 1);
    assert_int_equal(count("node1", "[node1]:2222"), 0);
    assert_int_equal(count("*.example.com", "web.example.com"), 1);
    assert_int_equal(count("*.example.com", "example.com"), 0);
    assert_int_equal(count("node?", "node1"), 1);
    assert_int_equal(count("node?", "node"), 0);
    assert_int_equal(count("*,!node1", "node1"), 0);
    assert_int_equal(count("!node1,*", "node1"), 0);
    assert_int_equal(count("*,!node1", "node2"), 1);
    assert_int_equal(count("!node2", "node1"), 0);
    assert_int_equal(count("a*b*c*d*e*f", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 0);
    assert_int_equal(count("\tnode1 \t", "node1"), 1);
    assert_int_equal(count("#node1", "#node1"), 0);
    assert_int_equal(count("@nonsense node1", "node1"), 0);
}

/* Names that are hashed wrongly, or of another host; agrees_with_ssh_keygen has the right ones. */
static void hashed_names(void **state)
{
    (void)state;
    assert_int_equal(count("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|JeHEA0dXTrgZ9cTFCYaaD5aSq5I=", "other"), 0);
    assert_int_equal(count("|1|short|JeHEA0dXTrgZ9cTFCYaaD5aSq5I=", "node1"), 0);
    assert_int_equal(count("|2|AAECAwQFBgcICQoLDA0ODxAREhM=|x", "node1"), 0);
    assert_int_equal(count("|", "node1"), 0);
    assert_int_equal(count("|1|", "node1"), 0);
}

/* What we add, ssh-keygen finds; what it hashes, we find. */
static void agrees_with_ssh_keygen(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    char command[512];
    for (int hashed = 0; hashed < 2; hashed++) {
        put("edited by hand, no newline", 26);
        assert_int_equal(known_hosts_append(path, "[127.0.0.1]:2222", hashed, "ssh-ed25519", blob_a, sizeof blob_a, &err), 0);
        snprintf(command, sizeof command, "ssh-keygen -F '[127.0.0.1]:2222' -f %s >/dev/null 2>&1", path);
        assert_int_equal(system(command), 0);
        snprintf(command, sizeof command, "ssh-keygen -F '127.0.0.1' -f %s >/dev/null 2>&1", path);
        assert_int_not_equal(system(command), 0);
    }
    char text[512];
    snprintf(text, sizeof text, "node1,node2 ssh-ed25519 %s\n", base64_a);
    put(text, strlen(text));
    snprintf(command, sizeof command, "ssh-keygen -H -f %s >/dev/null 2>&1 && rm %s.old", path, path);
    assert_int_equal(system(command), 0);
    const char *files[] = {path};
    struct known_hosts *k;
    struct known_key key;
    assert_int_equal(known_hosts_load(&k, files, 1, &err), 0);
    assert_int_equal(known_hosts_find(k, "node1", &key, 1), 1);
    assert_int_equal(known_hosts_find(k, "node2", &key, 1), 1);
    assert_int_equal(known_hosts_find(k, "node3", &key, 1), 0);
    assert_string_equal(key.file, path);
    known_hosts_free(k);
}

static void appends_into_a_new_directory(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct stat st;
    char sub[160], file[200];
    snprintf(sub, sizeof sub, "%s/.ssh", dir);
    snprintf(file, sizeof file, "%s/known_hosts", sub);
    assert_int_equal(known_hosts_append(file, "node1", false, "ssh-ed25519", blob_a, sizeof blob_a, &err), 0);
    assert_int_equal(stat(sub, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    unlink(file);
    rmdir(sub);
}

/* --- the verdict --- */

static struct ssh_config config;
static char *user_file = path;

static int judge(const char *text, enum host_key_policy policy, const unsigned char *blob, struct ssx_error *err)
{
    struct transport_target target = {.host = "node1"};
    struct host_keys keys;
    put(text, strlen(text));
    config = (struct ssh_config){
        .hostname = "Node1", .port = 22, .host_keys_checked = policy, .user_known_hosts = {&user_file, 1, false}};
    *err = (struct ssx_error){0};
    assert_int_equal(host_keys_load(&keys, &config, NULL, err), 0);
    int rc = host_key_judge(&keys, &config, &target, "ssh-ed25519", blob, 51, err);
    host_keys_dispose(&keys);
    return rc;
}

static void verdicts(void **state)
{
    (void)state;
    static const enum host_key_policy all[] = {HOST_KEY_YES, HOST_KEY_ASK, HOST_KEY_ACCEPT_NEW, HOST_KEY_OFF};
    struct ssx_error err;
    char known[512], changed[512], revoked[512];
    snprintf(known, sizeof known, "node1 ssh-ed25519 %s\n", base64_a);
    snprintf(changed, sizeof changed, "# a comment\nnode1 ssh-ed25519 %s\n", base64_b);
    snprintf(revoked, sizeof revoked, "node1 ssh-ed25519 %s\n@revoked * ssh-ed25519 %s\n", base64_a, base64_a);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(judge(known, all[i], blob_a, &err), 0);
        assert_int_equal(judge(revoked, all[i], blob_a, &err), -1);
        assert_non_null(strstr(err.text, "is revoked by "));
        assert_non_null(strstr(err.text, "known_hosts:2"));
        assert_int_equal(judge("", all[i], blob_a, &err), all[i] == HOST_KEY_YES || all[i] == HOST_KEY_ASK ? -1 : 0);
        assert_int_equal(judge(changed, all[i], blob_a, &err), all[i] == HOST_KEY_OFF ? 0 : -1);
        if (all[i] != HOST_KEY_OFF) {
            assert_non_null(strstr(err.text, "has CHANGED to SHA256:"));
            assert_non_null(strstr(err.text, "known_hosts:2 holds another"));
        }
    }
    assert_int_equal(judge("", HOST_KEY_YES, blob_a, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_UNREACHABLE);
    assert_non_null(strstr(err.text, "ED25519 host key SHA256:"));
    assert_non_null(strstr(err.text, "accept-new"));
}

static void orders_algorithms_by_what_is_on_file(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    struct host_keys keys;
    char text[512], list[256];
    snprintf(text, sizeof text, "node1 ssh-rsa %s\n@cert-authority other ssh-rsa %s\n", base64_a, base64_a);
    put(text, strlen(text));
    config = (struct ssh_config){.hostname = "node1", .port = 22, .user_known_hosts = {&user_file, 1, false}};
    assert_int_equal(host_keys_load(&keys, &config, NULL, &err), 0);
    assert_null(host_keys_authority(&keys));
    assert_int_equal(
        host_keys_order(&keys, "ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,rsa-sha2-512,rsa-sha2-256", list, sizeof list), 0);
    assert_string_equal(list, "rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
    assert_int_equal(host_keys_order(&keys, "ssh-ed25519,rsa-sha2-512", list, 12), -1);
    host_keys_dispose(&keys);
    config.hostname = "other";
    assert_int_equal(host_keys_load(&keys, &config, NULL, &err), 0);
    assert_int_equal(host_keys_authority(&keys)->line, 2);
    host_keys_dispose(&keys);
}

/* libssh's own look-up takes 74 ms here, twice a connection. */
static void five_thousand_hashed_lines(void **state)
{
    (void)state;
    struct buf text = {0};
    struct ssx_error err = {0};
    struct known_hosts *k;
    struct known_key key;
    const char *files[] = {path};
    for (int i = 0; i < 5000; i++) {
        unsigned char noise[40];
        char salt[64], hash[64];
        random_bytes(noise, sizeof noise);
        sodium_bin2base64(salt, sizeof salt, noise, 20, sodium_base64_VARIANT_ORIGINAL);
        sodium_bin2base64(hash, sizeof hash, noise + 20, 20, sodium_base64_VARIANT_ORIGINAL);
        buf_printf(&text, "|1|%s|%s ssh-ed25519 %s\n", salt, hash, base64_a);
    }
    put((const char *)buf_data(&text), buf_length(&text));
    buf_free(&text);
    assert_int_equal(known_hosts_append(path, "node1", true, "ssh-ed25519", blob_b, sizeof blob_b, &err), 0);
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) { /* the best of many: others use this machine, too */
        int64_t before = clock_us();
        assert_int_equal(known_hosts_load(&k, files, 1, &err), 0);
        assert_int_equal(known_hosts_find(k, "node1", &key, 1), 1);
        int64_t took = clock_us() - before;
        best = took < best ? took : best;
        assert_int_equal(key.line, 5001);
        assert_true(known_key_is(&key, blob_b, sizeof blob_b));
        known_hosts_free(k);
    }
    print_message("5,001 hashed lines: read and searched in %lld us\n", (long long)best);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(best < 5000);
#endif
}

static uint32_t seed = 12345;
static uint32_t next_random(void) { return seed = seed * 1664525u + 1013904223u; }

/* Any bytes at all are a file, and no name is found by accident under a hash. */
static void mutated_files(void **state)
{
    (void)state;
    char text[2048];
    struct known_key keys[8];
    struct ssx_error err = {0};
    const char *files[] = {path};
    int n = snprintf(
        text, sizeof text,
        "node1,!n*,?ode2 ssh-ed25519 %s c\n@revoked * ssh-ed25519 %s\n"
        "|1|AAECAwQFBgcICQoLDA0ODxAREhM=|JeHEA0dXTrgZ9cTFCYaaD5aSq5I= ssh-rsa %s\n"
        "@cert-authority *.x,[h]:22 ssh-rsa %s\n",
        base64_a, base64_b, base64_a, base64_b);
    for (int i = 0; i < 20000; i++) {
        char changed[2048];
        size_t length = (size_t)n;
        memcpy(changed, text, length);
        for (uint32_t j = next_random() >> 30; j < 4; j++)
            changed[(next_random() >> 8) % length] = (char)(next_random() >> 24);
        if (next_random() >> 31)
            length = (next_random() >> 8) % length;
        put(changed, length);
        struct known_hosts *k;
        assert_int_equal(known_hosts_load(&k, files, 1, &err), 0);
        size_t found = known_hosts_find(k, "node1", keys, 8);
        for (size_t j = 0; j < found && j < 8; j++)
            known_key_is(&keys[j], blob_a, sizeof blob_a);
        known_hosts_free(k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_patterns), cmocka_unit_test(hashed_names), cmocka_unit_test(agrees_with_ssh_keygen),
        cmocka_unit_test(appends_into_a_new_directory), cmocka_unit_test(verdicts),
        cmocka_unit_test(orders_algorithms_by_what_is_on_file), cmocka_unit_test(five_thousand_hashed_lines),
        cmocka_unit_test(mutated_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
