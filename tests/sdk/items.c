/* Sends items of the type it declares, and tries to send others. */
#include <sshexec/worker.h>

#include <unistd.h>

#define DISK(F)                                              \
    F(str,            mount, required,   "where it is")      \
    F(u32_in(1, 100), size,  default(7), "how large")        \
    F(secret(str),    key,   empty,      "opens it")
SSX_STRUCT(disk, DISK)
#define WHAT(V) V(what, good) V(what, other) V(what, any) V(what, range) V(what, forged)
SSX_ENUM(what, WHAT)
#define ITEMS(F)                                             \
    F(enum(what), what,   empty, "what to send")             \
    F(bin,        frames, empty, "for the control socket")
SSX_STRUCT(items, ITEMS)
SSX_NOTHING(nothing)

static int items_run(struct ssx_call *call, const struct items *in, struct nothing *out)
{
    struct disk disk;
    (void)out;
    disk_ssx_defaults(&disk);
    disk.mount = "/";
    disk.key = "hush";
    switch (in->what) {
    case what_good: return ssx_item(call, disk, &disk);
    case what_other: return ssx_item(call, items, in);
    case what_any: return ssx_item_any(call, "\1", 1);
    case what_range: disk.size = 101; return ssx_item(call, disk, &disk);
    case what_forged: return write(3, in->frames.at, in->frames.n) < 0;
    }
    return 1;
}
SSX_WORKER_ITEMS("items", "1.0", "sends items", items, nothing, disk, 0, items_run)
