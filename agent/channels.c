#include "channels.h"

#include "base/io.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int make_pipe(int *own, int *other, bool own_reads)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC))
        return -1;
    *own = pair[own_reads ? 0 : 1];
    *other = pair[own_reads ? 1 : 0];
    return fd_set_nonblocking(*own, true);
}

int channels_open(struct channels *c, int others[HOST_FDS], bool input)
{
    int pair[2];
    *c = CHANNELS_NONE;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -1;
    c->control = pair[0];
    others[HOST_FD_CONTROL] = pair[1];
    if (fd_set_nonblocking(c->control, true) || make_pipe(&c->output, &others[HOST_FD_STDOUT], true) ||
        make_pipe(&c->error, &others[HOST_FD_STDERR], true))
        return -1;
    if (input)
        return make_pipe(&c->input, &others[HOST_FD_STDIN], false);
    others[HOST_FD_STDIN] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return others[HOST_FD_STDIN] < 0 ? -1 : 0;
}

void channels_close(struct channels *c)
{
    fd_close(&c->control);
    fd_close(&c->input);
    fd_close(&c->output);
    fd_close(&c->error);
}
