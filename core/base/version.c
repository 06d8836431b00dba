#include <sshexec/version.h>

const char *ssx_version(void) { return SSX_VERSION; }
