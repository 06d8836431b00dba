/* Topic system: name, distribution, kernel, hardware, user, time. */
#include "facts.h"
#include <ctype.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* A value of os-release, which is in shell syntax: maybe quoted, with backslashes. */
static const char *os_value(struct ssx_call *call, const char *text, const char *key)
{
    const char *from = line_value(text, key);
    if (!from)
        return "";
    char *value = ssx_alloc(call, strcspn(from, "\n") + 1), *to = value;
    char quote = *from == '"' || *from == '\'' ? *from++ : '\n';
    for (; *from && *from != quote && *from != '\n'; from++) {
        if (*from == '\\' && from[1] && from[1] != '\n')
            from++;
        *to++ = *from;
    }
    return value;
}

static void gather_os(struct ssx_call *call, struct os *out)
{
    char text[TEXT_MAX];
    if (!read_text("/etc/os-release", text))
        read_text("/usr/lib/os-release", text);
    out->name = os_value(call, text, "PRETTY_NAME=");
    out->id = os_value(call, text, "ID=");
    out->version = os_value(call, text, "VERSION_ID=");
}

static const char *container_hint(struct ssx_call *call)
{
    if (access("/run/systemd/container", R_OK) == 0)
        return file_text(call, "/run/systemd/container");
    if (access("/run/.containerenv", F_OK) == 0)
        return "podman";
    return access("/.dockerenv", F_OK) == 0 ? "docker" : "";
}

static void gather_machine(struct ssx_call *call, struct machine *out)
{
    char text[TEXT_MAX];
    out->vendor = file_text(call, "/sys/class/dmi/id/sys_vendor");
    out->product = file_text(call, "/sys/class/dmi/id/product_name");
    if (!*out->product)
        out->product = file_text(call, "/sys/firmware/devicetree/base/model");
    read_text("/proc/cpuinfo", text);
    const char *flags = line_value(text, "flags");
    const char *flag = flags ? strstr(flags, " hypervisor") : NULL;
    out->hypervisor = flag && flag < flags + strcspn(flags, "\n");
    out->container = container_hint(call);
}

/* From /etc/passwd itself: getpwuid may ask a directory server, and wait for it. Users from such a server are known by
 * their environment. */
static void gather_user(struct ssx_call *call, struct account *out)
{
    const char *name = getenv("LOGNAME"), *home = getenv("HOME");
    out->uid = getuid();
    out->gid = getgid();
    out->name = name ? ssx_strdup(call, name) : "";
    out->home = home ? ssx_strdup(call, home) : "";
    FILE *f = fopen("/etc/passwd", "re");
    char line[TEXT_MAX];
    while (f && fgets(line, sizeof line, f)) {
        char *rest = line, *fields[6] = { NULL };
        for (size_t i = 0; i < 6 && rest; i++)
            fields[i] = strsep(&rest, ":\n");
        if (!fields[5] || !isdigit((unsigned char)*fields[2]) || strtoul(fields[2], NULL, 10) != out->uid)
            continue;
        out->name = ssx_strdup(call, fields[0]);
        out->home = ssx_strdup(call, fields[5]);
        break;
    }
    if (f)
        fclose(f);
}

static const char *zone_name(struct ssx_call *call)
{
    const char *tz = getenv("TZ");
    if (tz && *tz)
        return ssx_strdup(call, tz + (*tz == ':'));
    char target[512];
    ssize_t n = readlink("/etc/localtime", target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *at = strstr(target, "/zoneinfo/");
    return at ? ssx_strdup(call, at + strlen("/zoneinfo/")) : "";
}

static void gather_times(struct ssx_call *call, struct facts_result *out)
{
    struct timespec now = { 0, 0 }, up;
    struct tm local;
    if (clock_gettime(CLOCK_REALTIME, &now) == 0 && clock_gettime(CLOCK_BOOTTIME, &up) == 0) {
        out->uptime_s = (uint64_t)up.tv_sec;
        out->boot_time = (uint64_t)(now.tv_sec - up.tv_sec);
    }
    tzset();
    if (localtime_r(&now.tv_sec, &local)) {
        out->timezone.utc_offset_s = (int32_t)local.tm_gmtoff;
        out->timezone.abbreviation = ssx_strdup(call, local.tm_zone);
    }
    out->timezone.name = zone_name(call);
}

static void gather_load(struct load *out)
{
    struct sysinfo info;
    if (sysinfo(&info) != 0)
        return;
    const double one = 1 << SI_LOAD_SHIFT;
    out->one = (double)info.loads[0] / one;
    out->five = (double)info.loads[1] / one;
    out->fifteen = (double)info.loads[2] / one;
}

void gather_system(struct ssx_call *call, struct facts_result *out)
{
    struct utsname name;
    char libc[64] = "";
    if (uname(&name) == 0) {
        out->hostname = ssx_strdup(call, name.nodename);
        out->kernel.name = ssx_strdup(call, name.sysname);
        out->kernel.release = ssx_strdup(call, name.release);
        out->kernel.version = ssx_strdup(call, name.version);
        out->arch = ssx_strdup(call, name.machine);
    }
    confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
    out->libc = ssx_strdup(call, libc);
    gather_os(call, &out->os);
    gather_machine(call, &out->machine);
    gather_load(&out->load);
    gather_user(call, &out->user);
    gather_times(call, out);
}
