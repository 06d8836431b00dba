/* SIGINT, SIGTERM and SIGHUP as a descriptor to poll, and as EINTR for a write that blocks. */
#ifndef SSHEXEC_INTERRUPT_H
#define SSHEXEC_INTERRUPT_H

/* Installs the handlers. Returns a descriptor that becomes readable with the first of them, or -1 with errno. */
int interrupt_watch(void);

/* Puts the default handlers back, for work that must not outlive a signal. */
void interrupt_unwatch(void);

/* The last signal that came, 0 for none; how many came. */
int interrupt_signal(void);
int interrupt_count(void);

#endif
