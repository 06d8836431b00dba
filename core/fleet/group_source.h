/* One place that groups come from, behind groups.h: a table that a file fills, or commands that are run. A kind of
 * source is a file group_*.c. */
#ifndef FLEET_GROUP_SOURCE_H
#define FLEET_GROUP_SOURCE_H
#include "fleet/groups.h"

#include <stdbool.h>
#include <stddef.h>

/* Groups and what they hold: words with blanks between them. */
struct group { char *name; struct buf text; };
struct group_table {
    struct group **at; /* in the order in which they were first named */
    size_t n, capacity;
    void *tree;        /* the same, by name */
    bool failed;       /* memory ran out */
};

/* NULL where there is none. */
struct group *group_table_find(const struct group_table *t, const char *name);

/* The group of that name, made where there is none; NULL where memory ran out. */
struct group *group_table_group(struct group_table *t, const char *name);

/* Adds a word to a group. */
void group_table_add(struct group_table *t, const char *group, const char *word);

void group_table_free(struct group_table *t);

/* ClusterShell's commands; those that are not set are NULL. All owned. */
struct upcalls { char *map, *all, *list, *dir; }; /* dir: where they run, their $CFGDIR too */

struct group_source {
    char *name, *origin;  /* owned; origin: the file or directory, for messages */
    struct group_table table;
    struct upcalls upcalls;                                         /* a map command makes it a source of commands */
    int (*load)(struct group_source *s, struct ssx_error *err);     /* fills the table when it is first needed; NULL: done */
    const char *all;      /* the group that holds all nodes, where there is one; NULL: "all" */
    const struct groups_options *options;
};

struct group_sources { struct group_source **at; size_t n; };

/* Adds a source. NULL where memory ran out, or, with err, where there is one of that name. */
struct group_source *group_sources_add(struct group_sources *s, const char *name, const char *origin, struct ssx_error *err);
struct group_source *group_sources_find(const struct group_sources *s, const char *name);

/* ClusterShell's configuration: its sources of commands and YAML files. *default_name (owned by the caller; NULL: it
 * names none). Returns 0 or -1 with err. */
int group_conf_load(struct group_sources *out, char **default_name, struct ssx_error *err);

/* The sources of one YAML file. A file that may not be read is passed over. */
int group_yaml_load(struct group_sources *out, const char *path, struct ssx_error *err);

/* Runs one of s->upcalls with $GROUP, $SOURCE and $CFGDIR replaced, and adds what it says. The group's name is checked
 * first: it becomes a part of a shell's command line. */
int group_upcall(struct group_source *s, const char *command, const char *group, struct buf *out, struct ssx_error *err);

/* The sources that need no configuration, filled from s->origin. */
int group_dsh_load(struct group_source *s, struct ssx_error *err);
int group_genders_load(struct group_source *s, struct ssx_error *err);
int group_ansible_load(struct group_source *s, struct ssx_error *err);
int group_ssh_load(struct group_source *s, struct ssx_error *err);

/* Whether a word of a file can only be one host's name: nothing in it means anything in an expression. */
bool group_word_is_host(const char *word);

/* Each line of a text file, without blanks at its ends; visit may change it, and returns 0 or -1 with err. */
typedef int group_line(void *ctx, char *line, struct ssx_error *err);
int group_file_read(const char *path, group_line *visit, void *ctx, struct ssx_error *err);

/* "text" with each $NAME or ${NAME} of the names replaced, $$ by $; other words stay as they are. names ends with NULL.
 * As Python's string.Template does, which ClusterShell uses. */
void group_dollars(struct buf *out, const char *text, const char *const *names, const char *const *values);

#define GROUP_FILE_MAX (64u << 20)

#endif
