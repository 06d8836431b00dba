/* A hostile schema: each of its structs holds 48 of the one before it, so that whoever walks all of it never comes back
 * (test_completions.py). */
#include <sshexec/worker.h>

#define FIELD(name, below) "{\"field\":\"" name "\",\"type\":{\"struct\":\"" below "\"},\"default\":null,\"doc\":\"deeper\"}\0"
#define FOUR(n, below) FIELD(n "a", below) FIELD(n "b", below) FIELD(n "c", below) FIELD(n "d", below)
#define SIXTEEN(n, below) FOUR(n "a", below) FOUR(n "b", below) FOUR(n "c", below) FOUR(n "d", below)
#define LEVEL(name, below) SSX_NOTE(name, "{\"struct\":\"" #name "\"}\0" SIXTEEN("a", #below) SIXTEEN("b", #below) SIXTEEN("c", #below), SSX_NO_LIST, x, x)

SSX_NOTHING(nothing)
LEVEL(deep1, nothing)
LEVEL(deep2, deep1)
LEVEL(deep3, deep2)
LEVEL(deep4, deep3)
LEVEL(deep5, deep4)
LEVEL(deep6, deep5)
LEVEL(deep7, deep6)
SSX_NOTE(
    worker,
    "{\"worker\":\"deep\",\"version\":\"1.0\",\"abi\":[1,0],\"state\":\"deep7\",\"result\":\"deep7\",\"traits\":\"0\",\"doc\":\"never seen whole\"}",
    SSX_NO_LIST, x, x)

/* Whoever gets as far as here has read the whole. */
__attribute__((visibility("default"))) int run(struct ssx_call *call, const void *in, void *out);
__attribute__((visibility("default"))) extern const struct ssx_plugin ssx_plugin;
int run(struct ssx_call *call, const void *in, void *out) { return call == in && in == out; }
const struct ssx_plugin ssx_plugin = {1, 0, sizeof ssx_plugin, "deep", "1.0", 0, NULL, NULL, NULL, NULL};
