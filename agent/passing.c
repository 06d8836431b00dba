#include "passing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control { struct cmsghdr header; char room[CMSG_SPACE(PASSING_MAX * sizeof(int))]; };

int passing_send(int socket, const void *packet, size_t n, const int *fds, size_t count)
{
    union control control;
    struct iovec part = {(void *)packet, n};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    ssize_t rc;
    do
        rc = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -1 : 0;
}

ssize_t passing_receive(int socket, void *packet, size_t n, int *fds, size_t count)
{
    union control control;
    struct iovec part = {packet, n};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t rc;
    for (size_t i = 0; i < count; i++)
        fds[i] = -1;
    do
        rc = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (rc < 0 && errno == EINTR);
    struct cmsghdr *header = rc < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        size_t got = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(header), (got < count ? got : count) * sizeof(int));
    }
    return rc;
}
