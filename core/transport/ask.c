#include "transport/ask.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int open_terminal(void) { return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY); }

bool ask_possible(void)
{
    int fd = open_terminal();
    bool possible = fd >= 0;
    fd_close(&fd);
    return possible;
}

/* One line, without its newline. Returns 0 or -1. */
static int read_line(int fd, int interrupt_fd, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        struct pollfd fds[] = {{fd, POLLIN, 0}, {interrupt_fd > 0 ? interrupt_fd : -1, POLLIN, 0}};
        char c;
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        if (fds[1].revents || read(fd, &c, 1) != 1)
            return -1;
        if (c == '\n' || c == '\r')
            break;
        if (n + 1 == size) /* longer than any answer: refuse it rather than cut it */
            return -1;
        out[n++] = c;
    }
    out[n] = 0;
    return 0;
}

int ask_terminal(void *ctx, const char *prompt, bool echo, char *answer, size_t size)
{
    const struct ask_terminal *self = ctx;
    struct termios before;
    int fd = open_terminal();
    if (fd < 0)
        return -1;
    bool hidden = !echo && !tcgetattr(fd, &before);
    if (hidden) {
        struct termios quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(fd, TCSAFLUSH, &quiet);
    }
    int rc = fd_write_all(fd, prompt, strlen(prompt));
    if (!rc)
        rc = read_line(fd, self ? self->interrupt_fd : -1, answer, size);
    if (hidden) {
        tcsetattr(fd, TCSAFLUSH, &before);
        fd_write_all(fd, "\n", 1); /* the user's own newline was not echoed */
    }
    fd_close(&fd);
    return rc;
}
