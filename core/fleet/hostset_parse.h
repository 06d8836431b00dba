/* Host set expressions, ClusterShell's: node[01-10,12]!node3,@web&@racks:rack[1-2], read from left to right.
 *
 *   node[1-9/2,20]-ib0   numbers, ranges, steps; several brackets make every combination    a,b  both      a!b  a without b
 *   @group  @source:group  @*  @source:*  @@source (the names of the groups)                a&b  common    a^b  in one of them
 *   web*  db?            those of all nodes (@*) that match
 *   user@host  host:port  ::1  [::1]:22    ordinary names; brackets with a colon in them are an address
 *   ^file                where an operand is due: the names in a file (pdsh) */
#ifndef FLEET_HOSTSET_PARSE_H
#define FLEET_HOSTSET_PARSE_H
#include "fleet/groups.h"
#include "fleet/hostset.h"

/* What an expression may name beside hosts. */
struct host_scope {
    struct groups *groups; /* NULL: there are none; borrowed */
    const char *source;    /* where @group is looked for; NULL: the default source */
    bool files;            /* ^file is a file; else an error */
};

/* Adds the names that n bytes of text stand for. Returns 0, or -1 with err, a text that names the place in the
 * expression; then out may hold a part of them. An expression that comes to no name is not an error here (a!a), but a
 * group without nodes, or a file without names, is one. */
int hostset_parse(struct hostset *out, const char *text, size_t n, const struct host_scope *scope, struct ssx_error *err);

/* Adds the names in a file ("-": stdin): expressions with blanks between them, # to the end of a line is a comment. A
 * file without any is an error. */
int hostset_parse_file(struct hostset *out, const char *path, const struct host_scope *scope, struct ssx_error *err);

/* Adds one name, in which nothing is special: what hostset_each gives. Returns 0 or -1 with err. */
int hostset_add_name(struct hostset *s, const char *name, size_t n, struct ssx_error *err);

#endif
