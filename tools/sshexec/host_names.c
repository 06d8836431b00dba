#include "host_names.h"

#include "base/buf.h"
#include "base/file.h"

#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_MAX (4u << 20)  /* a larger known_hosts file takes longer than a person waits for a key */
#define DEPTH_MAX 16         /* as ssh's own limit of Includes */
#define BLANKS " \t\r\n\f"

struct search { struct words *out; const char *prefix; size_t length; struct words known_hosts; };

static void add(struct search *s, const char *name, size_t n)
{
    if (!n || n < s->length || strncmp(name, s->prefix, s->length) || memchr(name, '*', n) || memchr(name, '?', n) ||
        *name == '!' || *name == '|' || *name == '-')
        return;
    for (size_t i = 0; i < s->out->n; i++)
        if (strlen(s->out->at[i]) == n && memcmp(s->out->at[i], name, n) == 0)
            return;
    words_add_n(s->out, name, n);
}

/* The text of a file, NUL-ended; "" where it can't be read. The caller frees out. */
static char *read_text(struct buf *out, const char *path)
{
    static char nothing[1];
    return file_read(out, path, FILE_MAX, NULL) || buf_add(out, "", 1) ? nothing : (char *)buf_data(out);
}

/* --- known_hosts --- */

/* "host", or "[host]:port", which the command line writes host:port. */
static void add_known(struct search *s, const char *name, size_t n)
{
    char plain[512];
    const char *close = *name == '[' ? memchr(name, ']', n) : NULL;
    if (close)
        n = (size_t)snprintf(plain, sizeof plain, "%.*s%.*s", (int)(close - name - 1), name + 1, (int)(name + n - close - 1), close + 1);
    if (!close || n < sizeof plain)
        add(s, close ? plain : name, n);
}

static void read_known_hosts(struct search *s, const char *path)
{
    struct buf file = {0};
    char *rest = NULL;
    for (char *line = strtok_r(read_text(&file, path), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (*line == '#' || *line == '|' || *line == '@') /* comments, hashed names, revoked keys and authorities */
            continue;
        size_t whole = strcspn(line, BLANKS);
        for (size_t at = 0, n; at < whole; at += n + 1) {
            n = strcspn(line + at, "," BLANKS);
            add_known(s, line + at, n);
        }
    }
    buf_free(&file);
}

/* --- ssh's configuration --- */

static void read_config(struct search *s, const char *path, const char *base, int depth);

/* "~/x" and "x" in full. */
static bool expand(char *out, size_t size, const char *word, const char *base)
{
    const char *home = getenv("HOME");
    if (*word == '~')
        return word[1] == '/' && home && (size_t)snprintf(out, size, "%s%s", home, word + 1) < size;
    return (size_t)snprintf(out, size, "%s%s%s", *word == '/' ? "" : base, *word == '/' ? "" : "/", word) < size;
}

static void include(struct search *s, const char *pattern, const char *base, int depth)
{
    char path[PATH_MAX];
    glob_t found = {0};
    if (expand(path, sizeof path, pattern, base) && glob(path, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_config(s, found.gl_pathv[i], base, depth + 1);
    globfree(&found);
}

static void read_line(struct search *s, char *line, const char *base, int depth)
{
    char path[PATH_MAX], *rest = NULL;
    const char *keyword = strtok_r(line, BLANKS "=", &rest);
    bool host = keyword && strcasecmp(keyword, "Host") == 0, includes = keyword && strcasecmp(keyword, "Include") == 0;
    bool known = keyword && (strcasecmp(keyword, "UserKnownHostsFile") == 0 || strcasecmp(keyword, "GlobalKnownHostsFile") == 0);
    for (char *word; (host || includes || known) && (word = strtok_r(NULL, BLANKS "\"", &rest));) {
        if (host)
            add(s, word, strlen(word));
        else if (includes)
            include(s, word, base, depth);
        else if (expand(path, sizeof path, word, ".") && !strchr(path, '%'))
            words_add(&s->known_hosts, path);
    }
}

static void read_config(struct search *s, const char *path, const char *base, int depth)
{
    struct buf file = {0};
    char *rest = NULL;
    if (depth > DEPTH_MAX)
        return;
    for (char *line = strtok_r(read_text(&file, path), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        read_line(s, line, base, depth);
    buf_free(&file);
}

void host_names_add(struct words *out, const char *config, const char *prefix)
{
    struct search s = {.out = out, .prefix = prefix, .length = strlen(prefix)};
    const struct passwd *user = getpwuid(getuid()); /* as ssh: not $HOME */
    char dir[PATH_MAX - 32], path[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/.ssh", user ? user->pw_dir : "");
    snprintf(path, sizeof path, "%s/config", dir);
    read_config(&s, config ? config : path, dir, 0);
    if (!config)
        read_config(&s, "/etc/ssh/ssh_config", "/etc/ssh", 0);
    snprintf(path, sizeof path, "%s/known_hosts", dir);
    words_add(&s.known_hosts, path);
    words_add(&s.known_hosts, "/etc/ssh/ssh_known_hosts");
    for (size_t i = 0; i < s.known_hosts.n; i++)
        read_known_hosts(&s, s.known_hosts.at[i]);
    words_free(&s.known_hosts);
}
