/* Which libsshexec a program runs with. */
#ifndef SSHEXEC_VERSION_H
#define SSHEXEC_VERSION_H
#include <sshexec/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": the library's version, static. */
SSX_API const char *ssx_version(void);

#ifdef __cplusplus
}
#endif
#endif
