/* facts: what this machine is, read from /proc, /sys and system calls. What can't be read stays empty or 0; nothing
 * here makes the call fail. This file has the lists of its state and result, and what its parts share; a part is one
 * topic. */
#ifndef FACTS_H
#define FACTS_H
#ifndef FACTS_MAIN
#define SSX_NO_NOTES /* the notes stand in facts.c */
#endif
#include <sshexec/worker.h>

#define TOPIC(V) V(topic, system) V(topic, cpu) V(topic, memory) V(topic, disks) V(topic, addresses)
SSX_ENUM(topic, TOPIC)

#define FACTS(F)                                                                                                       \
    F(list(enum(topic)), only, empty, "gather only these topics (system: all but the other four); empty: everything")
SSX_STRUCT(facts, FACTS)

#define OS(F)                                                                                                          \
    F(str, name,    required, "the distribution, as it calls itself: Debian GNU/Linux 12 (bookworm)")                  \
    F(str, id,      required, "its short name: debian")                                                                \
    F(str, version, required, "its version: 12")
SSX_STRUCT(os, OS)

#define KERNEL(F)                                                                                                      \
    F(str, name,    required, "Linux")                                                                                 \
    F(str, release, required, "as uname -r: 6.1.0-18-amd64")                                                           \
    F(str, version, required, "as uname -v: its build number and date")
SSX_STRUCT(kernel, KERNEL)

#define MACHINE(F)                                                                                                     \
    F(str,  vendor,     required, "who made it, as its firmware says")                                                 \
    F(str,  product,    required, "the model, as its firmware says")                                                   \
    F(bool, hypervisor, required, "the processor says that it is a virtual one (x86 only)")                            \
    F(str,  container,  required, "a hint: the container manager that left its mark here, as docker")
SSX_STRUCT(machine, MACHINE)

#define LOAD(F)                                                                                                        \
    F(f64, one,     required, "processes that ran or waited, on average over 1 minute")                                \
    F(f64, five,    required, "the same over 5 minutes")                                                               \
    F(f64, fifteen, required, "the same over 15 minutes")
SSX_STRUCT(load, LOAD)

#define ACCOUNT(F)                                                                                                     \
    F(str, name, required, "login name")                                                                               \
    F(u32, uid,  required, "user id")                                                                                  \
    F(u32, gid,  required, "group id")                                                                                 \
    F(str, home, required, "home directory")
SSX_STRUCT(account, ACCOUNT)

#define ZONE(F)                                                                                                        \
    F(str, name,         required, "time zone: Europe/Paris")                                                          \
    F(str, abbreviation, required, "what it is called now: CEST")                                                      \
    F(i32, utc_offset_s, required, "seconds east of UTC now")
SSX_STRUCT(zone, ZONE)

#define CPU(F)                                                                                                         \
    F(str, model,   required, "the processor's name")                                                                  \
    F(u32, sockets, required, "processor packages in use")                                                             \
    F(u32, cores,   required, "cores in use, over all sockets")                                                        \
    F(u32, threads, required, "processors the kernel can schedule on: threads over all cores")
SSX_STRUCT(cpu, CPU)

#define MEMORY(F)                                                                                                      \
    F(u64, total,      required, "bytes of RAM")                                                                       \
    F(u64, available,  required, "bytes that programs can still get without swapping")                                 \
    F(u64, swap_total, required, "bytes of swap space")                                                                \
    F(u64, swap_free,  required, "bytes of it that are free")
SSX_STRUCT(memory, MEMORY)

#define DISK(F)                                                                                                        \
    F(str,  mount,       required, "where it is mounted")                                                              \
    F(str,  device,      required, "what is mounted: a device, a pool, or server:path")                                \
    F(str,  fstype,      required, "file system: ext4")                                                                \
    F(bool, remote,      required, "on a network or FUSE, or below such a mount: not asked for the numbers, it may hang") \
    F(u64,  size,        required, "bytes in all")                                                                     \
    F(u64,  free,        required, "bytes free, for root")                                                             \
    F(u64,  available,   required, "bytes free, for everyone")                                                         \
    F(u64,  inodes,      required, "inodes in all; 0 where it has no fixed number")                                    \
    F(u64,  inodes_free, required, "inodes free")
SSX_STRUCT(disk, DISK)

#define FAMILY(V) V(family, ipv4) V(family, ipv6)
SSX_ENUM(family, FAMILY)

#define ADDRESS(F)                                                                                                     \
    F(str,          interface, required, "eth0")                                                                       \
    F(enum(family), family,    required, "of the address")                                                             \
    F(str,          address,   required, "192.0.2.7 or 2001:db8::7")                                                   \
    F(u32,          prefix,    required, "bits of it that name the network")                                           \
    F(str,          mac,       required, "the interface's hardware address: 02:00:5e:10:00:00")                        \
    F(bool,         up,        required, "the interface is up and has a link")                                         \
    F(bool,         loopback,  required, "it reaches this machine only")                                               \
    F(u32,          mtu,       required, "the largest packet, in bytes")
SSX_STRUCT(address, ADDRESS)

#define FACTS_RESULT(F)                                                                                                \
    F(str,                   hostname,  required, "what the machine calls itself")                                     \
    F(struct(os),            os,        required, "the distribution")                                                  \
    F(struct(kernel),        kernel,    required, "the kernel")                                                        \
    F(str,                   arch,      required, "as uname -m: x86_64")                                               \
    F(str,                   libc,      required, "the C library: glibc 2.36")                                         \
    F(struct(machine),       machine,   required, "the hardware, or what poses as it")                                 \
    F(u64,                   uptime_s,  required, "seconds since it booted, sleep included")                           \
    F(u64,                   boot_time, required, "when it booted, in seconds since 1970")                             \
    F(struct(load),          load,      required, "load averages")                                                     \
    F(struct(account),       user,      required, "who this worker runs as")                                           \
    F(struct(zone),          timezone,  required, "the local time zone")                                               \
    F(struct(cpu),           cpu,       required, "processors")                                                        \
    F(struct(memory),        memory,    required, "RAM and swap")                                                      \
    F(list(struct(disk)),    disks,     required, "file systems on a device or a server, and the root; 256 at most")   \
    F(list(struct(address)), addresses, required, "IP addresses; 1024 at most")
SSX_STRUCT(facts_result, FACTS_RESULT)

/* --- the topics; each fills in its part of the result --- */
void gather_system(struct ssx_call *call, struct facts_result *out);
void gather_cpu(struct ssx_call *call, struct facts_result *out);
void gather_memory(struct ssx_call *call, struct facts_result *out);
void gather_disks(struct ssx_call *call, struct facts_result *out);
void gather_addresses(struct ssx_call *call, struct facts_result *out);

/* --- text.c --- */
#define TEXT_MAX 8192 /* of a file or a line; those that we read have tens or hundreds of bytes, or say what we want at their start */

/* The start of a small file as text, without its last newline. False, and empty text, if it can't be read or has
 * none. */
bool read_text(const char *path, char text[TEXT_MAX]);

/* The same, as long-lived as the call; "" if it can't be read. */
const char *file_text(struct ssx_call *call, const char *path);

/* What follows `key` in the line that begins with it, up to the end of the whole text; NULL if no line does. */
const char *line_value(const char *text, const char *key);

#endif
