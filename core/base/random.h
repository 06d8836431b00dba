/* Random bytes from the kernel. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H
#include <stddef.h>

void random_bytes(void *out, size_t n);

#endif
