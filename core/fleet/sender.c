#include "sender.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

const char *sender_name(char out[SENDER_NAME])
{
    char host[65] = "";
    const struct passwd *user = getpwuid(getuid());
    gethostname(host, sizeof host - 1);
    if (user)
        snprintf(out, SENDER_NAME, "%.60s@%.64s", user->pw_name, *host ? host : "?");
    else
        snprintf(out, SENDER_NAME, "%u@%.64s", (unsigned)getuid(), *host ? host : "?");
    for (char *at = out; *at; at++)
        if (*at <= ' ' || *at > '~')
            *at = '?';
    return out;
}
