#include "agents.h"

#include "base/install.h"
#include "fleet/agents.h"

#include <limits.h>

int own_agent_open(struct agent_image *out, struct ssx_error *err)
{
    char path[PATH_MAX];
    return agents_open(out, install_agent(path, sizeof path), true, err);
}
