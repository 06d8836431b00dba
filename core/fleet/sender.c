#include "fleet/sender.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_plain(char c) { return c > ' ' && c <= '~'; }

const char *sender_name(char out[SENDER_NAME])
{
    char host[65] = "", room[4096];
    struct passwd entry, *user = NULL;
    gethostname(host, sizeof host - 1);
    if (getpwuid_r(getuid(), &entry, room, sizeof room, &user) == 0 && user)
        snprintf(out, SENDER_NAME, "%.60s@%.64s", user->pw_name, *host ? host : "?");
    else
        snprintf(out, SENDER_NAME, "%u@%.64s", (unsigned)getuid(), *host ? host : "?");
    for (char *at = out; *at; at++)
        if (!is_plain(*at))
            *at = '?';
    return out;
}

bool sender_name_is_valid(const char *name)
{
    size_t n = strnlen(name, SENDER_NAME);
    for (size_t i = 0; i < n; i++)
        if (!is_plain(name[i]))
            return false;
    return n && n < SENDER_NAME;
}
