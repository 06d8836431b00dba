#include "transport/answer_cache.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/install.h"
#include "base/io.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)       /* of a configuration file, and of a kept answer */
#define SLOT_DIGITS 3             /* 4,096 answers at most: a new one takes the place of an old one */
#define INCLUDE_DEPTH_MAX 16      /* as ssh's own limit (READCONF_MAX_DEPTH) */
#define SOURCES_MAX 256
#define FRESH_S 2                 /* what changed so shortly before ssh was asked, or since, may have been read in two states */

static const char magic[] = "sshexec ssh -G 1\n";

/* What an answer was made from: lines "STAMP PATH\n". */
struct sources { struct buf lines; size_t count; bool uncertain; time_t asked; };

/* --- stamps --- */

/* Returns when the file last changed, 0 for none. */
static time_t stamp(char *out, size_t size, const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        snprintf(out, size, "absent");
        return 0;
    }
    snprintf(out, size, "%llu-%llu-%lld-%lld.%09ld-%lld.%09ld", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return st.st_ctim.tv_sec;
}

static void add_source(struct sources *s, const char *path)
{
    char now[160];
    if (++s->count > SOURCES_MAX || strchr(path, '\n')) {
        s->uncertain = true;
        return;
    }
    if (stamp(now, sizeof now, path) >= s->asked - FRESH_S)
        s->uncertain = true;
    buf_printf(&s->lines, "%s %s\n", now, path);
}

/* ssh's program, as execvp finds it. */
static void add_program(struct sources *s)
{
    char path[PATH_MAX];
    const char *part = getenv("PATH");
    for (size_t n; part; part = part[n] ? part + n + 1 : NULL) {
        n = strcspn(part, ":");
        snprintf(path, sizeof path, "%.*s/ssh", (int)n, part);
        if (path[0] == '/' && access(path, X_OK) == 0) {
            add_source(s, path);
            return;
        }
    }
    s->uncertain = true;
}

/* --- reading configuration files, for what else they read --- */

struct origin { const char *home, *base; int depth; }; /* base: where relative Include patterns start */

static void read_config(struct sources *s, const char *path, struct origin origin);

/* The next word of a line, quotes taken off in place; NULL at the end. */
static char *next_word(char **line)
{
    char *p = *line + strspn(*line, " \t\r\f");
    if (!*p || *p == '#')
        return NULL;
    bool quoted = *p == '"';
    char *word = p + quoted, *end = quoted ? strchr(word, '"') : word + strcspn(word, " \t\r\f");
    if (!end)
        end = word + strlen(word);
    *line = *end ? end + 1 : end;
    *end = 0;
    return word;
}

static void read_pattern(struct sources *s, const char *pattern, struct origin origin)
{
    char path[PATH_MAX], directory[PATH_MAX];
    glob_t found;
    if (strncmp(pattern, "~/", 2) == 0)
        snprintf(path, sizeof path, "%s/%s", origin.home, pattern + 2);
    else
        snprintf(path, sizeof path, "%s%s%s", pattern[0] == '/' ? "" : origin.base, pattern[0] == '/' ? "" : "/", pattern);
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = 0;
    if (pattern[0] == '~' && pattern[1] != '/')
        s->uncertain = true;
    if (strpbrk(directory, "*?[\\") || strpbrk(path, "%$"))
        s->uncertain = true;
    if (s->uncertain)
        return;
    add_source(s, directory);
    if (glob(path, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && !s->uncertain; i++)
            read_config(s, found.gl_pathv[i], origin);
    globfree(&found);
}

/* Criteria whose answer follows from the command's words and the files alone. */
static bool is_steady(const char *criterion)
{
    static const char *const steady[] = {"all", "host", "originalhost", "user", "localuser", "tagged"};
    criterion += *criterion == '!';
    for (size_t i = 0; i < sizeof steady / sizeof *steady; i++)
        if (strcasecmp(criterion, steady[i]) == 0)
            return true;
    return false;
}

static void read_match(struct sources *s, char *line)
{
    for (char *word; (word = next_word(&line));) {
        if (!is_steady(word))
            s->uncertain = true;
        if (strcasecmp(word, "all") != 0)
            next_word(&line); /* its patterns */
    }
}

static void read_line(struct sources *s, char *line, struct origin origin)
{
    char *keyword = next_word(&line);
    if (!keyword)
        return;
    char *equals = strchr(keyword, '=');
    if (equals || line[strspn(line, " \t")] == '=') { /* "Include=..." and "Include = ...": rare enough to ask anew */
        if (strncasecmp(keyword, "include", 7) == 0 || strncasecmp(keyword, "match", 5) == 0 || strncasecmp(keyword, "canonical", 9) == 0)
            s->uncertain = true;
    } else if (strcasecmp(keyword, "include") == 0) {
        for (char *word; (word = next_word(&line));)
            read_pattern(s, word, origin);
    } else if (strcasecmp(keyword, "match") == 0) {
        read_match(s, line);
    } else if (strncasecmp(keyword, "canonical", 9) == 0) {
        s->uncertain = true;
    }
}

static void read_config(struct sources *s, const char *path, struct origin origin)
{
    struct buf text = {0};
    if (++origin.depth > INCLUDE_DEPTH_MAX)
        s->uncertain = true;
    add_source(s, path); /* before it is read: a change in between shows */
    if (!s->uncertain && access(path, F_OK) == 0) {
        if (file_read(&text, path, FILE_MAX, NULL) || buf_add(&text, "", 1) || memmem(buf_data(&text), buf_length(&text), "${", 2))
            s->uncertain = true;
        for (char *line = s->uncertain ? NULL : (char *)buf_data(&text), *next; line && !s->uncertain; line = next) {
            next = strchr(line, '\n');
            if (next)
                *next++ = 0;
            read_line(s, line, origin);
        }
    }
    buf_free(&text);
}

static void read_all(struct sources *s, const char *config_file)
{
    char own[PATH_MAX], dir[PATH_MAX];
    const struct passwd *user = getpwuid(getuid());
    if (!user) {
        s->uncertain = true;
        return;
    }
    snprintf(dir, sizeof dir, "%s/.ssh", user->pw_dir);
    snprintf(own, sizeof own, "%.*s/config", PATH_MAX - 16, dir);
    struct origin personal = {user->pw_dir, dir, 0}, system = {user->pw_dir, "/etc/ssh", 0};
    add_program(s);
    if (!config_file) {
        read_config(s, own, personal);
        read_config(s, "/etc/ssh/ssh_config", system);
    } else if (strcasecmp(config_file, "none") != 0) {
        read_config(s, config_file, personal);
    }
}

/* --- the files of the cache --- */

/* Who asks what from where: the words, the user, the machine's name (%l), and the directory where -F is relative to it. */
static void identify(struct buf *out, const struct words *question)
{
    char host[256] = "", directory[PATH_MAX] = "";
    gethostname(host, sizeof host - 1);
    if (!getcwd(directory, sizeof directory))
        directory[0] = 0;
    buf_printf(out, "%u %s %s\n", (unsigned)getuid(), host, directory);
    for (size_t i = 0; i < question->n; i++) {
        buf_add_text(out, question->at[i]);
        buf_add(out, "", 1);
    }
}

static int slot_path(char *out, size_t size, const struct buf *identity, bool make)
{
    char dir[PATH_MAX], hex[DIGEST_HEX + 1];
    struct digest digest;
    if (!install_xdg_dir(dir, sizeof dir - 16, "XDG_CACHE_HOME", ".cache"))
        return -1;
    strcat(dir, "/ssh-G");
    if (make && dir_make(dir, NULL))
        return -1;
    digest_of(&digest, buf_data(identity), buf_length(identity));
    digest_hex(hex, &digest);
    return (size_t)snprintf(out, size, "%s/%.*s", dir, SLOT_DIGITS, hex) < size ? 0 : -1;
}

/* The file: magic, its digest over the rest, four lengths, then identity, sources, answer, baseline. */
struct parts { const unsigned char *at[4]; size_t n[4]; };
#define HEAD (sizeof magic - 1 + DIGEST_SIZE + 4 * sizeof(uint32_t))

static int split(struct parts *out, const struct buf *file)
{
    const unsigned char *at = buf_data(file);
    size_t n = buf_length(file), used = HEAD;
    uint32_t lengths[4];
    struct digest digest;
    if (n < HEAD || memcmp(at, magic, sizeof magic - 1))
        return -1;
    digest_of(&digest, at + sizeof magic - 1 + DIGEST_SIZE, n - (sizeof magic - 1 + DIGEST_SIZE));
    if (memcmp(digest.bytes, at + sizeof magic - 1, DIGEST_SIZE))
        return -1;
    memcpy(lengths, at + HEAD - sizeof lengths, sizeof lengths);
    for (int i = 0; i < 4; i++) {
        if (lengths[i] > n - used)
            return -1;
        out->at[i] = at + used;
        out->n[i] = lengths[i];
        used += lengths[i];
    }
    return used == n ? 0 : -1;
}

static bool is_as_it_was(const unsigned char *lines, size_t n)
{
    for (const char *line = (const char *)lines, *end = line + n; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *blank = memchr(line, ' ', (size_t)(end - line));
        char path[PATH_MAX], now[160];
        if (!newline || !blank || blank > newline || (size_t)(newline - blank) > sizeof path)
            return false;
        memcpy(path, blank + 1, (size_t)(newline - blank - 1));
        path[newline - blank - 1] = 0;
        stamp(now, sizeof now, path);
        if (strlen(now) != (size_t)(blank - line) || memcmp(now, line, (size_t)(blank - line)))
            return false;
        line = newline + 1;
    }
    return true;
}

/* A file of ours that nobody else could have written. */
static int read_slot(struct buf *out, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 || fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077) ? -1 : fd_read_all(out, fd, FILE_MAX, path, NULL);
    fd_close(&fd);
    return rc;
}

int answer_cache_get(const struct words *question, struct buf *answer, struct buf *baseline)
{
    struct buf identity = {0}, file = {0};
    struct parts p;
    char path[PATH_MAX];
    identify(&identity, question);
    int rc = slot_path(path, sizeof path, &identity, false) || read_slot(&file, path) || split(&p, &file) || p.n[0] != buf_length(&identity) ||
                     memcmp(p.at[0], buf_data(&identity), p.n[0]) || !is_as_it_was(p.at[1], p.n[1])
                 ? -1
                 : 0;
    if (rc == 0)
        rc = buf_add(answer, p.at[2], p.n[2]) || buf_add(baseline, p.at[3], p.n[3]) ? -1 : 0;
    buf_free(&identity);
    buf_free(&file);
    return rc;
}

/* Not synced: what a crash leaves behind fails its digest, and is asked for anew. */
static void write_slot(const char *path, const struct buf *content)
{
    char temp[PATH_MAX + 16];
    snprintf(temp, sizeof temp, "%s.XXXXXX", path);
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return;
    if (fd_write_all(fd, buf_data(content), buf_length(content)) || rename(temp, path))
        unlink(temp);
    fd_close(&fd);
}

void answer_cache_put(const struct words *question, const char *config_file, time_t asked, const struct buf *answer, const struct buf *baseline)
{
    struct buf identity = {0}, content = {0}, rest = {0};
    struct sources sources = {.asked = asked};
    struct digest digest;
    char path[PATH_MAX];
    for (size_t i = 0; i < question->n; i++)
        sources.uncertain = sources.uncertain || strcasestr(question->at[i], "canonical"); /* names are looked up then */
    read_all(&sources, config_file);
    identify(&identity, question);
    if (!sources.uncertain && slot_path(path, sizeof path, &identity, true) == 0) {
        const struct buf *parts[] = {&identity, &sources.lines, answer, baseline};
        for (int i = 0; i < 4; i++)
            buf_add(&rest, &(uint32_t){(uint32_t)buf_length(parts[i])}, sizeof(uint32_t));
        for (int i = 0; i < 4; i++)
            buf_add(&rest, buf_data(parts[i]), buf_length(parts[i]));
        digest_of(&digest, buf_data(&rest), buf_length(&rest));
        buf_add(&content, magic, sizeof magic - 1);
        buf_add(&content, digest.bytes, DIGEST_SIZE);
        buf_add(&content, buf_data(&rest), buf_length(&rest));
        if (!content.failed && !rest.failed && !sources.lines.failed && buf_length(&content) <= FILE_MAX)
            write_slot(path, &content);
    }
    buf_free(&identity);
    buf_free(&sources.lines);
    buf_free(&content);
    buf_free(&rest);
}
