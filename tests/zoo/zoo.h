/* What the bad plugins share: a state and a result without fields, and the shape of a run function. Each file's first
 * line says what its plugin does wrong; its type is the file's name. */
#ifndef ZOO_H
#define ZOO_H
#include <sshexec/worker.h>

SSX_NOTHING(nothing)

/* Segfaults. Both are volatile: gcc drops a write that it knows to go nowhere, and a constructor that does nothing
 * else. */
static inline void zoo_crash(void)
{
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
}

/* The definition of a run function whose parameters may go unused. */
#define ZOO_RUN(in_t, out_t)                                                                                      \
    static int zoo_run(struct ssx_call *call __attribute__((unused)), const struct in_t *in __attribute__((unused)), \
                       struct out_t *out __attribute__((unused)))

#define ZOO_WORKER(type, in_t, out_t) SSX_WORKER(type, "1.0", "a bad plugin", in_t, out_t, 0, zoo_run)

/* A worker whose note is in order, while its struct says what the file likes. */
#define ZOO_LIAR(note_type, type, size, state, result)                                                                                \
    SSX_NOTE(ssx_worker, "{\"worker\":" #note_type ",\"version\":\"1.0\",\"abi\":[1,0],\"state\":\"nothing\",\"result\":\"nothing\","  \
        "\"traits\":\"0\",\"doc\":\"a bad plugin\"}", SSX_NO_LIST, SSX_F_ROOM, SSX_F_TEXT)                                             \
    __attribute__((visibility("default"))) int run(struct ssx_call *call, const void *in, void *out);                                 \
    __attribute__((visibility("default"))) extern const struct ssx_plugin ssx_plugin;                                                 \
    int run(struct ssx_call *call, const void *in, void *out) { return zoo_run(call, in, out); }                                      \
    const struct ssx_plugin ssx_plugin = { SSX_ABI_MAJOR, SSX_ABI_MINOR, size, type, "1.0", 0, state, result, NULL, NULL };

#endif
