/* How many sessions the process's file descriptors allow. */
#ifndef FLEET_BUDGET_H
#define FLEET_BUDGET_H
#include <stddef.h>

/* Of the sessions wanted, as many as fit: at least 1. more: descriptors that come with each beside its own. Where they
 * need more than the soft limit of `ulimit -n`, that is raised for this process, up to the hard one. */
size_t budget_sessions(size_t wanted, size_t more);

#endif
