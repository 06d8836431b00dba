/* Groups of hosts by name, from wherever a site keeps them: ClusterShell's groups.conf with its commands and YAML
 * files, /etc/dsh/group, genders, an Ansible inventory, ssh's configuration.
 *
 * Nothing is read before the first group is asked for. README.md and sshexec-hosts(1) say which files and in which
 * order. */
#ifndef FLEET_GROUPS_H
#define FLEET_GROUPS_H
#include "base/buf.h"

#include <sshexec/error.h>

struct groups;

/* All borrowed; a zeroed struct is complete. */
struct groups_options {
    const char *source;     /* the default source; NULL: what groups.conf says, else the first there is */
    const char *ssh_config; /* of the source "ssh", as ssh -F; NULL: ~/.ssh/config and /etc/ssh/ssh_config */
    int (*watch)(void); /* called before a command is waited for; gives a descriptor that becomes readable when the user
                           gives up; NULL: none */
    void (*unwatch)(void);  /* called after it, where watch is set */
};

/* NULL where memory ran out. The options have to live as long. */
struct groups *groups_new(const struct groups_options *options);
void groups_free(struct groups *g);

/* Each adds text to out: words with blanks between them. source NULL is the default one. They return 0, or -1 with err:
 * no such source or group, a file that can't be read, a command that failed or took too long.
 *   nodes: host set expressions, in which @group is one of this source; all: the same for all nodes of the source; list: the names of its
 *   groups. */
int groups_nodes(struct groups *g, const char *source, const char *group, struct buf *out, struct ssx_error *err);
int groups_all(struct groups *g, const char *source, struct buf *out, struct ssx_error *err);
int groups_list(struct groups *g, const char *source, struct buf *out, struct ssx_error *err);

#endif
