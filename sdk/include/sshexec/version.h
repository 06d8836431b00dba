/* Which libsshexec a program runs with. */
#ifndef SSHEXEC_VERSION_H
#define SSHEXEC_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0": the library's version, static. */
__attribute__((visibility("default"))) const char *ssx_version(void);

#ifdef __cplusplus
}
#endif
#endif
