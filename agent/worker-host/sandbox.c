#include "sandbox.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

extern char **environ;

static bool is_kept(const char *variable)
{
    static const char *const names[] = {"PATH=", "HOME=", "USER=",         "LOGNAME=",       "SHELL=",       "LANG=",
                                        "LC_",   "TZ=",   "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void filter_environment(void)
{
    size_t kept = 0;
    for (size_t i = 0; environ[i]; i++)
        if (is_kept(environ[i]))
            environ[kept++] = environ[i];
    environ[kept] = NULL;
}

static bool limit(__rlimit_resource_t what, rlim_t value)
{
    struct rlimit now;
    if (getrlimit(what, &now))
        return false;
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        value = now.rlim_max;
    struct rlimit want = {value, value};
    return setrlimit(what, &want) == 0;
}

void sandbox_apply(const char *profile, char *out, size_t size)
{
    if (strcmp(profile, "default") != 0) {
        snprintf(out, size, "%s", profile);
        return;
    }
    filter_environment();
    bool limits = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, 1024);
    bool privileges = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    snprintf(out, size, "default%s%s", limits ? " rlimits" : "", privileges ? " no_new_privs" : "");
}
