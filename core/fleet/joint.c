#include "fleet/joint.h"

#include "base/io.h"

#include <errno.h>
#include <unistd.h>

void joint_init(struct joint *j) { *j = (struct joint){.in = -1, .out = -1}; }

void joint_make(struct joint *j, int in, int out)
{
    if (j->made) {
        fd_close(&in);
        fd_close(&out);
        return;
    }
    j->in = in;
    j->out = out;
    j->made = true;
}

void joint_hang_up(struct joint *j)
{
    fd_close(&j->out);
    j->made = true;
}

void joint_close(struct joint *j)
{
    fd_close(&j->in);
    fd_close(&j->out);
    buf_free(&j->held);
}

/* Returns how many bytes are done with. One who has closed its end gets no more, and keeps nobody from going on. */
static size_t pass(struct joint *j, const void *bytes, size_t n)
{
    ssize_t wrote = j->out < 0 ? 0 : write(j->out, bytes, n);
    if (wrote < 0 && errno != EAGAIN && errno != EINTR)
        fd_close(&j->out);
    if (j->made && j->out < 0)
        return n;
    return wrote > 0 ? (size_t)wrote : 0;
}

ssize_t joint_put(struct joint *j, const void *bytes, size_t n)
{
    size_t done = joint_holds(j) ? 0 : pass(j, bytes, n);
    return buf_add(&j->held, (const char *)bytes + done, n - done) ? -1 : (ssize_t)done;
}

size_t joint_flush(struct joint *j)
{
    size_t done = joint_holds(j) ? pass(j, buf_data(&j->held), buf_length(&j->held)) : 0;
    buf_consume(&j->held, done);
    return done;
}

ssize_t joint_read(struct joint *j, void *out, size_t room)
{
    ssize_t n = read(j->in, out, room);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    fd_close(&j->in);
    return -1;
}

size_t joint_poll(const struct joint *j, bool read, struct pollfd *out)
{
    size_t n = 0;
    if (read && j->in >= 0)
        out[n++] = (struct pollfd){j->in, POLLIN, 0};
    if (joint_holds(j) && j->out >= 0)
        out[n++] = (struct pollfd){j->out, POLLOUT, 0};
    return n;
}
