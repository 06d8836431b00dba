/* A number of bytes for people. */
#ifndef SSHEXEC_SIZE_TEXT_H
#define SSHEXEC_SIZE_TEXT_H
#include <stdint.h>

/* "1.5 MiB", into out. Returns it. */
const char *size_text(char out[32], uint64_t bytes);

#endif
