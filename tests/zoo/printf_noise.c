/* Prints bytes to stdout that look like the greeting's marker, an END frame and a RESULT frame; then returns ok. */
#include "zoo.h"
#include <unistd.h>

ZOO_RUN(nothing, nothing)
{
    static const char noise[] = "sshexec-agent 1 00000000000000000000000000000000\r\n\0\xff"
                                "\0\0\0\5\x94\x0f\1\1\x80"
                                "\0\0\0\7\x94\x0d\1\xc4\1\xc0\xc2";
    return write(STDOUT_FILENO, noise, sizeof noise - 1) < 0;
}
ZOO_WORKER("printf_noise", nothing, nothing)
