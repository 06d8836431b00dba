/* sshexec config: the configuration in force, and where each value comes from. */
#include "tool.h"

#include "base/error.h"

int command_config(int argc, char **argv)
{
    struct settings s;
    struct ssx_error err = {0};
    char **words, **rest;
    int count, code;
    if (tool_start(
            &s, 0,
            "usage: sshexec config\n\nShows each key of the configuration file with its value in force and where that comes from.",
            argc, argv, &words, &count, &rest, &code))
        return code;
    if (count || rest) {
        error_set(&err, SSX_ERROR_USAGE, "config takes no words");
        return tool_complain(&err);
    }
    settings_print();
    return 0;
}
