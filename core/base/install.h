/* Where this installation's own parts are: in a build tree beside the program (build/bin/../plugins), else below the
 * prefix that it was built for. */
#ifndef BASE_INSTALL_H
#define BASE_INSTALL_H
#include <stdbool.h>
#include <stddef.h>

/* The directory of the plugins that came with this program, into out. Returns out. */
const char *install_plugin_dir(char *out, size_t size);

/* The agent that came with this program, into out. Returns out. */
const char *install_agent(char *out, size_t size);

/* Cuts the path of a file down to DIR if it lies in DIR/FOLDER and DIR is a build tree (DIR/plugins is there). Returns
 * whether; if not, the path is spoilt. */
bool install_tree(char *path, const char *folder);

/* The same two of a build tree, or (tree NULL) below the prefix. Return out. */
const char *install_plugin_dir_of(char *out, size_t size, const char *tree);
const char *install_agent_of(char *out, size_t size, const char *tree);
/* The program that runs one call of a plugin in its own process, for `sshexec test --in-process` and debuggers, into
 * out. Returns out. */
const char *install_worker_run(char *out, size_t size);

/* The directory of what `sshexec new` copies, into out. Returns out. */
const char *install_template(char *out, size_t size);

/* The directory that holds this installation's bin/sshexec and include/sshexec, into out. Returns out. */
const char *install_prefix(char *out, size_t size);

/* An XDG base directory with "/sshexec" behind it: variable is XDG_CACHE_HOME and so on, fallback is relative to HOME
 * (".cache"). A relative value of the variable is ignored, as the XDG specification says. Returns out, or NULL where
 * neither the variable nor HOME is set. */
const char *install_xdg_dir(char *out, size_t size, const char *variable, const char *fallback);

#endif
