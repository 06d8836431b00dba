/* The ssh-agent's list of keys, from agents that answer well, badly, and not at all. */
#include "transport/keyagent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Two keys: an ed25519 with the comment "ada", and a made-up type without a comment. */
static const unsigned char two_keys[] = "\0\0\0\120\014\0\0\0\002"
                                        "\0\0\0\063\0\0\0\013ssh-ed25519\0\0\0\0400123456789abcdef0123456789abcdef\0\0\0\003ada"
                                        "\0\0\0\005\0\0\0\001x\0\0\0\0";
#define TWO_KEYS (sizeof two_keys - 1)

static char path[64];
static int listener;
static unsigned char reply[256];
static size_t reply_size;

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        char request[5];
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        if (recv(fd, request, sizeof request, MSG_WAITALL) == 5)
            send(fd, reply, reply_size, MSG_NOSIGNAL);
        close(fd);
    }
}

static pthread_t server;

static int set_up(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof path, "/tmp/sshexec-agent-%d", (int)getpid());
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)
           || pthread_create(&server, NULL, serve, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    return unlink(path);
}

static struct keyagent list(const void *answer, size_t n)
{
    struct keyagent agent;
    struct patience patience = patience_for(5000, -1);
    memcpy(reply, answer, n);
    reply_size = n;
    assert_int_equal(keyagent_list(&agent, path, &patience, NULL), 0);
    return agent;
}

static void two_keys_are_listed(void **state)
{
    (void)state;
    struct keyagent agent = list(two_keys, TWO_KEYS);
    assert_int_equal(agent.count, 2);
    assert_string_equal(agent.path, path);
    assert_string_equal(agent.keys[0].type, "ssh-ed25519");
    assert_string_equal(agent.keys[0].comment, "ada");
    assert_int_equal(agent.keys[0].size, 51);
    assert_string_equal(agent.keys[1].type, "x");
    assert_string_equal(agent.keys[1].comment, "");
    keyagent_dispose(&agent);
}

static void nonsense_is_no_agent(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; } cases[] = {
        {"", 0}, {"\0\0\0\001\005", 5}, {"\0\0\0\0", 4}, {"\377\377\377\377", 4}, {"\0\0\0\005\014\377\377\377\377", 9},
        {"\0\0\0\005\014\0\0\0\001", 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct keyagent agent = list(cases[i].bytes, cases[i].n);
        assert_int_equal(agent.count, 0);
        assert_string_equal(agent.path, "");
        keyagent_dispose(&agent);
    }
}

static void no_agent(void **state)
{
    (void)state;
    struct keyagent agent;
    struct patience patience = patience_for(5000, -1);
    assert_int_equal(keyagent_list(&agent, "/nonexistent", &patience, NULL), 0);
    assert_int_equal(agent.count, 0);
}

static uint32_t seed = 99;
static uint32_t next_random(void) { return seed = seed * 1664525u + 1013904223u; }

static void mutated_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        unsigned char changed[TWO_KEYS];
        memcpy(changed, two_keys, TWO_KEYS);
        for (uint32_t j = next_random() >> 30; j < 4; j++) /* its first bytes are only a length; most of the work is behind it */
            changed[4 + (next_random() >> 8) % (TWO_KEYS - 4)] = (unsigned char)(next_random() >> 24);
        struct keyagent agent = list(changed, TWO_KEYS);
        keyagent_dispose(&agent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_keys_are_listed), cmocka_unit_test(nonsense_is_no_agent), cmocka_unit_test(no_agent),
        cmocka_unit_test(mutated_answers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
