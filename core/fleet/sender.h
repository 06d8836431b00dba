/* Who this sender says it is, where a node keeps that: its word, which nobody checks. */
#ifndef SSHEXEC_SENDER_H
#define SSHEXEC_SENDER_H

#define SENDER_NAME 128

/* user@host of this process, each as the system has it, what isn't printable ASCII as '?'. Returns out. */
const char *sender_name(char out[SENDER_NAME]);

#endif
