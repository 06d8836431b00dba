/* SSHSIG: what ssh-keygen made is taken, what we make (as a key file, and as a security key would) is taken by
 * ssh-keygen; all else is refused by its name, and no damage passes. */
#include "bundle/signature.h"
#include "sshsig_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MESSAGE "a manifest\n"
#define N (sizeof MESSAGE - 1)

/* ssh-keygen 9.2: `ssh-keygen -Y sign -n sshexec-bundle -f key`, and with -O hashalg=sha256. */
static const char golden[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg9AVCn8FcwZm+OzPutnIyRZ2OWb\n"
    "gcBSNSGMaf5YFNz5AAAAAOc3NoZXhlYy1idW5kbGUAAAAAAAAABnNoYTUxMgAAAFMAAAAL\n"
    "c3NoLWVkMjU1MTkAAABAP1IGeSZNPCCdY3hiKt6vWTmJ01lFLf8qTDDyDp8DZT1C3Io7m2\n"
    "6DzWVtpKJgsQTDtmLPl0HgksoYOfTrcQYTCQ==\n"
    "-----END SSH SIGNATURE-----\n";
static const char golden_sha256[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg9AVCn8FcwZm+OzPutnIyRZ2OWb\n"
    "gcBSNSGMaf5YFNz5AAAAAOc3NoZXhlYy1idW5kbGUAAAAAAAAABnNoYTI1NgAAAFMAAAAL\n"
    "c3NoLWVkMjU1MTkAAABAM4CJ/Rpmrt+5OsnIo2oBlDEmWtklLtSX5hea/uiaQC0nVps5Rs\n"
    "L6HTRSM7Mk8uCTI0O+GTb4ZXPFix9OzS/6Dw==\n"
    "-----END SSH SIGNATURE-----\n";
static const char golden_ecdsa[] =
    "-----BEGIN SSH SIGNATURE-----\n"
    "U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE\n"
    "EEGVMu6QiRhXl7Mi6b3VklQ66jAQpbGhS2c6vp+kRPZDg+25vqSmkeCfOBwEzqHf5OLIJx\n"
    "2618NM3wFk13iNZ2YwAAAA5zc2hleGVjLWJ1bmRsZQAAAAAAAAAGc2hhNTEyAAAAYwAAAB\n"
    "NlY2RzYS1zaGEyLW5pc3RwMjU2AAAASAAAACBg9Daw/hM+SGpMI3GXa56o64rSrREOXAcD\n"
    "P+PAnriOmwAAACAYvv1kkTO0qHCGXmMVnlpbRm1BGkoIre6gE0k+u8uR5w==\n"
    "-----END SSH SIGNATURE-----\n";

/* Reads exactly these bytes and checks them against the message. Returns 0 or -1. */
static int judge(const void *text, size_t n, const char *message, struct ssx_error *err)
{
    struct signature s;
    void *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    int rc = signature_read(&s, copy, n, err);
    free(copy);
    if (rc == 0) {
        rc = signature_verify(&s, message, strlen(message), err);
        signature_dispose(&s);
    }
    return rc;
}

static void refused(const void *text, size_t n, const char *part)
{
    struct ssx_error err = {0};
    assert_int_equal(judge(text, n, MESSAGE, &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    if (!strstr(err.text, part))
        fail_msg("\"%s\" doesn't say \"%s\"", err.text, part);
}

/* Makes one and refuses it (part), or takes it (NULL). */
static void try(struct sshsig s, const char *part)
{
    struct buf text = {0};
    struct ssx_error err = {0};
    sshsig_make(&text, &s, MESSAGE, N);
    if (part)
        refused(buf_data(&text), buf_length(&text), part);
    else if (judge(buf_data(&text), buf_length(&text), MESSAGE, &err))
        fail_msg("refused: %s", err.text);
    buf_free(&text);
}

/* --- tests --- */

static void ssh_keygen_s_signatures_are_taken(void **state)
{
    (void)state;
    struct signature s;
    char name[SIGNATURE_KEY_NAME];
    assert_int_equal(judge(golden, sizeof golden - 1, MESSAGE, NULL), 0);
    assert_int_equal(judge(golden, sizeof golden - 2, MESSAGE, NULL), 0); /* without its last newline */
    assert_int_equal(judge(golden_sha256, sizeof golden_sha256 - 1, MESSAGE, NULL), 0);
    assert_int_equal(signature_read(&s, golden, sizeof golden - 1, NULL), 0);
    signature_key_name(&s, name);
    assert_string_equal(name, "SHA256:t+T/JXv2TgBvgUOKAWxH/gaBU098aV32BYzwxOc25Tg"); /* as ssh-keygen -l */
    assert_string_equal(signature_key_kind(&s), "ED25519");
    signature_dispose(&s);
}

static void a_signature_is_over_one_message(void **state)
{
    (void)state;
    struct ssx_error err = {0};
    assert_int_equal(judge(golden, sizeof golden - 1, "another manifest\n", &err), -1);
    assert_int_equal(err.code, SSX_ERROR_REFUSED);
    assert_non_null(strstr(err.text, "not over this manifest"));
    assert_int_equal(judge(golden, sizeof golden - 1, "", NULL), -1);
}

static void a_security_key_s_signature_counts_if_it_was_touched(void **state)
{
    (void)state;
    try((struct sshsig){.application = "ssh:", .flags = 1, .counter = 42}, NULL);
    try((struct sshsig){.application = "ssh:team", .flags = 5, .counter = 0xffffffff, .hash = "sha256"}, NULL);
    try((struct sshsig){.application = "ssh:", .flags = 4, .counter = 42}, "without anybody touching");
    try((struct sshsig){.application = "ssh:", .flags = 1, .signature_type = "ssh-ed25519"}, "ssh-ed25519");
    try((struct sshsig){.application = "ssh:", .flags = 1, .type = "ssh-ed25519"}, "damaged");
    try((struct sshsig){.signature_type = "sk-ssh-ed25519@openssh.com"}, "sk-ssh-ed25519@openssh.com");
}

static void other_keys_are_refused_by_name(void **state)
{
    (void)state;
    refused(golden_ecdsa, sizeof golden_ecdsa - 1, "an ECDSA key (ecdsa-sha2-nistp256)");
    try((struct sshsig){.type = "ssh-rsa"}, "an RSA key");
    try((struct sshsig){.signature_type = "rsa-sha2-512"}, "an RSA key");
    try((struct sshsig){.type = "ssh-dss"}, "a DSA key");
    try((struct sshsig){.type = "sk-ecdsa-sha2-nistp256@openssh.com"}, "an ECDSA key");
    try((struct sshsig){.type = "ssh-ed25519-cert-v01@openssh.com"}, "a certificate");
    try((struct sshsig){.type = "ssh-\x1b[2J"}, "ssh-\\x1b[2J");
}

static void other_purposes_and_versions_are_refused(void **state)
{
    (void)state;
    try((struct sshsig){.namespace = "file"}, "the namespace file, not for sshexec-bundle");
    try((struct sshsig){.namespace = ""}, "namespace");
    try((struct sshsig){.hash = "sha1"}, "sha1");
    try((struct sshsig){.reserved = "x"}, "reserved");
    try((struct sshsig){.version = 2}, "the version 2");
    try((struct sshsig){.magic = "SSHSIH"}, "damaged");
    try((struct sshsig){.extra = "x"}, "damaged");
}

static void no_damage_passes(void **state)
{
    (void)state;
    char text[sizeof golden];
    for (size_t n = 0; n < sizeof golden - 2; n++)
        assert_int_equal(judge(golden, n, MESSAGE, NULL), -1);
    for (size_t at = 0; at < sizeof golden - 2; at++)
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            memcpy(text, golden, sizeof text);
            text[at] ^= (char)bit;
            if (golden[at] != '\n') /* how its lines are broken says nothing */
                assert_int_equal(judge(text, sizeof text - 1, MESSAGE, NULL), -1);
            else
                judge(text, sizeof text - 1, MESSAGE, NULL);
        }
    for (struct sshsig s = {.application = "ssh:", .flags = 1, .drop = 1}; s.drop < 200; s.drop++)
        try(s, "");
}

static void what_is_no_signature_says_so(void **state)
{
    (void)state;
    struct buf big = {0};
    refused("", 0, "none of OpenSSH's");
    refused("-----BEGIN PGP SIGNATURE-----\n", 30, "none of OpenSSH's");
    buf_add_text(&big, "-----BEGIN SSH SIGNATURE-----\n");
    while (buf_length(&big) <= SIGNATURE_MAX)
        buf_add_text(&big, "AAAA\n");
    refused(buf_data(&big), buf_length(&big), "more than");
    buf_free(&big);
}

static void put(const char *dir, const char *name, const void *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* That what the test makes is what OpenSSH means: its own check takes it. */
static void ssh_keygen_takes_what_this_test_makes(void **state)
{
    (void)state;
    static const struct sshsig cases[] = {{.seed = 1}, {.seed = 2, .hash = "sha256"},
        {.seed = 3, .application = "ssh:", .flags = 1, .counter = 7}};
    char dir[] = "/tmp/test_signature.XXXXXX", command[256];
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0}, line = {0};
        sshsig_make(&text, &cases[i], MESSAGE, N);
        buf_add_text(&line, "ada ");
        sshsig_public(&line, &cases[i]);
        put(dir, "sig", buf_data(&text), buf_length(&text));
        put(dir, "signers", buf_data(&line), buf_length(&line) - 1);
        put(dir, "message", MESSAGE, N);
        snprintf(command, sizeof command, "cd %s && ssh-keygen -q -Y verify -f signers -I ada -n sshexec-bundle -s sig <message >/dev/null",
                 dir);
        assert_int_equal(system(command), 0);
        buf_free(&text);
        buf_free(&line);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ssh_keygen_s_signatures_are_taken),
        cmocka_unit_test(a_signature_is_over_one_message),
        cmocka_unit_test(a_security_key_s_signature_counts_if_it_was_touched),
        cmocka_unit_test(other_keys_are_refused_by_name),
        cmocka_unit_test(other_purposes_and_versions_are_refused),
        cmocka_unit_test(no_damage_passes),
        cmocka_unit_test(what_is_no_signature_says_so),
        cmocka_unit_test(ssh_keygen_takes_what_this_test_makes),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
