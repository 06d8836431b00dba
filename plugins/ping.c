/* ping: what answers at the other end: versions, machine, clock. */
#include <sshexec/worker.h>

#include <ctype.h>
#include <errno.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

SSX_NOTHING(ping)

#define PONG(F)                                                               \
    F(str, abi,      required, "the plugin ABI this was built for")           \
    F(str, os,       required, "operating system, as \"linux\"")              \
    F(str, arch,     required, "machine, as uname -m names it")               \
    F(str, libc,     required, "C library and version, as \"glibc 2.36\"")    \
    F(str, hostname, required, "the host's own name")                         \
    F(str, kernel,   required, "kernel release, as uname -r")                 \
    F(u64, clock_us, required, "the host's clock: microseconds since 1970")   \
    F(i32, pid,      required, "the process that answered")
SSX_STRUCT(pong, PONG)

static const char *libc_name(struct ssx_call *call)
{
#ifdef __GLIBC__
    return ssx_sprintf(call, "glibc %s", gnu_get_libc_version()); /* the one that runs, not the one it was built with */
#else
    (void)call;
    return "unknown";
#endif
}

static char *lower_case(char *text)
{
    for (char *p = text; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return text;
}

static int ping_run(struct ssx_call *call, const struct ping *in, struct pong *out)
{
    struct utsname u;
    struct timespec now;
    (void)in;
    if (uname(&u) || clock_gettime(CLOCK_REALTIME, &now))
        return ssx_fail(call, 1, "can't ask the kernel who and when it is: %s", strerror(errno));
    out->abi = ssx_sprintf(call, "%d.%d", SSX_ABI_MAJOR, SSX_ABI_MINOR);
    out->os = lower_case(ssx_strdup(call, u.sysname));
    out->arch = ssx_strdup(call, u.machine);
    out->libc = libc_name(call);
    out->hostname = ssx_strdup(call, u.nodename);
    out->kernel = ssx_strdup(call, u.release);
    out->clock_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    out->pid = (int32_t)getpid();
    return 0;
}
SSX_WORKER("ping", "1.0", "versions, machine and clock of the other end", ping, pong,
           SSX_IDEMPOTENT | SSX_REUSABLE | SSX_SHOWS_RESULT, ping_run)
