/* What a state or result costs: a struct of 10 fields (three texts, an enum, six numbers) to msgpack and back, in
 * nanoseconds of CPU; the median of rounds. */
#define SSX_NO_NOTES
#include "worker/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 21
#define TIMES 20000

#define FSTYPE(V) V(fstype, ext4) V(fstype, xfs) V(fstype, other)
SSX_ENUM(fstype, FSTYPE)

#define DISK(F)                                                  \
    F(str,              mount,   required,           "where")    \
    F(str,              device,  required,           "what")     \
    F(str_max(64),      label,   empty,              "its name") \
    F(enum(fstype),     type,    member(fstype, xfs), "kind")    \
    F(u64,              size,    required,           "bytes")    \
    F(u64,              used,    required,           "bytes")    \
    F(u32,              inodes,  default(0),         "files")    \
    F(i32_in(-20, 19),  nice,    default(0),         "a number") \
    F(f64,              load,    default(0.5),       "a share")  \
    F(bool,             ro,      default(false),     "read only")
SSX_STRUCT(disk, DISK)

static unsigned char memory[4096];
static size_t used;

static void *take(void *user, size_t n)
{
    (void)user;
    void *at = memory + used;
    used += (n + 15) & ~(size_t)15;
    return used <= sizeof memory ? at : NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void there_and_back(struct buf *bytes, const struct disk *in)
{
    struct disk out;
    used = 0;
    buf_consume(bytes, buf_length(bytes));
    if (codec_encode(disk_ssx(), in, bytes, false, NULL) ||
        codec_decode(disk_ssx(), &out, buf_data(bytes), buf_length(bytes), take, NULL, NULL) || out.size != in->size ||
        strcmp(out.device, in->device) != 0) {
        fprintf(stderr, "codec: what came back is not what went in\n");
        exit(1);
    }
}

int main(void)
{
    const struct disk in = {.mount = "/var/lib/postgresql",
                            .device = "/dev/mapper/vg0-data",
                            .label = "data",
                            .type = fstype_ext4,
                            .size = 1099511627776,
                            .used = 824633720832,
                            .inodes = 1200345,
                            .nice = -5,
                            .load = 0.75,
                            .ro = true};
    struct buf bytes = {0};
    double took[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (int i = 0; i < TIMES; i++)
            there_and_back(&bytes, &in);
        took[round] = (cpu_ns() - began) / TIMES;
    }
    qsort(took, ROUNDS, sizeof *took, by_size);
    printf("%.0f\n", took[ROUNDS / 2]);
    buf_free(&bytes);
    return 0;
}
