/* The worker: gathers the topics that were asked for. */
#define FACTS_MAIN
#include "facts.h"

static bool is_wanted(const struct facts *in, enum topic topic)
{
    bool wanted = in->only.n == 0;
    for (size_t i = 0; i < in->only.n; i++)
        wanted |= in->only.at[i] == topic;
    return wanted;
}

static int facts_run(struct ssx_call *call, const struct facts *in, struct facts_result *out)
{
    static void (*const gather[])(struct ssx_call *, struct facts_result *) = {
        [topic_system] = gather_system, [topic_cpu] = gather_cpu, [topic_memory] = gather_memory,
        [topic_disks] = gather_disks, [topic_addresses] = gather_addresses,
    };
    for (size_t i = 0; i < sizeof gather / sizeof *gather; i++)
        if (is_wanted(in, (enum topic)i))
            gather[i](call, out);
    return 0;
}

SSX_WORKER("facts", "1.0", "what a machine is: system, processors, memory, disks, addresses", facts, facts_result,
           SSX_IDEMPOTENT | SSX_SHOWS_RESULT, facts_run)
