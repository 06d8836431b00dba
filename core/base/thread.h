/* A thread of the library's own in somebody else's program. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H
#include <pthread.h>

/* Starts run(arg) with every signal blocked, for signals belong to the program's own threads, and a stack of 512 KiB:
 * name services and OpenSSL need some, and only what is touched costs memory. Returns 0 (join or detach *out), or an
 * errno. */
int thread_start(pthread_t *out, void *(*run)(void *), void *arg);

#endif
