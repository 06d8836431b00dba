/* The subcommands of sshexec, and what they share. Each takes its own argv (argv[0] is its name) and returns an exit
 * code of wire/outcome.h. */
#ifndef SSHEXEC_TOOL_H
#define SSHEXEC_TOOL_H
#include "settings.h"

#include <sshexec/error.h>

int command_run(int argc, char **argv);
int command_put(int argc, char **argv);
int command_get(int argc, char **argv);
int command_encode(int argc, char **argv);
int command_decode(int argc, char **argv);
int command_new(int argc, char **argv);
int command_test(int argc, char **argv);
int command_list(int argc, char **argv);
int command_describe(int argc, char **argv);
int command_show(int argc, char **argv);
int command_hosts(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_authorize(int argc, char **argv);
int command_bundle(int argc, char **argv);
int command_store(int argc, char **argv);
int command_deploy(int argc, char **argv);
int command_rollback(int argc, char **argv);
int command_generations(int argc, char **argv);
int command_clean(int argc, char **argv);
int command_config(int argc, char **argv);
int command_complete(int argc, char **argv);

struct command { const char *name; int (*run)(int argc, char **argv); const char *about; /* NULL: not shown in lists */ };
extern const struct command commands[];
extern const size_t command_count;

/* "sshexec: TEXT" on stderr, one line. Returns the exit code of the error. */
int tool_complain(const struct ssx_error *err);

/* stdout can't be written to any more (error: errno). Ends the process as any filter that has lost its reader ends; or,
 * where that is not why, says why and returns the exit code. */
int tool_output_lost(int error);

/* Says on stderr that fewer hosts are at work at a time than these settings ask for, where that makes a difference to
 * so many hosts. */
void tool_say_fanout(const struct settings *s, size_t allowed, size_t hosts);

/* Settings and options of a subcommand. Returns 0, or -1 after help or a complaint was printed, with *code set. usage:
 * the page's first lines. */
int tool_start(struct settings *s, unsigned groups, const char *usage, int argc, char **argv, char ***words, int *count,
               char ***rest, int *code);

/* A transport_log_fn: ctx is the settings, whose -v decides. */
void tool_log(void *ctx, int level, const char *text);

#endif
