#include "targets.h"

#include "base/ini.h"
#include "base/tree.h"
#include "bundle/archive.h"
#include "bundle/signature.h"
#include "bundle/signers.h"
#include "client/client.h"
#include "fleet/group_source.h"
#include "fleet/hostset_parse.h"
#include "fleet/record_reader.h"
#include "transport/authorized_key.h"
#include "transport/known_hosts.h"
#include "transport/ssh_config.h"
#include "wire/json.h"
#include "wire/value.h"
#include "wire/workload.h"
#include "worker/plugin.h"
#include "worker/policy.h"
#include "worker/schema.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

void must(bool holds)
{
    if (!holds)
        abort();
}

int as_file(char path[32], const void *bytes, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0 && fchmod(fd, 0600) == 0);
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

static char place[] = "/dev/shm/fuzz.XXXXXX";

static void remove_place(void) { tree_remove(place); }

const char *fuzz_place(void)
{
    static const char *const variables[] = {"CLUSTERSHELL_CFGDIR", "HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"};
    if (place[sizeof place - 2] != 'X')
        return place;
    must(mkdtemp(place) != NULL);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        must(setenv(variables[i], place, 1) == 0);
    unsetenv("SSHEXEC_PLUGIN_PATH");
    atexit(remove_place);
    return place;
}

/* --- the wire --- */

static void frame_from(enum message_party from, const void *bytes, size_t n)
{
    struct message m;
    struct message_object object;
    long length = frame_length(bytes, n, FRAME_MAX, NULL);
    if (length <= 0 || message_decode(&m, bytes, (size_t)length, from, NULL))
        return;
    must(message_cost(&m) <= DATA_MAX);
    if (m.kind == MESSAGE_NEED || m.kind == MESSAGE_OFFER)
        while (message_next_object(&m, &object))
            continue;
}

static void run_frame(const void *bytes, size_t n)
{
    frame_from(FROM_SENDER, bytes, n);
    frame_from(FROM_AGENT, bytes, n);
}

/* All that an agent says behind its marker, to a sender with a call and a question open. */
static void run_session(const void *bytes, size_t n)
{
    struct client *c = client_new(NULL);
    struct message m;
    struct buf said = {0};
    uint32_t id;
    size_t waiting;
    int rc;
    const char *greeting = client_outgoing(c, &waiting);
    buf_printf(&said, "sshexec-agent 1 %.*s\r\n", NONCE_HEX, greeting + strlen("sshexec 1 "));
    buf_add(&said, "\0\xff", 2);
    buf_add(&said, bytes, n);
    must(client_call(c, &id, &(struct client_request){.type = "hello", .state = "\x80", .state_size = 1}, NULL) == 0 &&
         client_describe(c, &id, NULL, NULL) == 0);
    must(client_receive(c, buf_data(&said), buf_length(&said), NULL) == 0);
    while ((rc = client_next(c, &m, NULL)) > 0)
        client_consumed(c, m.id, message_cost(&m));
    if (rc < 0)
        client_lost(c, "it broke the protocol");
    while (rc < 0 && client_next(c, &m, NULL) > 0)
        must(m.kind == MESSAGE_END);
    must(rc == 0 || client_open_calls(c) == 0);
    client_free(c);
    buf_free(&said);
}

static void run_workload(const void *bytes, size_t n)
{
    struct workload w, again;
    struct buf text = {0}, read = {0};
    char path[32];
    enum workload_form form;
    if (workload_decode(&w, bytes, n, NULL) == 0) {
        must(workload_encode(&text, &w, WORKLOAD_BARE, NULL) == 0 &&
             workload_decode(&again, buf_data(&text), buf_length(&text), NULL) == 0);
        must(again.state.n == w.state.n && again.type.n == w.type.n);
    }
    int fd = as_file(path, bytes, n);
    workload_read(&read, &form, fd, "x", NULL);
    close(fd);
    buf_free(&read);
    buf_free(&text);
}

/* JSON -> msgpack -> JSON -> msgpack gives the same twice. */
static void run_json(const void *bytes, size_t n)
{
    struct buf value = {0}, text = {0}, again = {0};
    if (json_to_msgpack(&value, bytes, n, NULL) == 0) {
        must(value_scan(buf_data(&value), buf_length(&value), NULL) == 0);
        must(json_from_msgpack(&text, buf_data(&value), buf_length(&value), NULL) == 0);
        must(json_to_msgpack(&again, (const char *)buf_data(&text), buf_length(&text), NULL) == 0);
        must(buf_length(&again) == buf_length(&value) && memcmp(buf_data(&again), buf_data(&value), buf_length(&value)) == 0);
    }
    buf_free(&value);
    buf_free(&text);
    buf_free(&again);
}

static void run_value(const void *bytes, size_t n)
{
    struct buf text = {0}, again = {0};
    struct ssx_error err = {0};
    bool sound = value_scan(bytes, n, NULL) == 0;
    int rc = json_from_msgpack(&text, bytes, n, &err);
    must((rc == 0) == sound);
    if (rc == 0 && json_to_msgpack(&again, (const char *)buf_data(&text), buf_length(&text),
                                   &err)) /* only for being too deep or too large in JSON's form */
        must(err.code == SSX_ERROR_USAGE);
    buf_free(&text);
    buf_free(&again);
}

/* --- plugins and bundles --- */

/* A descriptor, and behind a byte of 0xff a value that may be one of its states. */
static void run_schema(const void *bytes, size_t n)
{
    const unsigned char *value = memchr(bytes, 0xff, n);
    size_t size = value ? (size_t)(value - (const unsigned char *)bytes) : n, rest = value ? n - size - 1 : 0;
    struct descriptor d;
    struct buf state = {0}, filled = {0};
    char text[256];
    if (descriptor_parse(&d, bytes, size, NULL))
        return;
    descriptor_check(&d, NULL);
    for (size_t i = 0; i < d.state->count; i++)
        schema_type_describe(&d.state->fields[i].type, text, sizeof text);
    if (rest && value_scan(value + 1, rest, NULL) == 0) {
        const struct schema_type t = {.kind = SCHEMA_STRUCT, .name = "struct", .structure = d.state};
        if (schema_check(&d, &t, "", value + 1, rest, NULL) == 0)
            schema_pack(&state, &t, value + 1, rest);
        schema_fill(&filled, d.state, "***", value + 1, rest);
    }
    buf_free(&state);
    buf_free(&filled);
    descriptor_dispose(&d);
}

static void run_plugin(const void *bytes, size_t n)
{
    struct plugin p;
    if (plugin_inspect(&p, "x.so", bytes, n, NULL, NULL, NULL) == 0)
        plugin_dispose(&p);
}

static void run_manifest(const void *bytes, size_t n)
{
    struct manifest m;
    struct buf again = {0};
    if (manifest_parse(&m, bytes, n, NULL))
        return;
    must(manifest_format(&again, &m, NULL) == 0 && buf_length(&again) == n && memcmp(buf_data(&again), bytes, n) == 0);
    manifest_dispose(&m);
    buf_free(&again);
}

static void read_bundle(const char *path)
{
    struct bundle *b;
    const struct variant *v;
    const void *piece;
    ptrdiff_t n = 0;
    int rc = 0;
    struct ssx_error err = {0};
    if (bundle_open(&b, path, &err)) {
        must(err.text[0] != 0);
        return;
    }
    while (n == 0 && (rc = bundle_next(b, &v, &err)) > 0)
        for (uint64_t size = 0; (n = bundle_read(b, &piece, &err)) > 0;)
            must((size += (uint64_t)n) <= v->size);
    must((n < 0 || rc < 0) == (err.text[0] != 0));
    bundle_close(b);
}

static void run_bundle(const void *bytes, size_t n)
{
    char path[32];
    int fd = as_file(path, bytes, n);
    read_bundle(path);
    close(fd);
}

/* The tar in it: nothing gets there through zstd's checksum that was only changed here and there. */
static void run_bundle_tar(const void *bytes, size_t n)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(n);
    void *packed = malloc(room);
    must(z && packed && !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, 1)) &&
         !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)));
    size_t size = ZSTD_compress2(z, packed, room, bytes, n);
    must(!ZSTD_isError(size));
    run_bundle(packed, size);
    free(packed);
    ZSTD_freeCCtx(z);
}

static void run_signature(const void *bytes, size_t n)
{
    struct signature s;
    char name[SIGNATURE_KEY_NAME];
    if (signature_read(&s, bytes, n, NULL))
        return;
    signature_verify(&s, "x", 1, NULL);
    signature_key_name(&s, name);
    signature_dispose(&s);
}

static void run_signers(const void *bytes, size_t n)
{
    static const char key[] = "\0\0\0\x0bssh-ed25519\0\0\0\x20" "0123456789abcdef0123456789abcdef";
    struct signature s = {.key = {(const unsigned char *)key, sizeof key - 1}};
    char principals[SIGNERS_PRINCIPALS];
    signers_check(principals, bytes, n, "x", &s, "ada@example.com", 1700000000, NULL);
}

/* --- files --- */

static void run_record(const void *bytes, size_t n)
{
    char path[32];
    struct record_reader *r;
    struct ssx_fleet_event e;
    int fd = as_file(path, bytes, n);
    if (record_reader_open(&r, path, NULL) == 0) {
        while (record_reader_next(r, &e, NULL) == 1)
            must(e.host < record_reader_head(r)->count);
        record_reader_close(r);
    }
    close(fd);
}

static int set_policy(void *user, const char *section, const char *key, const char *value, unsigned line, struct ssx_error *err)
{
    (void)section;
    (void)line;
    return policy_set(user, key, value, key, err);
}

/* What agent.conf says, as flags, says the same. */
static void run_policy(const void *bytes, size_t n)
{
    struct policy p = {0};
    struct buf text = {0}, flags = {0};
    must(buf_add(&text, bytes, n) == 0 && buf_add(&text, "", 1) == 0);
    if (ini_read((char *)buf_data(&text), n, "x", set_policy, &p, NULL) == 0)
        must(policy_add_flags(&p, &flags) == 0);
    policy_check_type(&p, "hello", NULL);
    policy_check_upload(&p, "hello", NULL);
    policy_free(&p);
    buf_free(&text);
    buf_free(&flags);
}

static void run_group_file(const void *bytes, size_t n, int (*load)(struct group_source *, struct ssx_error *))
{
    char path[32];
    int fd = as_file(path, bytes, n);
    struct group_source s = {.name = (char[]){"x"}, .origin = path};
    load(&s, NULL);
    group_table_free(&s.table);
    close(fd);
}

static void run_genders(const void *bytes, size_t n) { run_group_file(bytes, n, group_genders_load); }
static void run_ansible(const void *bytes, size_t n) { run_group_file(bytes, n, group_ansible_load); }

/* Where groups.conf is looked for, and *.yaml. */
static void write_in_place(const char *name, const void *bytes, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", fuzz_place(), name);
    FILE *f = fopen(path, "w");
    must(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void remove_from_place(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", fuzz_place(), name);
    unlink(path);
}

/* The name is one that no source can have: what would be run for a source that there is, is not. */
static void load_groups(const char *conf, size_t n)
{
    struct groups *g = groups_new(&(struct groups_options){0});
    struct buf out = {0};
    write_in_place("groups.conf", conf, n);
    must(groups_list(g, "no]\nsuch", &out, NULL) == -1);
    groups_free(g);
    buf_free(&out);
    remove_from_place("groups.conf");
    remove_from_place("x.yaml");
}

static void run_yaml(const void *bytes, size_t n)
{
    char conf[64];
    write_in_place("x.yaml", bytes, n);
    load_groups(conf, (size_t)snprintf(conf, sizeof conf, "[Main]\nautodir: %s\n", fuzz_place()));
}

static void run_groups_conf(const void *bytes, size_t n)
{
    write_in_place("x.yaml", "", 0);
    load_groups(bytes, n);
}

static int count_name(void *ctx, const char *name, size_t n)
{
    (void)name;
    *(size_t *)ctx += n > 0;
    return 0;
}

/* What a set folds to stands for the same set. */
static void run_hostset(const void *bytes, size_t n)
{
    struct hostset *s = hostset_new(), *again = hostset_new();
    struct host_scope scope = {0};
    struct buf text = {0};
    size_t names = 0;
    if (hostset_parse(s, bytes, n, &scope, NULL) == 0 && hostset_check(s, NULL) == 0 && hostset_count(s) <= 10000) {
        must(hostset_each(s, count_name, &names, NULL) == 0 && names == hostset_count(s));
        must(hostset_fold(s, &text, NULL) == 0);
        if (names && hostset_parse(again, (const char *)buf_data(&text), buf_length(&text), &scope, NULL) == 0)
            must(hostset_count(again) == names);
    }
    buf_free(&text);
    hostset_free(s);
    hostset_free(again);
}

static void run_ssh_config(const void *bytes, size_t n)
{
    struct ssh_config c;
    (void)n;
    ssh_config_parse(&c, bytes, "", NULL);
    ssh_config_dispose(&c);
}

/* A host's name, a line's end, and a known_hosts file. */
static void run_known_hosts(const void *bytes, size_t n)
{
    char path[32], name[300];
    const char *text = bytes, *end = memchr(bytes, '\n', n);
    size_t length = end ? (size_t)(end - text) : 0;
    struct known_hosts *k;
    struct known_key keys[8];
    if (!end || length >= sizeof name)
        return;
    memcpy(name, text, length);
    name[length] = 0;
    int fd = as_file(path, end + 1, n - length - 1);
    const char *const files[] = {path};
    must(known_hosts_load(&k, files, 1, NULL) == 0);
    size_t found = known_hosts_find(k, name, keys, 8);
    for (size_t i = 0; i < found && i < 8; i++) {
        known_key_is(&keys[i], name, length);
        must(keys[i].type_length && keys[i].base64_length);
    }
    known_hosts_free(k);
    close(fd);
}

static void run_public_key(const void *bytes, size_t n)
{
    struct public_key k;
    if (public_key_read(&k, bytes, n, "x", NULL) == 0)
        public_key_free(&k);
}

const struct fuzz_target fuzz_targets[] = {
    {"frame", run_frame},
    {"session", run_session},
    {"workload", run_workload},
    {"json", run_json},
    {"value", run_value},
    {"schema", run_schema},
    {"plugin", run_plugin},
    {"manifest", run_manifest},
    {"signature", run_signature},
    {"signers", run_signers},
    {"record", run_record},
    {"policy", run_policy},
    {"genders", run_genders},
    {"ansible", run_ansible},
    {"yaml", run_yaml},
    {"groups_conf", run_groups_conf},
    {"hostset", run_hostset},
    {"ssh_config", run_ssh_config},
    {"public_key", run_public_key},
    {"known_hosts", run_known_hosts},
    {"bundle", run_bundle},
    {"bundle_tar", run_bundle_tar},
    {"taker", run_taker},
    {"asked", run_asked},
    {"giver", run_giver},
    {"agent", run_agent},
    {NULL, NULL},
};

const struct fuzz_target *fuzz_target_find(const char *name)
{
    for (const struct fuzz_target *t = fuzz_targets; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return t;
    return NULL;
}

void fuzz_run(const struct fuzz_target *t, const void *bytes, size_t n)
{
    char *copy = malloc(n + 1);
    must(copy != NULL);
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = 0;
    t->run(copy, n);
    free(copy);
}
