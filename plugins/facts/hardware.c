/* Topics cpu and memory. */
#include "facts.h"
#include <ctype.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Whether the processor is the first of its siblings: so a core, or a socket, is counted once. */
static bool leads(unsigned cpu, const char *siblings)
{
    char path[128], text[TEXT_MAX];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/%s", cpu, siblings);
    return read_text(path, text) && strtoul(text, NULL, 10) == cpu;
}

void gather_cpu(struct ssx_call *call, struct facts_result *result)
{
    struct cpu *out = &result->cpu;
    char text[TEXT_MAX];
    read_text("/proc/cpuinfo", text);
    const char *model = line_value(text, "model name");
    if (model) {
        model += strspn(model, " \t:");
        out->model = ssx_sprintf(call, "%.*s", (int)strcspn(model, "\n"), model);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    out->threads = online > 0 ? (uint32_t)online : 0;
    read_text("/sys/devices/system/cpu/online", text); /* "0-3,8-11" */
    for (char *rest = text, *range; (range = strsep(&rest, ",")) && isdigit((unsigned char)*range);) {
        char *end;
        unsigned first = (unsigned)strtoul(range, &end, 10);
        unsigned last = *end == '-' ? (unsigned)strtoul(end + 1, NULL, 10) : first;
        for (unsigned cpu = first; cpu <= last && last < 65536; cpu++) {
            out->cores += leads(cpu, "thread_siblings_list");
            out->sockets += leads(cpu, "core_siblings_list");
        }
    }
}

static void meminfo_bytes(const char *text, const char *key, uint64_t *out)
{
    const char *kib = line_value(text, key);
    if (kib)
        *out = strtoull(kib, NULL, 10) * 1024;
}

/* The system call first, since it always works; /proc knows better, and a container's own limits where lxcfs stands in
 * for it. */
void gather_memory(struct ssx_call *call, struct facts_result *result)
{
    (void)call;
    struct memory *out = &result->memory;
    struct sysinfo info;
    char text[TEXT_MAX];
    if (sysinfo(&info) == 0) {
        out->total = (uint64_t)info.totalram * info.mem_unit;
        out->available = (uint64_t)info.freeram * info.mem_unit;
        out->swap_total = (uint64_t)info.totalswap * info.mem_unit;
        out->swap_free = (uint64_t)info.freeswap * info.mem_unit;
    }
    read_text("/proc/meminfo", text);
    meminfo_bytes(text, "MemTotal:", &out->total);
    meminfo_bytes(text, "MemAvailable:", &out->available);
    meminfo_bytes(text, "SwapTotal:", &out->swap_total);
    meminfo_bytes(text, "SwapFree:", &out->swap_free);
}
