/* What the agent and a worker host say to each other, over one SOCK_SEQPACKET socket: fixed structs, one a packet. Both are of one build and on
 * one machine. The agent still checks what comes back, because a plugin's constructors ran in the host.
 *
 * A host is started with descriptor 3 as this socket and 4 as the plugin's image, and arguments: name, profile, type, temporary directory (of the host's own,
 * "" for none). Calls themselves use a socket each, which carries frames of PROTOCOL.md: CALL and STATE down; LOG, PROGRESS, ITEM, RESULT, END up. */
#ifndef AGENT_HOST_PROTOCOL_H
#define AGENT_HOST_PROTOCOL_H
#include <stdint.h>

#define HOST_SOCKET_FD 3
#define HOST_PLUGIN_FD 4

enum host_call_fd { HOST_FD_CONTROL, HOST_FD_STDIN, HOST_FD_STDOUT, HOST_FD_STDERR, HOST_FDS }; /* order of the descriptors sent with HOST_CALL */

struct host_request {
    enum { HOST_CALL = 1, HOST_SIGNAL } op;
    uint32_t call;
    int32_t signal;                    /* HOST_SIGNAL: to the call's process group */
};

struct host_report {
    enum { HOST_READY = 1, HOST_FAILED, HOST_ENDED } op;
    uint32_t call;                     /* HOST_ENDED */
    int32_t status;                    /* HOST_ENDED: as waitpid gives it */
    uint64_t user_us, sys_us, rss_kb;  /* HOST_ENDED */
    char reason[16];                   /* HOST_FAILED: the word for END refused */
    char text[480];                    /* HOST_FAILED: why; HOST_READY: the protection achieved */
};

#endif
