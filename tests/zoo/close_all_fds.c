/* Closes every descriptor from 0 to 1023, then returns ok. */
#include "zoo.h"
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    return 0;
}
ZOO_WORKER("close_all_fds", nothing, nothing)
