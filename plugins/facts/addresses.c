/* Topic addresses: the IP addresses of this machine's interfaces. */
#include "facts.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 1024 }; /* against a node gone wild; real ones have tens */

static const char *mac_of(struct ssx_call *call, const struct ifaddrs *all, const char *interface)
{
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET || strcmp(i->ifa_name, interface) != 0)
            continue;
        const struct sockaddr_ll *link = (const void *)i->ifa_addr;
        char text[3 * sizeof link->sll_addr + 1] = "";
        for (size_t n = 0; n < link->sll_halen && n < sizeof link->sll_addr; n++)
            snprintf(text + (n ? 3 * n - 1 : 0), 4, n ? ":%02x" : "%02x", link->sll_addr[n]);
        return ssx_strdup(call, text);
    }
    return "";
}

static uint32_t mtu_of(int socket_fd, const char *interface)
{
    struct ifreq request = { 0 };
    strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
    return socket_fd >= 0 && ioctl(socket_fd, SIOCGIFMTU, &request) == 0 ? (uint32_t)request.ifr_mtu : 0;
}

static uint32_t count_bits(const unsigned char *at, size_t n)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++)
        bits += (uint32_t)__builtin_popcount(at[i]);
    return bits;
}

static void take_address(struct ssx_call *call, const struct ifaddrs *i, struct address *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *mask = i->ifa_netmask;
    if (i->ifa_addr->sa_family == AF_INET) {
        out->family = family_ipv4;
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, text, sizeof text);
        out->prefix = mask ? count_bits((const void *)&((const struct sockaddr_in *)mask)->sin_addr, 4) : 32;
    } else {
        out->family = family_ipv6;
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, text, sizeof text);
        out->prefix = mask ? count_bits((const void *)&((const struct sockaddr_in6 *)mask)->sin6_addr, 16) : 128;
    }
    out->address = ssx_strdup(call, text);
}

void gather_addresses(struct ssx_call *call, struct facts_result *out)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return;
    int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (const struct ifaddrs *i = all; i && out->addresses.n < ADDRESSES_MAX; i = i->ifa_next) {
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        struct address *a = ssx_list_add(call, &out->addresses, struct(address), 1);
        take_address(call, i, a);
        a->interface = ssx_strdup(call, i->ifa_name);
        a->mac = mac_of(call, all, i->ifa_name);
        a->up = (i->ifa_flags & IFF_UP) && (i->ifa_flags & IFF_RUNNING);
        a->loopback = i->ifa_flags & IFF_LOOPBACK;
        a->mtu = mtu_of(socket_fd, i->ifa_name);
    }
    if (socket_fd >= 0)
        close(socket_fd);
    freeifaddrs(all);
}
