/* What the libraries in the agent call when they can't go on. Their own versions bring message catalogs, wide
 * characters and all of libsodium's algorithms into a static program: a third of its size, for a line that nobody
 * should ever see. */
#include <assert.h>
#include <sodium/core.h>
#include <stdio.h>
#include <stdlib.h>

_Noreturn void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    fprintf(stderr, "sshexec-agent: %s:%u: %s: assertion \"%s\" failed\n", file, line, function, assertion);
    abort();
}

_Noreturn void sodium_misuse(void)
{
    fputs("sshexec-agent: libsodium was misused\n", stderr);
    abort();
}
