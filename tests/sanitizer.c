/* What the sanitizers are told; linked into each program of a sanitizer build, since a worker host's environment tells
 * it nothing. */
#include <sanitizer/asan_interface.h>

/* A plugin that crashes must die by its signal, as it does elsewhere, and a refused allocation must be NULL, as it is
 * elsewhere. */
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "detect_leaks=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:allocator_may_return_null=1";
}
