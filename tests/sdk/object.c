/* An object that travels: counts its visits and gives itself back, changed as its fields say. */
#include <sshexec/worker.h>

#define OBJECT(F)                                                        \
    F(u32_in(0, 9), visits, empty,      "how often it has been run")     \
    F(list(str),    places, empty,      "a word for each visit")         \
    F(secret(str),  token,  empty,      "grows with each visit")         \
    F(bin,          load,   empty,      "what it carries")               \
    F(u32,          grow,   empty,      "so many bytes more to carry")   \
    F(i32,          code,   empty,      "what to return")
SSX_STRUCT(object, OBJECT)
#define OBJECT_RESULT(F) F(u32, carried, required, "bytes")
SSX_STRUCT(object_result, OBJECT_RESULT)

static int object_run(struct ssx_call *call, struct object *in, struct object_result *out)
{
    *ssx_list_add(call, &in->places, str, 1) = ssx_sprintf(call, "place %u", (unsigned)++in->visits);
    in->token = ssx_sprintf(call, "%s+", in->token);
    char *load = ssx_alloc(call, in->load.n + in->grow);
    memset(load, 'x', in->load.n + in->grow);
    if (in->load.n)
        memcpy(load, in->load.at, in->load.n);
    in->load = (struct ssx_bin){load, in->load.n + in->grow};
    out->carried = (uint32_t)in->load.n;
    puts("moved");
    return in->code;
}
SSX_WORKER("object", "1.0", "comes back changed", object, object_result, SSX_RETURNS_STATE, object_run)
