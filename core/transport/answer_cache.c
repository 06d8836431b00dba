#include "transport/answer_cache.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/install.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)       /* of a configuration file, and of a kept answer */
#define SLOT_DIGITS 3             /* 4,096 answers at most: a new one takes the place of an old one */
#define INCLUDE_DEPTH_MAX 16      /* as ssh's own limit (READCONF_MAX_DEPTH) */
#define SOURCES_MAX 256
#define STAMP_SIZE 160
#define BLANKS " \t\r\f"
#define FRESH_S 2                 /* what changed so shortly before ssh was asked, or since, may have been read in two states */

static const char magic[] = "sshexec ssh -G 2\n";

/* What an answer was made from: lines "KIND STAMP PATH\n". */
struct sources {
    struct buf lines;
    size_t count;
    bool uncertain;
    time_t asked;
    struct buf *patterns; /* of Host lines; NULL: nobody wants them */
};

/* What is compared: of a configuration file its text, whatever its file system's clock says; of all else the times. */
enum kind { TEXT = 't', TIMES = 's' };

/* --- stamps --- */

/* The text of a plain file. -1 for anything else: a pipe would block, and was emptied by ssh. */
static int read_plain(struct buf *out, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ? -1 : fd_read_all(out, fd, FILE_MAX, path, NULL);
    fd_close(&fd);
    return rc;
}

static void stamp_times(char *out, size_t size, const struct stat *st)
{
    snprintf(out, size, "%llu-%llu-%lld-%lld.%09ld-%lld.%09ld", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino, (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
             (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* ssh refuses a file by its owner and mode, so they count as the text does. */
static void stamp_text(char *out, size_t size, const struct stat *st, const struct buf *text)
{
    char hex[DIGEST_HEX + 1];
    struct digest digest;
    digest_of(&digest, buf_length(text) ? (const void *)buf_data(text) : "", buf_length(text));
    digest_hex(hex, &digest);
    snprintf(out, size, "%u-%o-%s", (unsigned)st->st_uid, (unsigned)st->st_mode, hex);
}

/* Returns when the file last changed (0: there is none), or -1 where it can't be told what is in it. text: what was
 * read of it. */
static time_t stamp(char *out, size_t size, enum kind kind, const char *path, struct buf *text)
{
    struct stat st;
    if (stat(path, &st)) {
        snprintf(out, size, "absent");
        return 0;
    }
    if (kind == TIMES)
        stamp_times(out, size, &st);
    else if (read_plain(text, path))
        return -1;
    else
        stamp_text(out, size, &st, text);
    return st.st_ctim.tv_sec;
}

static void add_source(struct sources *s, enum kind kind, const char *path, struct buf *text)
{
    char now[STAMP_SIZE];
    time_t changed = strchr(path, '\n') || ++s->count > SOURCES_MAX ? -1 : stamp(now, sizeof now, kind, path, text);
    if (changed < 0 || changed >= s->asked - FRESH_S)
        s->uncertain = true;
    else
        buf_printf(&s->lines, "%c %s %s\n", kind, now, path);
}

/* ssh's program, as execvp finds it. Returns whether there is one. */
static bool find_program(char *out, size_t size)
{
    const char *part = getenv("PATH");
    for (size_t n; part; part = part[n] ? part + n + 1 : NULL) {
        n = strcspn(part, ":");
        if ((size_t)snprintf(out, size, "%.*s/ssh", (int)n, part) < size && access(out, X_OK) == 0)
            return true;
    }
    return false;
}

/* Only a distribution's own ssh is known to read /etc/ssh: one in /usr/local may have another directory, a script may
 * do anything. */
static void add_program(struct sources *s)
{
    char found[PATH_MAX], real[PATH_MAX], magic_number[4] = "";
    int fd = find_program(found, sizeof found) && realpath(found, real) && strcmp(real, "/usr/bin/ssh") == 0
                 ? open(real, O_RDONLY | O_CLOEXEC)
                 : -1;
    if (fd < 0 || read(fd, magic_number, 4) != 4 || memcmp(magic_number, "\177ELF", 4))
        s->uncertain = true;
    else
        add_source(s, TIMES, real, NULL);
    fd_close(&fd);
}

/* --- reading configuration files, for what else they read --- */

struct origin { const char *base; int depth; }; /* base: where relative Include patterns start */

static void read_config(struct sources *s, const char *path, struct origin origin);

/* The next word of a line that has neither quotes nor backslashes; NULL at the end. */
static char *next_word(char **line)
{
    char *word = *line + strspn(*line, BLANKS);
    if (!*word || *word == '#')
        return NULL;
    char *end = word + strcspn(word, BLANKS);
    *line = *end ? end + 1 : end;
    *end = 0;
    return word;
}

/* The pattern with its directory in full. ssh leaves "~/" to glob, which means $HOME, not the home of the passwd
 * file. */
static bool complete(char *out, size_t size, const char *pattern, const char *base)
{
    const char *home = getenv("HOME");
    if (pattern[0] == '/')
        return (size_t)snprintf(out, size, "%s", pattern) < size;
    if (pattern[0] != '~')
        return (size_t)snprintf(out, size, "%s/%s", base, pattern) < size;
    return pattern[1] == '/' && home && home[0] == '/' && (size_t)snprintf(out, size, "%s/%s", home, pattern + 2) < size;
}

static void read_pattern(struct sources *s, const char *pattern, struct origin origin)
{
    char path[PATH_MAX], directory[PATH_MAX];
    glob_t found = {0};
    bool known = complete(path, sizeof path, pattern, origin.base);
    if (known) {
        snprintf(directory, sizeof directory, "%s", path);
        strrchr(directory, '/')[strrchr(directory, '/') == directory] = 0; /* "/" stays */
        known = !strpbrk(directory, "*?[") && !strpbrk(path, "%$");
    }
    if (!known) {
        s->uncertain = true;
        return;
    }
    add_source(s, TIMES, directory, NULL);
    int rc = s->uncertain ? GLOB_NOMATCH : glob(path, 0, NULL, &found);
    if (rc && rc != GLOB_NOMATCH)
        s->uncertain = true;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc && !s->uncertain; i++)
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
        if (!is_steady(word) || (s->patterns && strcasestr(word, "host")))
            s->uncertain = true;
        if (strcasecmp(word, "all") != 0)
            next_word(&line); /* its patterns */
    }
}

static void read_patterns(struct sources *s, char *line)
{
    next_word(&line);
    for (char *word; (word = next_word(&line));)
        buf_printf(s->patterns, "%s ", word);
    buf_add(s->patterns, "", 1);
}

/* Whether text begins with this keyword and what ends one. */
static bool is_keyword(const char *text, const char *keyword)
{
    size_t n = strlen(keyword);
    return strncasecmp(text, keyword, n) == 0 && (!text[n] || strchr(BLANKS "\"=", text[n]));
}

/* ssh takes keywords in quotes, behind a '=' and before one, and words in quotes of both kinds and with backslashes. Of
 * the lines that matter here, only the plain form is read; any other is as good as unknown. */
static void read_line(struct sources *s, char *line, struct origin origin)
{
    char *keyword = line + strspn(line, BLANKS), *bare = line + strspn(line, BLANKS "\"=");
    bool include = is_keyword(bare, "include"), match = is_keyword(bare, "match"), host = s->patterns && is_keyword(bare, "host");
    if (*keyword == '#')
        return;
    if (strncasecmp(bare, "canonical", 9) == 0 || ((include || match || host) && (bare != keyword || strpbrk(bare, "\"'\\=\v"))))
        s->uncertain = true;
    else if (host)
        read_patterns(s, line);
    else if (include || match) {
        next_word(&line);
        for (char *word; include && (word = next_word(&line));)
            read_pattern(s, word, origin);
        if (match)
            read_match(s, line);
    }
}

static void read_config(struct sources *s, const char *path, struct origin origin)
{
    struct buf text = {0};
    if (++origin.depth > INCLUDE_DEPTH_MAX)
        s->uncertain = true;
    else
        add_source(s, TEXT, path, &text);
    size_t n = buf_length(&text);
    if (n && (memchr(buf_data(&text), 0, n) || memmem(buf_data(&text), n, "${", 2) || buf_add(&text, "", 1)))
        s->uncertain = true;
    for (char *line = s->uncertain || !n ? NULL : (char *)buf_data(&text), *next; line && !s->uncertain; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        read_line(s, line, origin);
    }
    buf_free(&text);
}

static void read_all(struct sources *s, const char *config_file)
{
    char own[PATH_MAX], dir[PATH_MAX - 16], text[4096];
    struct passwd pw, *user = NULL;
    if (getpwuid_r(getuid(), &pw, text, sizeof text, &user) || !user ||
        (size_t)snprintf(dir, sizeof dir, "%s/.ssh", pw.pw_dir) >= sizeof dir) {
        s->uncertain = true;
        return;
    }
    snprintf(own, sizeof own, "%s/config", dir);
    struct origin personal = {dir, 0}, system = {"/etc/ssh", 0};
    add_program(s);
    add_source(s, TIMES, "/etc/passwd", NULL); /* the default user, and every ~ */
    if (!config_file) {
        read_config(s, own, personal);
        read_config(s, "/etc/ssh/ssh_config", system);
    } else if (strcasecmp(config_file, "none") != 0 && strcmp(config_file, "/dev/null") != 0) {
        read_config(s, config_file, personal);
    }
}

/* The values of -o and -i: canonical names are looked up, and variables can change. */
static bool is_uncertain_question(const struct words *question)
{
    for (size_t i = 0; i + 1 < question->n; i++)
        if ((strcmp(question->at[i], "-o") == 0 && strcasestr(question->at[i + 1], "canonical")) || strstr(question->at[i + 1], "${"))
            return true;
    return false;
}

/* --- the files of the cache --- */

/* Who asks what from where: the words, the user, the machine's name (%l), which ssh, the directory where -F is relative
 * to it, and what "Include ~/" means. Returns 0, or -1 where that can't be told. */
static int identify(struct buf *out, const struct words *question)
{
    char host[256] = "", directory[PATH_MAX], program[PATH_MAX];
    const char *home = getenv("HOME");
    gethostname(host, sizeof host - 1);
    if (!getcwd(directory, sizeof directory) || directory[0] != '/' || !find_program(program, sizeof program))
        return -1;
    const char *const parts[] = {host, program, directory, home ? home : ""};
    buf_printf(out, "%u\n", (unsigned)getuid());
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        buf_add(out, parts[i], strlen(parts[i]) + 1);
    for (size_t i = 0; i < question->n; i++)
        buf_add(out, question->at[i], strlen(question->at[i]) + 1);
    return out->failed ? -1 : 0;
}

/* A directory that only this user writes to. */
static bool is_private(const char *dir)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

static int slot_path(char *out, size_t size, const struct buf *identity, bool make)
{
    char dir[PATH_MAX], hex[DIGEST_HEX + 1];
    struct digest digest;
    if (!install_xdg_dir(dir, sizeof dir - 16, "XDG_CACHE_HOME", ".cache"))
        return -1;
    strcat(dir, "/ssh-G");
    if ((make && dir_make(dir, NULL)) || !is_private(dir))
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

static bool line_is_as_it_was(const char *line, size_t n)
{
    char path[PATH_MAX], now[STAMP_SIZE];
    struct buf text = {0};
    const char *blank = n > 2 ? memchr(line + 2, ' ', n - 2) : NULL;
    size_t length = blank ? (size_t)(blank - line) - 2 : 0, rest = blank ? n - length - 3 : 0;
    if (!blank || rest >= sizeof path)
        return false;
    memcpy(path, blank + 1, rest);
    path[rest] = 0;
    bool same = stamp(now, sizeof now, (enum kind)line[0], path, &text) >= 0 && strlen(now) == length && memcmp(now, line + 2, length) == 0;
    buf_free(&text);
    return same;
}

static bool is_as_it_was(const unsigned char *lines, size_t n)
{
    for (const char *line = (const char *)lines, *end = line + n; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (!newline || !line_is_as_it_was(line, (size_t)(newline - line)))
            return false;
        line = newline + 1;
    }
    return true;
}

/* A file of ours that nobody else could have written. */
static int read_slot(struct buf *out, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int rc = fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)
                 ? -1
                 : fd_read_all(out, fd, FILE_MAX, path, NULL);
    fd_close(&fd);
    return rc;
}

int answer_cache_get(const struct words *question, struct buf *answer, struct buf *baseline)
{
    struct buf identity = {0}, file = {0};
    struct parts p;
    char path[PATH_MAX];
    int rc = identify(&identity, question) || slot_path(path, sizeof path, &identity, false) ||
                     read_slot(&file, path) || split(&p, &file) || p.n[0] != buf_length(&identity) ||
                     memcmp(p.at[0], buf_data(&identity), p.n[0]) || !is_as_it_was(p.at[1], p.n[1])
                 ? -1
                 : 0;
    if (rc == 0)
        rc = buf_add(answer, p.at[2], p.n[2]) || buf_add(baseline, p.at[3], p.n[3]) ? -1 : 0;
    buf_free(&identity);
    buf_free(&file);
    return rc;
}

/* In place, for a temporary file could be left behind: who reads a part of it, or what a crash left, finds that its
 * digest is wrong, and asks ssh. Of several who write at once, one does. */
static void write_slot(const char *path, const struct buf *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fchmod(fd, 0600) == 0 && ftruncate(fd, 0) == 0 &&
        fd_write_all(fd, buf_data(content), buf_length(content)))
        unlink(path);
    fd_close(&fd);
}

int answer_cache_patterns(struct buf *out, const struct words *question, const char *config_file)
{
    struct sources sources = {.uncertain = is_uncertain_question(question),
                              .asked = (time_t)INT64_MAX,
                              .patterns = out}; /* however fresh: nothing of this outlives the run */
    read_all(&sources, config_file);
    bool known = !sources.uncertain && !sources.lines.failed && !out->failed;
    buf_free(&sources.lines);
    return known ? 0 : -1;
}

static void pack(struct buf *out, const struct buf *const parts[4])
{
    struct buf rest = {0};
    struct digest digest;
    for (int i = 0; i < 4; i++)
        buf_add(&rest, &(uint32_t){(uint32_t)buf_length(parts[i])}, sizeof(uint32_t));
    for (int i = 0; i < 4; i++)
        buf_add(&rest, buf_data(parts[i]), buf_length(parts[i]));
    digest_of(&digest, buf_data(&rest), buf_length(&rest));
    buf_add(out, magic, sizeof magic - 1);
    buf_add(out, digest.bytes, DIGEST_SIZE);
    buf_add(out, buf_data(&rest), buf_length(&rest));
    out->failed |= rest.failed;
    buf_free(&rest);
}

void answer_cache_put(const struct words *question, const char *config_file, time_t asked, const struct buf *answer,
                      const struct buf *baseline)
{
    struct buf identity = {0}, content = {0};
    struct sources sources = {.asked = asked, .uncertain = is_uncertain_question(question)};
    char path[PATH_MAX];
    read_all(&sources, config_file);
    if (!sources.uncertain && !sources.lines.failed && identify(&identity, question) == 0 &&
        slot_path(path, sizeof path, &identity, true) == 0) {
        pack(&content, (const struct buf *const[4]){&identity, &sources.lines, answer, baseline});
        if (!content.failed && buf_length(&content) <= FILE_MAX)
            write_slot(path, &content);
    }
    buf_free(&identity);
    buf_free(&sources.lines);
    buf_free(&content);
}
